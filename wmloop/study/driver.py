"""Perform the tasks of a study one after the other, each in a process of its own, and tell how far they are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wmloop.errors import StorageError
from wmloop.study.task import LOG, Task

_LOOK_SECONDS = 0.2


class State(NamedTuple):
    """Where a task is: `waiting`, `running`, `done`, `failed`; `code` is the exit code of one that failed."""

    status: str
    code: int = 0


class Driver:
    """Perform tasks, one at a time. Each is a process, so that it has its own threads and settings, and dies alone."""

    def __init__(self, tasks: Sequence[Task], command: Callable[[Task], list[str]]) -> None:
        """Take the tasks and the command that performs one: it ends by itself where its standard input does."""
        self.tasks, self._command = tasks, command
        self.states = {task: State("waiting" if task.result() is None else "done") for task in tasks}
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, should_stop: Callable[[], bool], show: Callable[[], None], ended: Callable[[Task], None]) -> None:
        """Do what is not done, until that is all, or somebody stops it; `show` is called now and then, `ended` after each.

        A task that fails leaves the others to be done; but where a disk is full none is begun any more.
        """
        for task in self.tasks:
            if self.states[task].status != "waiting" or should_stop():
                continue
            self.states = {**self.states, task: State("running")}
            code = self._perform(task, should_stop, show)
            status = "done" if task.result() is not None else "waiting" if should_stop() else "failed"
            self.states[task] = State(status, code)
            ended(task)
            if code == StorageError.exit_code:
                return

    def _perform(self, task: Task, should_stop: Callable[[], bool], show: Callable[[], None]) -> int:
        task.begin()
        with (task.place / LOG).open("ab") as log:
            # of a session of its own: Ctrl-C is this process's to pass on
            process = subprocess.Popen(
                self._command(task), stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=sys.platform != "win32",
            )  # fmt: skip
        self._process, asked = process, False
        try:
            while process.poll() is None:
                show()
                if should_stop() and not asked:
                    asked = True
                    process.terminate()
                time.sleep(_LOOK_SECONDS)
        finally:
            if process.stdin is not None:
                process.stdin.close()
        return process.returncode

    def abandon(self) -> None:
        """End the task under way at once: it saves nothing more."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
