"""How often the world model predicts terminations, compared with how often they happen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wmloop.calibration.windows import ReturnForecast

#: Bounds of the bins of probabilities in which ends are counted.
BINS = (0.0, 0.001, 0.01, 0.1, 0.5, 1.0)


def by_bin(expected: np.ndarray, came: np.ndarray) -> list[list[float]]:
    """Return for each of BINS the number of decisions whose `expected` (T,) is in it, their sum, and that of `came` (T,)."""
    bins, count = np.digitize(expected, BINS[1:-1]), len(BINS) - 1
    rows: list[list[float]] = np.stack([np.bincount(bins, part, count) for part in (None, expected, came)], 1).tolist()
    return rows


def ends(forecasts: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return the metrics that compare predicted and real terminations, over all agent steps and by predicted probability.

    - `predicted_terminations`: sum over agent steps of the predicted probability that the step terminates its episode, each
      predicted before the step; `terminations`: how many did. Truncations are not counted.
    - `terminated_LOW_HIGH_decisions`: agent steps whose predicted probability is between LOW and HIGH;
      `terminated_LOW_HIGH_expected`: its mean over them; `terminated_LOW_HIGH_ended`: the fraction of them that terminated.
      The last two are equal, but for chance, where the predictions are calibrated.
    """
    told = [episode.ends for episode in forecasts if episode.ends]
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


class Calibration(NamedTuple):
    """Predicted and real terminations of the agent steps in one of BINS.

    Of `decisions` agent steps whose predicted probability was from `low` to `high`, `expected` is its mean and `ended` the
    fraction that terminated.
    """

    low: float
    high: float
    decisions: float
    expected: float
    ended: float


def calibration(metrics: Mapping[str, float]) -> list[Calibration]:
    """Return what `ends` told, by bin, lowest first; bins that no agent step was in are left out."""
    found = []
    for low, high in itertools.pairwise(BINS):
        name = f"terminated_{low:g}_{high:g}"
        if f"{name}_decisions" in metrics:
            found.append(
                Calibration(low, high, *(metrics[f"{name}_{part}"] for part in ("decisions", "expected", "ended")))
            )
    return found
