"""What M foresees given the actions that were really taken, with no picture seen on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast


def open_loop_metrics(promises: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return how well M foresaw what the actions that were really taken would pay, explored or not; nothing if unasked.

    `open_loop_bias` is the difference in parts of what was paid, where that is more than twice its error,
    `open_loop_correlation` that over moments.
    """
    told = [pair for episode in promises for pair in zip(episode.foreseen, episode.paid, strict=False)]
    asked = [(foreseen, paid) for foreseen, paid in told if foreseen is not None]
    if not asked:
        return {}
    foreseen, paid = np.array(asked).T
    metrics = {}
    if len(paid) > 1 and abs(paid.sum()) > 2 * math.sqrt(len(paid)) * paid.std(ddof=1) and abs(paid.sum()) > 0:
        metrics["open_loop_bias"] = (foreseen.sum() - paid.sum()) / abs(paid.sum())
    if foreseen.std() > 0 and paid.std() > 0:
        metrics["open_loop_correlation"] = np.corrcoef(foreseen, paid)[0, 1]
    return {name: float(value) for name, value in metrics.items()}
