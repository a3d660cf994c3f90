"""Random driving: the first policy, whose actions hang together long enough to get somewhere."""

from __future__ import annotations

import numpy as np

from wmloop.config import RandomDriving


def random_driving(
    config: RandomDriving, low: np.ndarray, high: np.ndarray, decisions: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the actions of one random episode, (decisions, A) float32 within [low, high].

    Each dimension draws a mean, a noise scale and a memory m for the episode, and follows the walk
    x[t] = m x[t-1] + sqrt(1 - m^2) N(0, 1), whose variance is 1 from the first decision on (an Ornstein-Uhlenbeck
    process sampled at the decisions). The action is mean + boost + scale * x, clipped, where the boost fades out
    linearly over `boost_decisions`.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    mean = rng.uniform(*np.array(config.mean).T)  # (A,)
    scale = rng.uniform(*np.array(config.scale).T)
    memory = rng.uniform(*config.memory, size=len(low))
    noise = rng.standard_normal((decisions, len(low)))
    walk = np.empty_like(noise)
    x = rng.standard_normal(len(low))
    for t in range(decisions):
        x = memory * x + np.sqrt(1 - memory**2) * noise[t]
        walk[t] = x
    span = config.boost_decisions
    fading = np.clip(1 - np.arange(decisions) / span, 0, None) if span else np.zeros(decisions)
    actions: np.ndarray = mean + fading[:, None] * np.array(config.boost) + scale * walk
    return np.asarray(np.clip(actions, low, high), np.float32)
