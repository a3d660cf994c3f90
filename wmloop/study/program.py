"""Perform a row that is another program: begin it, wait for it, and read what it wrote."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from wmloop import machine
from wmloop.errors import EnvironmentFailedError, Interrupted, StoreCorruptError, UsageError
from wmloop.store import atomic
from wmloop.store.files import list_folder, read_regular
from wmloop.store.jsontext import dump_json, parse_json
from wmloop.study.command import words_with
from wmloop.study.results import Result, read_lines
from wmloop.study.task import LOG, Task
from wmloop.study.words import plain

_NOTE = "program.json"
#: The folder that is a program's own, in that of its task.
_OWN = "own"
_PATIENCE_SECONDS, _SAME_SECONDS = 15.0, 0.3


def words_of(task: Task, to: Path) -> list[str]:
    """Return the command of a task, word by word, that writes to the file `to`."""
    study, command = task.study, task.row.command
    assert command is not None, "it is a row of another program"
    values = {
        "python": sys.executable, "env": study.environment(task.row), "seed": task.seed, "episodes": study.episodes,
        "frames": "none" if study.frames is None else study.frames, "first_episode": task.episodes[0],
        "minutes": "none" if study.minutes is None else plain(study.minutes, 15), "to": to, "folder": task.place / _OWN,
    }  # fmt: skip
    return words_with(command, values)


def scores_files(task: Task) -> list[Path]:
    """Return the files that programs wrote of a task: that of the latest attempt alone, once it has begun."""
    return [task.place / name for name in list_folder(task.place) if name.startswith("scores-")]


def perform(task: Task, should_stop: Callable[[], bool]) -> Result:
    """Run the program of a task, whose output goes where this process's goes, and return what it wrote.

    Raises:
        Interrupted: it was ended because `should_stop` said so.
        EnvironmentFailedError: it ended with a fault.
        StoreCorruptError: what it wrote is no result.
    """
    end_lost(task)
    for path in scores_files(task):
        atomic.remove_file(path)
    # each attempt has a file of its own: one that was lost, and may go on, writes to nobody's
    to = task.place / f"scores-{secrets.token_hex(4)}.jsonl"
    words = words_of(task, to.absolute())
    atomic.make_folder(task.place / _OWN)
    print(shlex.join(words), flush=True)
    own_group = {} if sys.platform == "win32" else {"start_new_session": True}
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **own_group)  # type: ignore[call-overload]
    except OSError as error:
        raise UsageError(f"{task.row.place}: {words[0]} cannot be run: {error.strerror or error}") from None
    try:
        note = {"pid": process.pid, "born": machine.born(process.pid), "host": platform.node()}
        atomic.write_file(task.place / _NOTE, dump_json(note, _NOTE))
        while process.poll() is None:
            if should_stop():
                raise Interrupted(f"the program of {task.name} was ended; the next time it begins again")
            time.sleep(0.1)
    finally:
        _end(process)
        if not machine.has_group(process.pid):  # the number may be another's from now on
            atomic.remove_file(task.place / _NOTE)
    if process.returncode != 0:
        time.sleep(_SAME_SECONDS)  # a scheduler signals every process of a job, and the program may end first
        if should_stop():
            raise Interrupted(f"the program of {task.name} was ended; the next time it begins again")
        raise EnvironmentFailedError(
            f"the program of {task.row.place} ended with exit code {process.returncode}; what it printed is in"
            f" {task.place / LOG}"
        )
    return read_lines(to, task.study.limits, task.study.episodes)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and those that it has begun, as far as they have not ended: first by asking them.

    It may be a shell that ends at once, while what it has begun still saves.
    """
    if process.poll() is not None and not machine.has_group(process.pid):
        return
    for ask in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        _signal(process.pid, ask)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while process.poll() is None or machine.has_group(process.pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return


def end_lost(task: Task) -> None:
    """End the program of an attempt at once, if it is still there: the attempt's own process is lost, or ends now.

    It may have been a shell that has ended, and what it began goes on. No other process has its number until then.
    """
    with contextlib.suppress(StoreCorruptError, KeyError, TypeError):
        left = parse_json(read_regular(task.place / _NOTE), task.place / _NOTE)
        pid, there = left["pid"], machine.born(left["pid"])
        here = left.get("host") == platform.node()
        if left["born"] is not None and (there == left["born"] or (there is None and here and machine.has_group(pid))):
            machine.end_tree(pid)


def _signal(pid: int, signum: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)
