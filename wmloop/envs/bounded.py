"""One environment whose episodes have bounds of the caller's own, and which idles when they have ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.real import RealEnv
from wmloop.episodes import Cut


class Decided(NamedTuple):
    """What one decision brought: reward summed over its frames, and how the episode stands; `cut` is why it was truncated."""

    reward: float
    terminated: bool
    truncated: bool
    frames: int
    cut: int


_IDLE = Decided(0.0, False, False, 0, 0)


class BoundedEnv:
    """A RealEnv that also truncates an episode after some decisions, or where too many pay nothing.

    `seed` is the episode's, `decisions` how many it has had, `observation` its latest one. After the end it
    idles until it is reset: its step is 0 frames and no reward.
    """

    observation: np.ndarray

    def __init__(self, config: EnvConfig, max_unrewarded: int, render: bool = False) -> None:
        """Make the environment; with `max_unrewarded`, so many decisions without a positive reward end an episode.

        Raises:
            UsageError: as RealEnv does.
        """
        self.env = RealEnv(config, "rgb_array" if render else None)
        self.seed: int | None = None
        self.decisions = 0
        self._max_unrewarded, self._left, self._unrewarded = max_unrewarded, 0, 0

    def reset(self, seed: int, limit: int) -> None:
        """Begin the episode of `seed`, of at most `limit` decisions."""
        self.seed, self._left, self._unrewarded, self.decisions = seed, limit, 0, 0
        self.observation = self.env.reset(seed)

    def step(self, action: np.ndarray) -> Decided:
        """Take one decision, one of the environment's actions."""
        if not self._left:
            return _IDLE
        self.decisions += 1
        self.observation, reward, terminated, truncated, frames = self.env.step(action)
        self._left -= 1
        self._unrewarded = 0 if reward > 0 else self._unrewarded + 1
        cut = 0
        if not terminated:
            if truncated:
                cut = Cut.FRAMES if self.env.capped else Cut.ENVIRONMENT
            elif not self._left:
                cut = Cut.DECISIONS
            elif self._unrewarded >= self._max_unrewarded:
                cut = Cut.UNREWARDED
        truncated = truncated or cut > 0
        if terminated or truncated:
            self._left = 0
        return Decided(reward, terminated, truncated, frames, cut)
