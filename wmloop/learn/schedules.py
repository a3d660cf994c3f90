"""What changes from iteration to iteration, as functions of what reality said so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

#: Between these `temperature` moves: outside, dreams are frozen or noise.
_TEMPERATURES = (0.5, 2.0)


def plateaued(scores: Sequence[float]) -> bool:
    """Return whether a score has ever stopped rising: two in a row were no better than the best before them."""
    return any(max(scores[i : i + 2]) <= max(scores[:i]) for i in range(1, len(scores) - 1))


def gamma(usual: float, plateau: float | None, scores: Sequence[float]) -> float:
    """Return the discount per decision: `plateau` once the score has stopped rising, and from then on; never if None.

    A smaller discount helps a policy whose score no longer rises. One that still rises is set back by it, and one that it
    helped falls back where the usual discount returns (docs/experiments/2026-11-26-nearer-horizon.md).
    """
    return usual if plateau is None or not plateaued(scores) else plateau


def temperature(configured: float | Literal["auto"], last: float = 1.0, gap: float = 0.0) -> float:
    """Return the temperature of the next dreams: as configured, or, where that is `auto`, by the evaluation before.

    That evaluation's policy had dreamt at `last` and was paid less than predicted by the fraction `gap`. The temperature is
    last * exp(gap / 2) then, within [0.5, 2]: after a prediction that was too high the next dreams are less certain, after
    one that was too low more certain.
    """
    if configured != "auto":
        return configured
    return float(np.clip(last * np.exp(float(np.clip(gap, -1.0, 1.0)) / 2), *_TEMPERATURES))
