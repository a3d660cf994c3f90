"""Dreams, for people to look at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from wmloop.models.world_model import WorldModel


class DreamViewer:
    """Show people one dream after another, a step with each update: decoding every dream would cost more than it tells."""

    def __init__(self, world: WorldModel, show: Callable[[np.ndarray], None]) -> None:
        """Let `world` draw the dreams, and `show` show each picture (H, W, 3) uint8."""
        self._world, self._show = world, show
        self._left: list[np.ndarray] = []

    def next(self, dream: Tensor) -> None:
        """Show the next step of the dream that is being shown; when it has ended, that of the latest `dream` (T, F).

        Nothing is shown of a world model that draws no pictures.
        """
        if not self._left:
            pictures = self._world.decode(dream)
            if pictures is None:
                return
            self._left = list(pictures)
        self._show(self._left.pop(0))
