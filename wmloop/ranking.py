"""Which agent is better? Mean scores over episodes, weighed by how sure they are."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist

#: Standard errors by which a score must fall short of the best to count as clearly worse.
_CLEARLY = 3.0
#: A score that falls short by less than this part of the best is as good, however sure both are.
_SLIGHTLY = 0.01
#: How certain a goal's confirmation is.
_CERTAINTY = 0.95
#: From so many degrees of freedom on Student's quantile is expanded about the normal one.
_MANY = 30


def merit(metrics: Mapping[str, float]) -> float:
    """Return what an evaluation's agent is worth: its mean score less one standard error, on the most episodes it played.

    The highest of many means is partly luck, and the more so the fewer and the more different its episodes were; the
    error also prefers, of two equal means, the agent that fails in no episode. `metrics` are those of the stage evaluate.
    """
    kind = "confirmed_score" if "confirmed_score" in metrics else "score"
    return metrics[kind] - metrics.get(f"{kind}_se", 0.0)


def confirms(metrics: Mapping[str, float], goal: float) -> bool:
    """Return whether an evaluation's confirming episodes put its agent's true mean above `goal` with 95% certainty.

    A mean just above it would be below on the next hundred episodes as often as not.
    """
    if "confirmed_score" not in metrics:
        return False
    if "confirmed_score_low" in metrics:
        return metrics["confirmed_score_low"] >= goal
    # from before there was a bound: many episodes, a normal mean
    reach = NormalDist().inv_cdf(_CERTAINTY) * metrics.get("confirmed_score_se", 0.0)
    return metrics["confirmed_score"] - reach >= goal


def lower_bound(scores: Sequence[float], lost: float) -> float:
    """Return what the mean of independent scores truly is at least, with 95% certainty.

    By Student's t; of a single score nothing is certain. Scores of few values, won or lost, are alike by luck, and their
    spread then says too little: they are held against one more that was lost, which is `lost`, or the worst of them if that is
    lower.
    """
    if len(scores) < 2:
        return -math.inf
    if 2 * len(set(scores)) <= len(scores):
        scores = [*scores, min(lost, *scores)]
    count = len(scores)
    return statistics.fmean(scores) - student(count - 1, _CERTAINTY) * statistics.stdev(scores) / math.sqrt(count)


def worst(collected: Iterable[Mapping[str, float]], evaluated: Iterable[Mapping[str, float]]) -> float:
    """Return the lowest score that a run has seen, in the metrics of its rollouts (means) and evaluations; inf without any.

    The first rollouts are the random policy's, so it is what a lost episode scores, or near to it.
    """
    means = (metrics["score"] for metrics in collected if "score" in metrics)
    lowest = [m[name] for m in evaluated for name in ("score_min", "confirmed_score_min") if name in m]
    return min([*means, *lowest], default=math.inf)


def interval(scores: Sequence[float]) -> list[float] | None:
    """Return the 95% confidence interval of the mean of independent scores by Student's t; None for a single one."""
    count = len(scores)
    if count < 2:
        return None
    mean, reach = statistics.fmean(scores), student(count - 1, 0.975) * statistics.stdev(scores) / math.sqrt(count)
    return [mean - reach, mean + reach]


def proportion(share: float, count: float) -> tuple[float, float]:
    """Return the 95% confidence interval of a probability of which `share` of `count` independent trials are known (Wilson)."""
    z = NormalDist().inv_cdf(0.975)
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, (middle - spread) / (1 + z * z / count)), min(1.0, (middle + spread) / (1 + z * z / count))


@functools.cache
def student(freedom: int, certainty: float) -> float:
    """Return what Student's t of so many degrees of freedom stays below with probability `certainty` (above one half).

    Found in the distribution's closed form (Abramowitz & Stegun 26.7.3 and 26.7.4); for many degrees by 26.7.5.
    """
    if freedom > _MANY:
        x = NormalDist().inv_cdf(certainty)
        g1, g2 = (x**3 + x) / 4, (5 * x**5 + 16 * x**3 + 3 * x) / 96
        g3 = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
        return x + g1 / freedom + g2 / freedom**2 + g3 / freedom**3
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * certainty - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """Return P(|t| < sqrt(freedom) tan(angle))."""
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (k - 1) / k
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def best(evaluations: Sequence[Mapping[str, float]]) -> int | None:
    """Return the place of the evaluation of highest merit, the first of equals; None where there is none."""
    return max(range(len(evaluations)), key=lambda i: merit(evaluations[i]), default=None)


def newest_accepted(evaluations: Sequence[Mapping[str, float]]) -> int:
    """Return the place of the newest evaluation that is not clearly below the best mean score.

    Going on from the best alone would undo what was learnt since whenever one score was lucky. How lucky a single episode was
    nobody knows, and the newest is accepted.
    """
    first = max(evaluations, key=lambda metrics: metrics["score"])

    def accepted(metrics: Mapping[str, float]) -> bool:
        if _is_single(metrics) or _is_single(first):
            return True
        error = math.hypot(metrics.get("score_se", 0.0), first.get("score_se", 0.0))
        return first["score"] - metrics["score"] <= max(_CLEARLY * error, _SLIGHTLY * abs(first["score"]))

    return max(i for i, metrics in enumerate(evaluations) if accepted(metrics))


def _is_single(metrics: Mapping[str, float]) -> bool:
    """Tell whether an evaluation had one episode: it tells the lowest score, and no deviation."""
    return "score_min" in metrics and {"score_std", "score_se"}.isdisjoint(metrics)
