"""How often M expects episodes to end, against how often they do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast

#: Bounds of the bins of probabilities in which ends are counted.
BINS = (0.0, 0.001, 0.01, 0.1, 0.5, 1.0)


def by_bin(expected: np.ndarray, came: np.ndarray) -> list[list[float]]:
    """Return for each of BINS the number of decisions whose `expected` (T,) is in it, their sum, and that of `came` (T,)."""
    bins, count = np.digitize(expected, BINS[1:-1]), len(BINS) - 1
    rows: list[list[float]] = np.stack([np.bincount(bins, part, count) for part in (None, expected, came)], 1).tolist()
    return rows


def ends(promises: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return how often M expected episodes to end, and how often they did, over all their decisions and by bin.

    `predicted_terminations` is the sum of the probabilities that M gave to each decision's ending its episode, before it
    saw what came; `terminations` is how many did, time limits not counted. `terminated_LOW_HIGH_decisions`, `_expected`
    and `_ended` are the decisions that were given a probability between LOW and HIGH, their mean one, and the share that
    ended: these two are alike where M is calibrated.
    """
    told = [episode.ends for episode in promises if episode.ends]
    if not told:
        return {}
    rows = np.sum(told, 0)
    metrics = {"predicted_terminations": rows[:, 1].sum(), "terminations": rows[:, 2].sum()}
    for low, high, (count, expected, ended) in zip(BINS, BINS[1:], rows, strict=False):
        if count:
            name = f"terminated_{low:g}_{high:g}"
            metrics |= {
                f"{name}_decisions": count,
                f"{name}_expected": expected / count,
                f"{name}_ended": ended / count,
            }
    return {name: float(value) for name, value in metrics.items()}
