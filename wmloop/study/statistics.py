"""What scores of several seeds say of a row: its mean, its interquartile mean, and how sure they are.

After Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

_RESAMPLES = 2_000
_CERTAINTY = 0.95
Statistic = Callable[[np.ndarray], np.ndarray]


class Summary(NamedTuple):
    """Scores (seeds, episodes) in figures. Each interval is a 95% one of the interquartile mean.

    `over_episodes` is how sure the score of these very agents is. `over_seeds` is how sure that of the way to train is, for
    another seed's agent on other episodes; None with a single seed, which says nothing of others.
    """

    seeds: int
    episodes: int
    mean: float
    iqm: float
    over_episodes: tuple[float, float]
    over_seeds: tuple[float, float] | None
    worst: float
    finished: float | None


def iqm(scores: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half of scores (..., n): a quarter of them, rounded down, is left out at each end."""
    cut = scores.shape[-1] // 4
    return np.sort(scores, axis=-1)[..., cut : scores.shape[-1] - cut].mean(-1)


def summarise(scores: Sequence[Sequence[float]], finished: float | None = None) -> Summary:
    """Return the figures of scores (seeds, episodes); `finished` is the share of those above it."""
    table = np.array(scores, np.float64)
    seeds, episodes = table.shape
    whole = table.reshape(-1)
    return Summary(
        seeds, episodes, float(whole.mean()), float(iqm(whole)),
        interval(table, over_seeds=False), interval(table, over_seeds=True) if seeds > 1 else None,
        float(whole.min()), None if finished is None else float((whole > finished).mean()),
    )  # fmt: skip


def interval(table: np.ndarray, over_seeds: bool, statistic: Statistic = iqm, seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of a statistic of scores (seeds, episodes) by the percentile bootstrap.

    Episodes are drawn within each seed, which is the stratum; with `over_seeds` the seeds are drawn first. The same table
    gives the same interval.
    """
    seeds, episodes = table.shape
    draw = np.random.default_rng(seed)
    rows = np.broadcast_to(np.arange(seeds), (_RESAMPLES, seeds))
    if over_seeds:
        rows = draw.integers(seeds, size=(_RESAMPLES, seeds))
    drawn = np.empty(_RESAMPLES)
    for place, chosen in enumerate(rows):
        within = draw.integers(episodes, size=(seeds, episodes))
        drawn[place] = statistic(table[chosen[:, None], within].reshape(-1))
    tail = (1 - _CERTAINTY) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
