"""What environments print: taken from their workers, so that it never mixes with what wmloop prints."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Sink = Callable[[str], None]
"""Takes a line that an environment printed."""

_MOST_BYTES = 1 << 20
_LONGEST = 2000


class Output:
    """Collect the lines that the workers of a pool print; `tell` hands on what has come.

    Beyond a mebibyte it only says that there was more. On Windows nothing is collected.
    """

    def __init__(self, context: Any, sink: Sink | None) -> None:
        """Open the pipe whose end `theirs` is for the workers; without a `sink` what they print is dropped."""
        self._sink = sink
        self._lines: deque[str] = deque()
        self._left = _MOST_BYTES
        self._thread: threading.Thread | None = None
        self.theirs: Connection | None = None
        if sink is not None and sys.platform != "win32":
            self._mine, self.theirs = context.Pipe(duplex=False)
            self._thread = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> None:
        """Read from now on: every worker has its own copy of the pipe's other end."""
        if self._thread is not None and self.theirs is not None:
            self.theirs.close()
            self._thread.start()

    def tell(self, wait: float = 0.0) -> None:
        """Hand on what was printed so far; `wait` up to so many seconds for the workers' last words."""
        if self._thread is not None and self._thread.is_alive() and wait:
            self._thread.join(wait)
        while self._sink is not None and self._lines:
            with contextlib.suppress(IndexError):
                self._sink(self._lines.popleft())

    def _read(self) -> None:
        rest = b""
        while data := self._some():
            self._left -= len(data)
            if self._left < 0:  # go on reading, or who prints would wait for ever
                if self._left + len(data) >= 0:
                    self._lines.append("(what the environment printed from here on is left out)")
                continue
            *lines, rest = (rest + data.replace(b"\r", b"\n")).split(b"\n")
            self._lines.extend(_clean(line) for line in lines if line.strip())
            rest = rest[-_LONGEST:]
        if rest.strip() and self._left >= 0:
            self._lines.append(_clean(rest))

    def _some(self) -> bytes:
        try:
            return os.read(self._mine.fileno(), 1 << 16)
        except (OSError, ValueError):
            return b""


def redirect(output: Connection | None) -> None:
    """Send what is printed here to `output`, also by programs started here, and let nothing be read from a terminal."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    to = nothing if output is None else output.fileno()
    for fd in (1, 2):
        os.dup2(to, fd)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(fd, "w", buffering=1, errors="replace", closefd=False))  # noqa: SIM115
    os.close(nothing)
    if output is not None:
        output.close()


def _clean(line: bytes) -> str:
    """Return a line without what could move a terminal's cursor."""
    text = line[:_LONGEST].decode(errors="replace")
    return "".join(letter if letter.isprintable() or letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in text)
