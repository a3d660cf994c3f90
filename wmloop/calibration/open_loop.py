"""What M foresees given the actions that were really taken, with no picture seen on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast

#: What differs by a smaller part is the same number, rounded.
_SAME = 1e-9


def open_loop_metrics(promises: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return the metrics of open-loop predictions: rewards predicted from a real state and the real actions after it.

    No later observation is given to the world model. None where nothing was predicted.

    - `open_loop_correlation`: of predicted and real reward sums, over windows of agent steps.
    - `open_loop_bias`: sum of the predicted rewards less the real ones, as a fraction of the real ones; left out where that
      is not more than twice its standard error.
    """
    told = [pair for episode in promises for pair in zip(episode.foreseen, episode.paid, strict=False)]
    asked = [(foreseen, paid) for foreseen, paid in told if foreseen is not None]
    if not asked:
        return {}
    foreseen, paid = np.array(asked).T
    metrics = {}
    if len(paid) > 1 and abs(paid.sum()) > 2 * math.sqrt(len(paid)) * paid.std(ddof=1) and abs(paid.sum()) > 0:
        metrics["open_loop_bias"] = (foreseen.sum() - paid.sum()) / abs(paid.sum())
    if all(told.std() > _SAME * abs(told).max() for told in (foreseen, paid)):
        metrics["open_loop_correlation"] = np.corrcoef(foreseen, paid)[0, 1]
    return {name: float(value) for name, value in metrics.items()}
