"""The agent of iteration 0: random walks, whatever is seen."""

from __future__ import annotations

import numpy as np

from wmloop.agents.agent import Exploration


class RandomWalk:
    """Take actions that were drawn before (see ActionSpec.random_walk): what is carried are those still to be taken."""

    def __init__(self, actions: np.ndarray) -> None:
        """Prepare to drive N episodes by `actions` (T, N, ...), in the environment's units."""
        self._actions = actions

    def start(self, num_envs: int) -> np.ndarray:
        """Return all actions."""
        return self._actions

    def act(
        self, carry: np.ndarray, observations: np.ndarray, exploration: Exploration | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the next actions (N, ...), and those after them."""
        return carry[0], carry[1:]
