"""Dreams, for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from wmloop.models.world_model import WorldModel
from wmloop.training.context import StageContext


class DreamViewer:
    """Show people one dream after another, a step with each update: decoding every dream would cost more than it tells."""

    def __init__(self, ctx: StageContext[Any], world: WorldModel) -> None:
        self._ctx, self._world = ctx, world
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
        self._ctx.log_image("dream", self._left.pop(0))
