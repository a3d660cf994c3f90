"""How commands end: every fault becomes a message on stderr and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from wmloop.errors import EnvironmentFailedError, StorageError, WmloopError

INTERRUPTED = 130
_BROKEN_PIPE = 141  # what a shell reports of any program whose reader went away
_REFUSALS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE", "ENFILE", "EFBIG")
    if hasattr(errno, name)
}

P = ParamSpec("P")


def say(text: str) -> None:
    """Print one line to people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def terminated(signum: int, frame: object) -> None:
    """Leave by way of every `finally`, as a handler of SIGTERM: a terminal that was borrowed is given back."""
    raise typer.Exit(128 + signum)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: faults that a user can act on end in one line and their exit code, others in a traceback and 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except Exception as error:
            raise typer.Exit(_explain(error)) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return run


def _explain(error: Exception) -> int:
    """Say what went wrong and return the exit code."""
    match error:
        case typer.Exit():
            return int(error.exit_code)
        case WmloopError():
            say(f"error: {' '.join(str(error).split())}")
            if isinstance(error, EnvironmentFailedError):
                say("`wmloop doctor` looks at what environments need")
            return error.exit_code
        case BrokenPipeError():
            # Python flushes stdout once more when it ends, and would complain about the same pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return _BROKEN_PIPE
        case OSError() if error.errno in _REFUSALS:
            say(f"error: {error}")
            return StorageError.exit_code
        case _:
            traceback.print_exception(error)
            say("this is a fault of wmloop, or of what it stands on: please report it, with what `wmloop doctor` says")
            return 1
