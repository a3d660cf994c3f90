"""Evaluate: the agent drives real held-out episodes; what its M predicts, if it has one, is compared with their returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmloop import ranking
from wmloop.agents.collector import EpisodeTask, require_wave, waves
from wmloop.calibration.scores import EpisodeResult, score_episodes, summarise
from wmloop.config import RunConfig
from wmloop.envs import Envs, make_envs
from wmloop.seeding import confirmation_seeds, evaluation_seeds
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker
from wmloop.training.rollouts import require_same_spaces
from wmloop.training.tracks import FURTHER, TRACKS, as_records, from_records, results_file

#: Figures of an agent's training that the next one's asks of its evaluation.
_PASSED_ON = ("temperature",)


def run(ctx: StageContext[RunConfig], **parts: Version) -> dict[str, float]:
    """Score the agent that `parts` are on the held-out episodes; where the goal is met, confirm it on further ones."""
    config = ctx.config
    seeds = evaluation_seeds(config.evaluate.episodes)
    with make_envs(config.env, min(config.env.num_envs, len(seeds)), output=ctx.output) as pool:
        require_same_spaces(ctx.collected(), pool.actions, pool.observations)
        agent = ctx.agent(pool.actions, parts)
        ctx.begin(len(seeds) * config.env.most_frames)
        results = _score(ctx, pool, agent, seeds, TRACKS)
        own = parts[ctx.pipeline.agent].metrics
        metrics = summarise(results) | {name: own[name] for name in _PASSED_ON if name in own}
        goal = config.budget.goal
        if goal is not None and metrics["score"] >= goal:
            ctx.log(
                f"score {_figure(metrics['score'])} on {len(seeds)} held-out episodes reaches the goal: confirming on"
                " further ones"
            )
            further = confirmation_seeds(config.evaluate.confirm_episodes)
            ctx.begin(len(further) * config.env.most_frames)
            results = _score(ctx, pool, agent, further, FURTHER)
            confirmed = summarise(results)
            # as pipelines.metrics describes them
            kept = ("score", "score_std", "score_se", "score_min", "frames", "return_gap", "return_gap_se")
            metrics |= {f"confirmed_{name}": confirmed[name] for name in kept if name in confirmed}
            seen = [version.metrics for version in ctx.scored()]
            lost = ranking.worst([version.metrics for version in ctx.collected()], [*seen, metrics])
            low = ranking.lower_bound([result.score for result in results], lost)
            if math.isfinite(low):
                metrics["confirmed_score_low"] = low
            verdict = "confirmed" if ranking.confirms(metrics, goal) else "not confirmed"
            ctx.log(
                f"score {_figure(confirmed['score'])} on {len(further)} confirming episodes, standard error"
                f" {_figure(confirmed['score_se'])}: {verdict}"
            )
    if beyond_best(metrics):
        usual = ": usual while it has seen only the random policy"
        if ctx.iteration and "temperature" in metrics:  # of dreams that the policy was trained in
            usual = (
                ": it is too optimistic, and the policy may exploit that; if it stays so, fork with a higher dream.temperature"
                " or a shorter horizon"
            )
        ctx.log(
            f"the world model M predicts a return of {_figure(metrics['predicted_return'])}, more than that of the best real"
            f" episode over the same agent steps ({_figure(metrics['best_real_return'])}){usual}",
            "warning",
        )
    return metrics


def beyond_best(metrics: Mapping[str, float]) -> bool:
    """Tell whether M predicts clearly more than the best real episode had: by 1%, and by twice the gap's standard error."""
    predicted, best = metrics.get("predicted_return", 0.0), metrics.get("best_real_return", math.inf)
    return predicted - best > max(2 * metrics.get("return_gap_points_se", 0.0), 0.01 * abs(best))


def _figure(value: float) -> str:
    """Return a score to four digits, large ones in whole numbers."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _score(
    ctx: StageContext[RunConfig], pool: Envs, agent: Any, seeds: Sequence[int], name: str
) -> list[EpisodeResult]:
    results: list[EpisodeResult] = []
    for number, wave in enumerate(waves([EpisodeTask(seed) for seed in seeds], pool.num_envs)):
        part = results_file(name, number)
        known = ctx.draft.has(part)
        if not known:
            ctx.check_stop()
            ticker = Ticker(ctx, pool.observations, len(results) * ctx.config.env.most_frames)
            scored = score_episodes(ctx.config, pool, agent, [task.seed for task in wave], ticker, ctx.pipeline.dreams)
            ctx.draft.save_json(part, as_records(scored))
        records = ctx.draft.json(part)
        require_wave(records, wave, ctx.draft.name)
        results += from_records(records)
        if known:
            ctx.found(len(results) * ctx.config.env.most_frames)
        ctx.progress(
            len(results) * ctx.config.env.most_frames,
            {"score": float(np.mean([result.score for result in results]))},
        )
    return results
