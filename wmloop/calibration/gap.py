"""The dream's promises against what reality paid, over several episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wmloop.calibration.windows import Promises


def gap(promises: Sequence[Promises]) -> dict[str, float]:
    """Return how the dream's promises stood against reality over several episodes; nothing where no moment was asked.

    Only episodes without exploration: C did there what it did in the dream. `promised`, `paid`: rewards an episode, as long
    as these episodes were on average; `paid_best`: those of the episode that paid most; `paid_a_decision`. `gap_points` is
    the difference of promised and paid, `gap` the same in parts of what was paid, where that is more than twice its error;
    `gap_points_error`, `gap_error`: their standard errors (episodes being independent), where there are two episodes.
    """
    told = [episode for episode in promises if episode.lived]
    if not told:
        return {}
    sums = [(sum(episode.promised), sum(episode.paid), sum(episode.lived)) for episode in told]
    promised, paid, lived = np.array(sums, np.float64).T
    scale = np.mean([episode.decisions for episode in promises]) / lived.sum()
    metrics = {
        "promised": promised.sum() * scale,
        "paid": paid.sum() * scale,
        "paid_best": (paid / lived).max() * lived.sum() * scale,
        "paid_a_decision": paid.sum() / lived.sum(),
        "gap_points": (promised.sum() - paid.sum()) * scale,
    }
    if len(told) > 1:
        total, difference = paid.sum(), promised - paid

        def error(residual: np.ndarray) -> float:
            return math.sqrt(len(told)) * float(residual.std(ddof=1))

        metrics["gap_points_error"] = error(difference - difference.sum() / lived.sum() * lived) * scale
        if abs(total) > 2 * error(paid - total / lived.sum() * lived):
            metrics["gap"] = difference.sum() / abs(total)
            metrics["gap_error"] = error(promised - promised.sum() / total * paid) / abs(total)
    return {name: float(value) for name, value in metrics.items()}
