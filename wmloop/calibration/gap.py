"""The return that the world model predicts, compared with the real one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast


def gap(forecasts: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return the metrics that compare predicted and real returns of some episodes; none where nothing was predicted.

    The episodes are to be without exploration: the world model predicts rewards of the deterministic policy.

    - `predicted_return`, `real_return`: return of an episode of these episodes' mean length, as the world model predicts it
      from real states, and as the environment paid it. Both count the same agent steps.
    - `best_real_return`: the highest real return of a single episode, over the same agent steps and scaled to its own length.
    - `real_reward_per_decision`: real reward per agent step.
    - `return_gap_points`: `predicted_return` less `real_return`; `return_gap`: the same as a fraction of `real_return`, left
      out where that is not more than twice its standard error.
    - `return_gap_points_se`, `return_gap_se`: standard errors of these two over episodes, from two episodes on.
    """
    told = [episode for episode in forecasts if episode.steps]
    if not told:
        return {}
    sums = [(sum(episode.predicted), sum(episode.real), sum(episode.steps)) for episode in told]
    predicted, real, steps = np.array(sums, np.float64).T
    lengths = np.array([episode.decisions for episode in told])
    scale = np.mean([episode.decisions for episode in forecasts]) / steps.sum()
    metrics = {
        "predicted_return": predicted.sum() * scale,
        "real_return": real.sum() * scale,
        "best_real_return": (real / steps * lengths).max(),
        "real_reward_per_decision": real.sum() / steps.sum(),
        "return_gap_points": (predicted.sum() - real.sum()) * scale,
    }
    if len(told) > 1:
        total, difference = real.sum(), predicted - real

        def error(residual: np.ndarray) -> float:
            return math.sqrt(len(told)) * float(residual.std(ddof=1))

        metrics["return_gap_points_se"] = error(difference - difference.sum() / steps.sum() * steps) * scale
        if abs(total) > 2 * error(real - total / steps.sum() * steps):
            metrics["return_gap"] = difference.sum() / abs(total)
            metrics["return_gap_se"] = error(predicted - predicted.sum() / total * real) / abs(total)
    return {name: float(value) for name, value in metrics.items()}
