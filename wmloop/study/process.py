"""A task in a process of its own, and this machine as a place for such."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wmloop import machine
from wmloop.study.share import Share
from wmloop.study.task import LOG, Task


class Process:
    """A process that performs a task. Its standard input is held open: where that ends, it saves and ends, too."""

    def __init__(
        self, command: Sequence[str], log: Path, share: Share | None = None, folder: Path | None = None
    ) -> None:
        """Begin it in a folder, with a share of this machine; what it prints is added to `log`."""
        # of a session of its own: Ctrl-C is for whoever began it to pass on
        with log.open("ab") as out, share.kept() if share else contextlib.nullcontext():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
                env=os.environ | (share.environment if share else {}), start_new_session=sys.platform != "win32",
            )  # fmt: skip

    def code(self) -> int | None:
        """Return its exit code, a signal's number below 0, or None while it has not ended."""
        code = self._process.poll()
        if code is not None:
            self._let_go()
        return code

    def join(self) -> None:
        """Wait for its end; in a handler of signals, too, which may have interrupted another wait for it."""
        if hasattr(os, "waitid"):  # without the lock that Popen waits under
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        self.join()
        code = self._process.wait()
        self._let_go()
        return code

    def is_queued(self) -> bool:
        """Tell that it does not wait for cores."""
        return False

    def stop(self) -> None:
        """Ask it to save and end."""
        if self.code() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it, and what it has begun, at once: it saves nothing more."""
        if self.code() is None:
            machine.end_tree(self._process.pid)

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


class ThisMachine:
    """Performs tasks on this machine, as many at once as there are shares of it."""

    def __init__(self, command: Callable[[Task], Sequence[str]], shares: Sequence[Share | None] = (None,)) -> None:
        """Take the command that performs a task, and a share of the machine for each at once; None is all of it."""
        self._command, self._shares = command, shares
        self._taken: dict[int, Process] = {}

    def free(self) -> int:
        """Return how many shares nobody has."""
        self._taken = {place: process for place, process in self._taken.items() if process.code() is None}
        return len(self._shares) - len(self._taken)

    def begin(self, tasks: Sequence[Task]) -> list[Process]:
        """Begin tasks, each with a share that nobody has."""
        idle = [place for place in range(len(self._shares)) if place not in self._taken]
        begun = []
        for place, task in zip(idle, tasks, strict=False):
            self._taken[place] = Process(self._command(task), task.place / LOG, self._shares[place])
            begun.append(self._taken[place])
        return begun
