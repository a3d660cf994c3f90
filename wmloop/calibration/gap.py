"""The dream's promises against what reality paid, over several episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import ReturnForecast


def gap(promises: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return how the dream's promises stood against reality over several episodes; nothing where no moment was asked.

    Only episodes without exploration: C did there what it did in the dream. `predicted_return`, `real_return`: rewards an
    episode, as long as these episodes were on average; `best_real_return`: those of the episode that paid most;
    `real_reward_per_decision`. `return_gap_points` is the predicted return less the real one, `return_gap` the same in parts
    of the real one, where that is more than twice its error; `return_gap_points_se`, `return_gap_se`: their standard errors
    (episodes being independent), where there are two episodes.
    """
    told = [episode for episode in promises if episode.lived]
    if not told:
        return {}
    sums = [(sum(episode.promised), sum(episode.paid), sum(episode.lived)) for episode in told]
    promised, paid, lived = np.array(sums, np.float64).T
    scale = np.mean([episode.decisions for episode in promises]) / lived.sum()
    metrics = {
        "predicted_return": promised.sum() * scale,
        "real_return": paid.sum() * scale,
        "best_real_return": (paid / lived).max() * lived.sum() * scale,
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
