"""Where moving pictures are shown: a window, the terminal, a video file. Each loads its library only when it opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from wmloop.display.keys import Controls

#: What can be had where there is no window.
CHOICES = "`--render terminal` shows it here, `--to episode.mp4` writes a video"


class ClosedError(Exception):
    """Tell that the person watching closed the window."""


class Showing(Protocol):
    """Shows pictures (H, W, 3) uint8 of one size, each with a caption and lines below it, at a pace."""

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Show one; returns when the next is due."""

    def pressed(self) -> list[str]:
        """Return the names of the keys pressed since the last call (see display.keys).

        Raises:
            ClosedError: the person closed it.
        """

    def hand(self) -> Controls:
        """Return where the keys that are held, or a game pad, steer."""

    def close(self) -> None:
        """Stop showing; a file is finished."""
