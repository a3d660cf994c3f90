"""The places where moving pictures can be shown, by name."""

from __future__ import annotations

import os
from pathlib import Path

from wmloop.display.showing import Showing
from wmloop.display.terminal import Terminal
from wmloop.display.video import Video
from wmloop.display.window import Window


def open_showing(render: str, fps: float) -> Showing:
    """Return the place that `render` names: `window`, `terminal`, or a file's name.

    Raises:
        UsageError: it cannot be had here; the message says what can.
    """
    if render == "window":
        return Window(fps)
    if render == "terminal":
        return Terminal(fps)
    return Video(Path(os.path.expanduser(render)), fps)  # noqa: PTH111 - it leaves a home that is not there as it is
