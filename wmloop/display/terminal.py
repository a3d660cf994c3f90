"""The terminal as a place for pictures."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from wmloop.display.frames import Colours, half_blocks, size_within
from wmloop.display.keyboard import Keyboard
from wmloop.display.keys import DIRECTIONS, Controls, from_held, parse_keys
from wmloop.errors import UsageError

#: Terminals repeat a held key after about half a second, and then often.
_HELD_SECONDS = 0.5


def require_terminal() -> None:
    """Raise UsageError where stdout is no terminal that can show pictures."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        raise UsageError("stdout is not a terminal that can show pictures: `--to episode.mp4` writes a video")


class Terminal:
    """The terminal's other screen, two pixels a character."""

    def __init__(self, fps: float) -> None:
        require_terminal()
        self._seconds, self._due = 1 / fps, time.monotonic()
        self._colours = _colours()
        self._typed = Keyboard()
        self._seen: dict[str, float] = {}
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Draw it as large as it fits."""
        columns, rows = os.get_terminal_size()
        below = [caption, *lines][: max(1, rows - 4)]
        height, width = size_within(picture, rows - len(below), columns)
        drawn = half_blocks(picture, height // 2, width, self._colours)
        text = "".join(f"{line}\x1b[K\r\n" for line in drawn)
        words = "\r\n".join(f"{line[: columns - 1]}\x1b[K" for line in below)
        sys.stdout.write(f"\x1b[H{text}{words}\x1b[J")
        sys.stdout.flush()
        self._due = max(self._due + self._seconds, time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))

    def pressed(self) -> list[str]:
        """Return what was typed."""
        pressed = parse_keys(self._typed.read())
        now = time.monotonic()
        self._seen.update((DIRECTIONS[key], now) for key in pressed if key in DIRECTIONS)
        return pressed

    def hand(self) -> Controls:
        """Return where keys steer; a terminal tells no key's release, so each counts as held for a while."""
        now = time.monotonic()
        return from_held({name for name, at in self._seen.items() if now - at < _HELD_SECONDS})

    def close(self) -> None:
        """Give the terminal back."""
        self._typed.close()
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()


def _colours() -> Colours:
    if os.environ.get("NO_COLOR"):
        return "none"
    return "truecolor" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"
