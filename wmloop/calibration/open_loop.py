"""What M predicts given the actions that were really taken, with nothing observed on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast

#: What differs by a smaller part is the same number, rounded.
_SAME = 1e-9


def open_loop_metrics(forecasts: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return the metrics of open-loop predictions: rewards predicted from a real state and the real actions after it.

    No later observation is given to the world model. None where nothing was predicted.

    - `open_loop_correlation`: of predicted and real reward sums, over windows of agent steps.
    - `open_loop_bias`: sum of the predicted rewards less the real ones, as a fraction of the real ones; left out where that
      is not more than twice its standard error.
    """
    told = [pair for episode in forecasts for pair in zip(episode.open_loop, episode.real, strict=False)]
    asked = [(open_loop, real) for open_loop, real in told if open_loop is not None]
    if not asked:
        return {}
    open_loop, real = np.array(asked).T
    metrics = {}
    if len(real) > 1 and abs(real.sum()) > 2 * math.sqrt(len(real)) * real.std(ddof=1) and abs(real.sum()) > 0:
        metrics["open_loop_bias"] = (open_loop.sum() - real.sum()) / abs(real.sum())
    if all(told.std() > _SAME * abs(told).max() for told in (open_loop, real)):
        metrics["open_loop_correlation"] = np.corrcoef(open_loop, real)[0, 1]
    return {name: float(value) for name, value in metrics.items()}
