"""Dreams, for people to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmloop.learn.policy import Policy
from wmloop.models.world_model import WorldModel, decode_vector
from wmloop.spaces import ActionSpec
from wmloop.training.context import StageContext


class DreamViewer:
    """Show people one dream after another: decoding every dream would cost more than it tells.

    Its pictures are shown one with each update, and what is no picture, its vectors and actions, at once.
    """

    def __init__(
        self, ctx: StageContext[Any], world: WorldModel, actor: Callable[[Tensor], Policy], actions: ActionSpec
    ) -> None:
        """Let `world` draw the dreams in which `actor` acts; `actions` are the environment's."""
        self._ctx, self._world, self._actor, self._actions = ctx, world, actor, actions
        self._pictures: list[np.ndarray] = []
        self._left = 0

    @torch.no_grad()
    def next(self, features: Tensor, action: Tensor) -> None:
        """Show the next step of the dream that is being shown; when it has ended, the latest one is begun.

        That is `features` (T+1, F) and `action` (T, A) as it was sampled. No pictures are shown of a world model that draws
        none, and no vectors of one that does not tell them.
        """
        if not self._left:
            self._begin(features, action)
        self._left -= 1
        if self._pictures:
            self._ctx.log_image("dream", self._pictures.pop(0))

    def _begin(self, features: Tensor, action: Tensor) -> None:
        pictures, vectors = self._world.decode(features), decode_vector(self._world, features)
        self._pictures, self._left = [] if pictures is None else list(pictures), len(features)
        if vectors is None:
            vectors = np.zeros((len(features), 0), np.float32)
        done = self._actor(features[:-1]).executed(action)
        self._ctx.log_track("dream", vectors, self._actions.decode(done.cpu().numpy()))
