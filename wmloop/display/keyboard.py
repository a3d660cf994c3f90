"""Keys typed at a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import Any


class Keyboard:
    """What is typed on stdin, key by key and unechoed, where that is a terminal of a system that has termios."""

    def __init__(self) -> None:
        self._before: Any = None
        if sys.stdin is None or sys.stdin.closed:
            return
        with contextlib.suppress(ImportError, OSError, ValueError):  # a stand-in for stdin may have no descriptor
            import termios
            import tty

            self._fd = sys.stdin.fileno()
            if os.isatty(self._fd):
                with contextlib.suppress(termios.error):
                    self._before = termios.tcgetattr(self._fd)
                    tty.setcbreak(self._fd)

    def read(self) -> str:
        """Return what was typed since the last call."""
        text = b""
        while self._before is not None and select.select([self._fd], [], [], 0)[0]:
            more = os.read(self._fd, 1024)
            if not more:
                break
            text += more
        return text.decode(errors="ignore")

    def close(self) -> None:
        """Let the terminal behave as before."""
        if self._before is not None:
            import termios

            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
