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


def interval(table: np.ndarray, over_seeds: bool, statistic: Statistic = iqm) -> tuple[float, float]:
    """Return the 95% interval of a statistic of scores (seeds, episodes) by the percentile bootstrap.

    Episodes are drawn anew, the same ones for all seeds, whose agents all had the same episodes: what is hard for one is hard
    for the others. With `over_seeds` the seeds are drawn anew, too. The same table gives the same interval.
    """
    seeds, episodes = table.shape
    draw, drawn = np.random.default_rng(0), []
    for _ in range(_RESAMPLES):
        rows = draw.integers(seeds, size=(seeds,)) if over_seeds else np.arange(seeds)
        drawn.append(statistic(_at(table, rows, draw.integers(episodes, size=(episodes,)))))
    return _middle(drawn)


def difference(table: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the interquartile mean of `table` (seeds, episodes) less that of an `other`, for other seeds.

    Both had the same episodes, which are drawn together. Their seeds are drawn apart: runs of one seed begin with the same
    random episodes, and what they share makes the interval rather too wide.
    """
    draw, drawn = np.random.default_rng(0), []
    for _ in range(_RESAMPLES):
        columns = draw.integers(table.shape[1], size=(table.shape[1],))
        mine, theirs = (iqm(_at(one, draw.integers(len(one), size=(len(one),)), columns)) for one in (table, other))
        drawn.append(mine - theirs)
    return _middle(drawn)


def _at(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return table[rows[:, None], columns].reshape(-1)


def _middle(drawn: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return between which two values the middle 95% of what was drawn lie."""
    tail = (1 - _CERTAINTY) / 2
    low, high = np.quantile(np.array(drawn), [tail, 1 - tail])
    return float(low), float(high)
