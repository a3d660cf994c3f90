"""What evaluations decide of how C is trained next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wmloop.config import ControllerConfig, DreamConfig
from wmloop.learn import schedules


def discount(config: ControllerConfig, evaluations: Sequence[Mapping[str, float]]) -> float:
    """Return the discount per decision after evaluations with these metrics (see schedules.gamma)."""
    return schedules.gamma(config.gamma, config.plateau_gamma, [metrics["score"] for metrics in evaluations])


def temperature(config: DreamConfig, evaluation: Mapping[str, float]) -> float:
    """Return the temperature to dream at: as configured, or, where that is `auto`, by the last evaluation's metrics.

    Without any it is 1 (see schedules.temperature).
    """
    if config.temperature != "auto":
        return config.temperature
    return schedules.temperature(evaluation.get("temperature", 1.0), evaluation.get("return_gap", 0.0))
