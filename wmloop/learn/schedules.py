"""What changes from iteration to iteration, as functions of what reality said so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Between these `temperature` moves: outside, dreams are frozen or noise.
_TEMPERATURES = (0.5, 2.0)


def plateaued(scores: Sequence[float]) -> bool:
    """Return whether a score has ever stopped rising: two in a row were no better than the best before them."""
    return any(max(scores[i : i + 2]) <= max(scores[:i]) for i in range(1, len(scores) - 1))


def gamma(wide: float, near: float | None, scores: Sequence[float]) -> float:
    """Return the discount per decision: `near` once the score has stopped rising, and from then on; never if None.

    A nearer horizon frees a controller that stands still, cutting its bends for speed. One that still rises is set back
    by it, and one that was freed falls back where the wide horizon returns (docs/experiments/2026-11-26-nearer-horizon.md).
    """
    return wide if near is None or not plateaued(scores) else near


def temperature(last: float, gap: float) -> float:
    """Return the temperature of the next dreams, those before having had `last` and promised too much by the part `gap`.

    It is multiplied by exp(gap / 2), within [0.5, 2]: promises that reality did not keep make the next dreams less
    certain, and a model that promised too little may be trusted more.
    """
    return float(np.clip(last * np.exp(float(np.clip(gap, -1.0, 1.0)) / 2), *_TEMPERATURES))


def ceiling(limit: float | None, paid: float) -> float | None:
    """Return the reward of a decision beyond which more is worth nothing: `limit` where reality paid as much, else None.

    From the start on it would make a controller careful before it is able (docs/experiments/2026-11-24-random-driving.md).
    """
    return limit if limit is not None and paid >= limit else None
