"""The standard streams: always there, and never in the way of the work."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TextIO


def open_missing() -> None:
    """Open the null device for each standard stream that this process was started without.

    Else the next file that is opened, maybe one of a run, would get the stream's number, and what is printed.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - it stays open


def in_foreground(terminal: TextIO) -> bool:
    """Tell whether a terminal is this process's to draw on; where nobody knows, it is."""
    try:
        return os.tcgetpgrp(terminal.fileno()) in (0, os.getpgrp())
    except (AttributeError, OSError):
        return True


def discard(stream: TextIO) -> None:
    """Let what `stream` still holds, and all that comes, go nowhere: its reader went away, or its disk is full.

    Each later flush, as before a fork or at the end, would fail again.
    """
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def flush() -> None:
    """Write out what is still held; a stream that cannot take it is given up, which changes no exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            discard(stream)
