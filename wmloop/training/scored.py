"""What the scores of earlier iterations decide of how C is trained next."""

from __future__ import annotations

from wmloop.config import WorldModelConfig
from wmloop.learn import schedules
from wmloop.store import Version
from wmloop.training.context import StageContext


def discount(ctx: StageContext[WorldModelConfig]) -> float:
    """Return the discount per decision (see schedules.gamma)."""
    config = ctx.config.controller
    return schedules.gamma(config.gamma, config.plateau_gamma, [scored.metrics["score"] for scored in ctx.scored()])


def reward_ceiling(ctx: StageContext[WorldModelConfig], begun_with: Version | None) -> float | None:
    """Return the ceiling of a decision's reward (see schedules.ceiling), by what the C that training goes on from was paid."""
    if begun_with is None:
        return None
    scored = next(version.metrics for version in ctx.scored() if version.iteration == begun_with.iteration)
    # runs of earlier days tell what that rate pays in a whole episode's frames
    whole = ctx.config.env.most_frames / ctx.config.env.action_repeat
    paid = scored.get("real_reward_per_decision", scored.get("real_return", 0.0) / whole)
    return schedules.ceiling(ctx.config.controller.reward_saturation, paid)


def temperature(ctx: StageContext[WorldModelConfig], evaluation: Version | None) -> float:
    """Return the temperature to dream at: as configured, or `auto`, which begins at 1 (see schedules.temperature)."""
    configured = ctx.config.dream.temperature
    if configured != "auto":
        return configured
    if evaluation is None:
        return 1.0
    scored = evaluation.metrics
    return schedules.temperature(scored.get("temperature", 1.0), scored.get("return_gap", 0.0))
