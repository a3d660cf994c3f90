"""A space of observations: what an environment shows, as it is kept."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np


class ObservationSpec(Protocol):
    """The observations of an environment: arrays of one `shape` and `dtype`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return what its numbers are held in."""

    def picture(self, observation: np.ndarray) -> np.ndarray | None:
        """Return an observation as people see it, (H, W, 3) uint8; None where there is nothing to see."""


class Pixels(NamedTuple):
    """Pictures (height, width, channels) uint8: 3 channels are RGB, 1 is grey."""

    height: int
    width: int
    channels: int = 3

    @property
    def shape(self) -> tuple[int, ...]:
        """Return height, width and channels."""
        return tuple(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return that of 8 bits."""
        return np.dtype(np.uint8)

    def picture(self, observation: np.ndarray) -> np.ndarray:
        """Return the picture itself, a grey one in three equal channels."""
        return observation if self.channels == 3 else observation.repeat(3, -1)
