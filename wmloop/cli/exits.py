"""How commands end: every fault becomes a message on stderr and an exit code, and all of these are listed here."""

from __future__ import annotations

import contextlib
import errno
import functools
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec

import typer

from wmloop import streams
from wmloop.commands import wmloop
from wmloop.errors import RenamedWarning, StorageError, WmloopError
from wmloop.signals import ANNOUNCING

DOCTOR_FOUND, OUT_OF_MEMORY, INTERRUPTED, _BROKEN_PIPE = 5, 71, 130, 141
_SAVING = "start, resume, fork and study save first"
_SAVED = f"{_SAVING}, unless it comes again, 2 s later or more"
#: What each exit code means.
EXIT_CODES = {
    0: "done; also where training used up its budget before the goal was reached",
    1: "a bug of wmloop or of a library that it uses: stderr has the traceback",
    2: "wrong usage: an option, a setting, the name of a run or a file is not valid; or wmloop cannot use the environment",
    3: "a number was no longer finite: a loss, weight or metric in training, an action, or an environment's reward (where PPO"
    " learns in real episodes these two are 4)",
    4: "the environment, or the program of a study's row, failed while a command was running it",
    DOCTOR_FOUND: "`wmloop doctor` found something that makes runs fail",
    65: "a stored file is damaged",
    69: "another rank, which torchrun began, ended or cannot be reached",
    OUT_OF_MEMORY: "there is not enough memory",
    74: "a file cannot be read or written: disk full, read-only, no permission, too many open files",
    75: "another process is writing the run, or is at work on the study",
    129: f"the terminal was closed (SIGHUP); {_SAVED}",
    INTERRUPTED: f"Ctrl-C (SIGINT); {_SAVED}",
    137: "a task of `wmloop study` was killed three times (SIGKILL): by hand, or by the system where memory was full",
    **{
        128 + getattr(signal, name): f"{name}, by which a scheduler announces a time limit; {_SAVING}, however often"
        " it comes"
        for name in ANNOUNCING
    },
    _BROKEN_PIPE: "the reader of stdout closed it, as `head` does (SIGPIPE); start, resume, fork and watch go on without it",
    143: f"SIGTERM; {_SAVED}",
}
#: What torch says of memory: of the machine's, and of CUDA's and MPS's.
_OUT_OF_MEMORY = re.compile(r"allocate memory|out of memory")
_REFUSALS = {
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE", "ENFILE", "EFBIG", "ENAMETOOLONG", "ELOOP",
    )
    if hasattr(errno, name)
}  # fmt: skip

P = ParamSpec("P")
#: Of what an environment printed, so many lines.
_LAST_LINES = 20


def say(text: str) -> None:
    """Print one line to people, on stderr, if there is one and it takes it."""
    if sys.stderr is not None:  # print would take stdout instead
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def say_next(steps: dict[str, str]) -> None:
    """Print which commands may come next, by what they do; each line can be pasted as it is."""
    say("next:")
    width = max(map(len, steps.values()))
    for does, line in steps.items():
        say(f"  {line:<{width}}  # {does}")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: faults that a user can act on end in one line and their exit code, others in a traceback and 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _renamed_told():
                command(*args, **kwargs)
            if sys.stdout is not None:
                sys.stdout.flush()
        except Exception as error:
            raise typer.Exit(explain(error)) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return run


@contextlib.contextmanager
def _renamed_told() -> Iterator[None]:
    """Say once what has another name now."""
    told: set[str] = set()
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, RenamedWarning):
                shown(message, category, *place, **more)
            elif str(message) not in told:
                told.add(str(message))
                say(f"note: {message}")

        warnings.simplefilter("always", RenamedWarning)
        warnings.showwarning = show
        yield


def say_printed(lines: Sequence[str]) -> None:
    """Print the last of the lines that an environment printed before it was refused."""
    for line in lines[-_LAST_LINES:]:
        say(f"the environment printed: {line}")


def explain(error: Exception) -> int:
    """Say what went wrong and return the exit code."""
    match error:
        case typer.Exit():
            return int(error.exit_code)
        case WmloopError():
            for line in (f"error: {error}", *getattr(error, "__notes__", ())):
                say("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(line.split())))
            return error.exit_code
        case BrokenPipeError():
            streams.flush()  # or Python would, at its end, and complain about the same pipe
            return _BROKEN_PIPE
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            say(f"error: there is not enough memory ({' '.join(str(error).split())[:200]}): use smaller settings, or"
                f" free some; `{wmloop('doctor')}` says how much there is")  # fmt: skip
            return OUT_OF_MEMORY
        case OSError() if error.errno in _REFUSALS:
            say(f"error: {error}")
            return StorageError.exit_code
        case _:
            say("".join(traceback.format_exception(error)).rstrip("\n"))
            say("this is a bug of wmloop or of a library that it uses: please report it, with what"
                f" `{wmloop('doctor')}` prints")  # fmt: skip
            return 1
