"""The return that the world model predicts, compared with the real one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast


def gap(promises: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return the metrics that compare predicted and real returns of some episodes; none where nothing was predicted.

    The episodes are to be without exploration: the world model predicts what the deterministic policy is paid.

    - `predicted_return`, `real_return`: return of an episode of these episodes' mean length, as the world model predicts it
      from real states, and as the environment paid it. Both count the same agent steps.
    - `best_real_return`: the highest real return of a single episode, over the same agent steps and scaled to its own length.
    - `real_reward_per_decision`: real reward per agent step.
    - `return_gap_points`: `predicted_return` less `real_return`; `return_gap`: the same as a fraction of `real_return`, left
      out where that is not more than twice its standard error.
    - `return_gap_points_se`, `return_gap_se`: standard errors of these two over episodes, from two episodes on.
    """
    told = [episode for episode in promises if episode.lived]
    if not told:
        return {}
    sums = [(sum(episode.promised), sum(episode.paid), sum(episode.lived)) for episode in told]
    promised, paid, lived = np.array(sums, np.float64).T
    lengths = np.array([episode.decisions for episode in told])
    scale = np.mean([episode.decisions for episode in promises]) / lived.sum()
    metrics = {
        "predicted_return": promised.sum() * scale,
        "real_return": paid.sum() * scale,
        "best_real_return": (paid / lived * lengths).max(),
        "real_reward_per_decision": paid.sum() / lived.sum(),
        "return_gap_points": (promised.sum() - paid.sum()) * scale,
    }
    if len(told) > 1:
        total, difference = paid.sum(), promised - paid

        def error(residual: np.ndarray) -> float:
            return math.sqrt(len(told)) * float(residual.std(ddof=1))

        metrics["return_gap_points_se"] = error(difference - difference.sum() / lived.sum() * lived) * scale
        if abs(total) > 2 * error(paid - total / lived.sum() * lived):
            metrics["return_gap"] = difference.sum() / abs(total)
            metrics["return_gap_se"] = error(promised - promised.sum() / total * paid) / abs(total)
    return {name: float(value) for name, value in metrics.items()}
