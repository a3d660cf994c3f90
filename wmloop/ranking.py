"""Which agent is better? Mean scores over tracks, weighed by how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

#: Standard errors by which a score must fall short of the best to count as clearly worse.
_CLEARLY = 3.0
#: One-sided 95% point of the normal distribution.
_SURELY = 1.645


def merit(metrics: Mapping[str, float]) -> float:
    """Return what an evaluation's agent is worth: its mean score less one standard error, on the most tracks it drove.

    The highest of many means is partly luck, and the more so the fewer and the more different its tracks were; the
    error also prefers, of two equal means, the agent that loses no track. `metrics` are those of the stage evaluate.
    """
    kind = "confirmed_score" if "confirmed_score" in metrics else "score"
    return metrics[kind] - metrics.get(f"{kind}_error", 0.0)


def confirms(metrics: Mapping[str, float], goal: float) -> bool:
    """Return whether an evaluation's further tracks put its agent's true mean above `goal` with 95% certainty.

    A mean just above it would be below on the next hundred tracks as often as not.
    """
    if "confirmed_score" not in metrics:
        return False
    return metrics["confirmed_score"] - _SURELY * metrics.get("confirmed_score_error", 0.0) >= goal


def best(evaluations: Sequence[Mapping[str, float]]) -> int | None:
    """Return the place of the evaluation of highest merit, the first of equals; None where there is none."""
    return max(range(len(evaluations)), key=lambda i: merit(evaluations[i]), default=None)


def newest_accepted(evaluations: Sequence[Mapping[str, float]]) -> int:
    """Return the place of the newest evaluation that is not clearly below the best mean score.

    Going on from the best alone would undo what was learnt since whenever one score was lucky.
    """
    first = max(evaluations, key=lambda metrics: metrics["score"])

    def accepted(metrics: Mapping[str, float]) -> bool:
        error = math.hypot(metrics.get("score_error", 0.0), first.get("score_error", 0.0))
        return first["score"] - metrics["score"] <= _CLEARLY * error

    return max(i for i, metrics in enumerate(evaluations) if accepted(metrics))


def settled(evaluations: Sequence[Mapping[str, float]]) -> bool:
    """Return whether the mean score has ever stopped rising: two in a row were no better than the best before them."""
    scores = [metrics["score"] for metrics in evaluations]
    return any(max(scores[i : i + 2]) <= max(scores[:i]) for i in range(1, len(scores) - 1))
