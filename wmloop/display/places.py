"""The places where moving pictures can be shown: a window, the terminal, a video file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from wmloop.display.showing import Showing
from wmloop.display.terminal import Terminal, require_terminal
from wmloop.display.video import Video, require_video
from wmloop.display.window import Window, require_display

#: Where to show: on the screen, or in a video file.
Place = Literal["window", "terminal"] | Path


def require_place(place: Place) -> None:
    """Refuse what cannot be had here, before anything is loaded that it would show.

    Raises:
        UsageError: the message says what can be had.
        StorageError: the file system refuses a file.
    """
    if place == "window":
        require_display()
    elif place == "terminal":
        require_terminal()
    else:
        require_video(Path(place))


def open_showing(place: Place, fps: float) -> Showing:
    """Return a place to show pictures at `fps` pictures a second; raises as `require_place` does."""
    if place == "window":
        return Window(fps)
    if place == "terminal":
        return Terminal(fps)
    return Video(Path(place), fps)
