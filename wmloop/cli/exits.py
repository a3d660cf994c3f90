"""How commands end: every fault becomes a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
import functools
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

import typer

from wmloop import streams
from wmloop.errors import EnvironmentFailedError, RenamedWarning, StorageError, WmloopError

INTERRUPTED = 130
_BROKEN_PIPE = 141  # what a shell reports of any program whose reader went away
#: What no error of wmloop's own is: the codes that a shell gives a program that was stopped. `timeout` itself ends with 124.
OTHERS = {
    129: "the terminal is gone (SIGHUP); a run is saved",
    INTERRUPTED: "Ctrl-C; a run is saved",
    _BROKEN_PIPE: "whoever read the output went away",
    143: "SIGTERM; a run is saved",
}
_REFUSALS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE", "ENFILE", "EFBIG")
    if hasattr(errno, name)
}

P = ParamSpec("P")


def say(text: str) -> None:
    """Print one line to people, on stderr, if there is one and it takes it."""
    if sys.stderr is not None:  # print would take stdout instead
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


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


def explain(error: Exception) -> int:
    """Say what went wrong and return the exit code."""
    match error:
        case typer.Exit():
            return int(error.exit_code)
        case WmloopError():
            for line in (f"error: {error}", *getattr(error, "__notes__", ())):
                say("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(line.split())))
            if isinstance(error, EnvironmentFailedError):
                say("`wmloop doctor` looks at what environments need")
            return error.exit_code
        case BrokenPipeError():
            streams.flush()  # or Python would, at its end, and complain about the same pipe
            return _BROKEN_PIPE
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or "allocate memory" in str(error):
            say(f"error: there is not enough memory ({' '.join(str(error).split())[:200]}): take smaller settings, or"
                " free some; `wmloop doctor` says how much there is")  # fmt: skip
            return 1
        case OSError() if error.errno in _REFUSALS:
            say(f"error: {error}")
            return StorageError.exit_code
        case _:
            say("".join(traceback.format_exception(error)).rstrip("\n"))
            say("this is a fault of wmloop, or of what it stands on: please report it, with what `wmloop doctor` says")
            return 1
