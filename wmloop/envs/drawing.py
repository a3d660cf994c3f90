"""Draw what an environment would look like where it showed a given vector."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.real import RealEnv

#: Decisions between the two pictures by which it is tried whether an environment draws what its state is set to.
_APART = 10


class DrawingEnv(RealEnv):
    """A copy of an environment that draws vectors instead of being driven.

    It draws only where `env.unwrapped.state` is the vector that is observed, and the picture follows it, as those of CartPole
    and MountainCar: this is tried as it is made.

    Raises:
        UsageError: as RealEnv does.
    """

    def __init__(self, config: EnvConfig) -> None:
        super().__init__(config, "rgb_array")
        self._draws = False
        with contextlib.suppress(Exception):  # whatever an environment makes of it: then there is no such picture
            self._draws = self._follows()

    def draw(self, observation: np.ndarray) -> np.ndarray | None:
        """Return the picture (H, W, 3) uint8 of an observation, one of `observations`; None where there is none."""
        if not self._draws:
            return None
        with contextlib.suppress(Exception):
            return self._drawn(observation)
        return None

    def _follows(self) -> bool:
        """Tell whether it draws the beginning of one episode in the middle of another, once its state is set to that."""
        begun = self.reset(1)
        if not self._is_state(begun):
            return False
        wanted, seen, rng = self.render(), self.reset(2), np.random.default_rng(0)
        for _ in range(_APART):
            before, (seen, _, terminated, truncated, _) = seen, self.step(self.actions.sample(rng))
            if terminated or truncated:
                return False
        here = self.render()
        if wanted is None or here is None or not self._is_state(seen) or np.array_equal(before, seen):
            return False
        drawn = self._drawn(begun)
        return drawn is not None and _distance(drawn, wanted) < _distance(here, wanted)

    def _is_state(self, observation: np.ndarray) -> bool:
        state = np.asarray(self._inner.state, np.float32)
        return state.shape == observation.shape and np.array_equal(state, observation)

    def _drawn(self, observation: np.ndarray) -> np.ndarray | None:
        self._inner.state = observation.astype(np.float64)
        return self.render()

    @property
    def _inner(self) -> Any:
        return self._env.unwrapped


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float32) - other).mean()) if one.shape == other.shape else np.inf
