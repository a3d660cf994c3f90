"""Random driving, whose actions hang together long enough to get somewhere, and the pushes that later drivers get."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmloop.config import RandomDriving, RolloutConfig


def random_driving(
    config: RandomDriving, low: np.ndarray, high: np.ndarray, decisions: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the actions of one random episode, (decisions, A) float32 within [low, high].

    Each dimension draws a mean, a noise scale and a memory m for the episode, and follows the walk
    x[t] = m x[t-1] + sqrt(1 - m^2) N(0, 1), whose variance is 1 from the first decision on (an Ornstein-Uhlenbeck
    process sampled at the decisions). The action is mean + boost + scale * x, clipped, where the boost fades out
    linearly over `boost_decisions`. What is not configured is in parts of half the action's range about its middle: a mean
    within 0.5 of it, a scale of 0.25 to 1.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    half, middle = (high - low) / 2, (high + low) / 2
    means = np.array(config.mean).T if config.mean else (middle - half / 2, middle + half / 2)
    scales = np.array(config.scale).T if config.scale else (half / 4, half)
    boost = np.array(config.boost) if config.boost else np.zeros(len(low))
    mean, scale = rng.uniform(*means), rng.uniform(*scales)  # (A,)
    memory = rng.uniform(*config.memory, size=len(low))
    noise = rng.standard_normal((decisions, len(low)))
    walk = np.empty_like(noise)
    x = rng.standard_normal(len(low))
    for t in range(decisions):
        x = memory * x + np.sqrt(1 - memory**2) * noise[t]
        walk[t] = x
    span = config.boost_decisions
    fading = np.clip(1 - np.arange(decisions) / span, 0, None) if span else np.zeros(decisions)
    actions: np.ndarray = mean + fading[:, None] * boost + scale * walk
    return np.asarray(np.clip(actions, low, high), np.float32)


class Pushes:
    """Push N drivers off their line now and then: an offset to the action, held for a while, then gone.

    A good driver's own data never shows how to find back, and in it every action follows from the road, so that M could
    read the road off the action. A push breaks both: it is drawn from nothing, and what follows is a recovery.
    """

    def __init__(self, config: RolloutConfig, actions: int, rngs: Sequence[np.random.Generator]) -> None:
        """Prepare one driver per generator; `actions` is A."""
        self._config, self._rngs = config, rngs
        self._left = np.zeros(len(rngs), np.int64)
        self._offset = np.zeros((len(rngs), actions), np.float32)

    def __call__(self) -> np.ndarray:
        """Return the offsets of the next decision, (N, A) float32 in units of half the action's range, until the next call."""
        config = self._config
        for i, rng in enumerate(self._rngs):
            if self._left[i] == 0 and rng.random() < config.push_rate:
                low, high = config.push_decisions
                self._left[i] = rng.integers(low, high + 1) + 1
                self._offset[i] = config.push_scale * rng.standard_normal(self._offset.shape[1])
        self._left = np.maximum(self._left - 1, 0)
        self._offset[self._left == 0] = 0.0
        return self._offset
