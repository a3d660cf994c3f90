"""Evaluate: the triple (V, M, C) drives real held-out tracks, and M's promises are held against what reality paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wmloop import ranking
from wmloop.config import RunConfig
from wmloop.envs import EnvPool
from wmloop.models.agent import Agent
from wmloop.seeding import confirmation_tracks, evaluation_tracks
from wmloop.stages.collect import UNLIMITED, Task, drive, halves, require_wave, waves
from wmloop.stages.context import StageContext
from wmloop.stages.promises import Promises, Trace, ends, gap
from wmloop.stages.weights import Triple, require_same_actions


class TrackResult(NamedTuple):
    """What happened on one track, and what M had to say about it (see promises.Promises)."""

    seed: int
    score: float
    frames: int
    terminated: bool
    promised: list[float]
    paid: list[float]
    lived: Sequence[int] = ()
    decisions: int = 0
    ends: Sequence[Sequence[float]] = ()


def run(ctx: StageContext) -> dict[str, float]:
    """Score this iteration's triple on the held-out tracks; where the goal is met, confirm it on further ones."""
    config = ctx.config
    triple = Triple(ctx.needs["vision"], ctx.needs["memory"], ctx.needs["controller"])
    tracks = evaluation_tracks(config.evaluate.tracks)
    with EnvPool(config.env, min(config.env.num_envs, len(tracks)), output=ctx.output) as pool:
        require_same_actions(ctx.history("rollout"), pool.action_low, pool.action_high)
        agent = triple.agent(config, pool.action_low, pool.action_high, ctx.device)
        ctx.begin(len(tracks) * config.env.most_frames, "frames")
        results = _score(ctx, pool, agent, tracks, "tracks")
        metrics = summarise(results) | {"temperature": triple.controller.metrics.get("temperature", 1.0)}
        goal = config.budget.goal
        if goal is not None and metrics["score"] >= goal:
            ctx.say(f"goal met on {len(tracks)} tracks with {metrics['score']:.0f}: confirming on further ones")
            further = confirmation_tracks(config.evaluate.confirm_tracks)
            ctx.begin(len(further) * config.env.most_frames, "frames")
            results = _score(ctx, pool, agent, further, "confirm")
            confirmed = summarise(results)
            kept = ("score", "score_std", "score_error", "score_min", "frames", "gap", "gap_error")
            metrics |= {f"confirmed_{name}": confirmed[name] for name in kept if name in confirmed}
            low = ranking.lower_bound([result.score for result in results], goal)
            if math.isfinite(low):
                metrics["confirmed_score_low"] = low
            verdict = "confirmed" if ranking.confirms(metrics, goal) else "not sure yet, so it goes on"
            ctx.say(
                f"{confirmed['score']:.1f} on {len(further)} further tracks, error {confirmed['score_error']:.1f}: {verdict}"
            )
    if metrics.get("promised", 0.0) > metrics.get("paid_best", math.inf):
        told = f"M promises {metrics['promised']:.0f} an episode, more than the best real track paid"
        ctx.say(f"{told} ({metrics['paid_best']:.0f})", "alarm")
    return metrics


def score_tracks(
    config: RunConfig, pool: EnvPool, agent: Agent, tracks: Sequence[int], tick: Callable[[int, np.ndarray | None], None],
) -> list[TrackResult]:  # fmt: skip
    """Drive at most one wave of tracks with the deterministic policy; `tick` as in `collect.drive`."""
    trace = Trace(agent, halves(pool.num_envs))
    wave = [Task(seed, UNLIMITED) for seed in tracks]
    episodes = drive(pool, wave, lambda t, copies, frames: trace.act(copies, frames), tick)
    told = trace.promises(config, episodes)
    return [
        TrackResult(e.seed, e.score, e.frames, e.terminated, p.promised, p.paid, p.lived, p.decisions, p.ends)
        for e, p in zip(episodes, told, strict=True)
    ]


def summarise(results: Sequence[TrackResult]) -> dict[str, float]:
    """Return the headline figures of scored tracks.

    `score`, `score_min`: mean and least of the tracks' sums of official reward; `score_std`: their standard deviation, with
    n - 1; `score_error`: the standard error of their mean. `frames`: real frames driven. The rest is M's word against
    reality's (see promises.gap, promises.ends).
    """
    promises = [Promises(r.promised, [], r.paid, r.lived, r.decisions, r.ends) for r in results]
    scores = np.array([result.score for result in results])
    spread = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    figures = {
        "score": float(scores.mean()),
        "score_std": spread,
        "score_error": spread / math.sqrt(len(scores)),
        "score_min": float(scores.min()),
        "frames": float(sum(result.frames for result in results)),
    }
    return figures | gap(promises) | ends(promises)


def _score(ctx: StageContext, pool: EnvPool, agent: Agent, tracks: Sequence[int], name: str) -> list[TrackResult]:
    results: list[TrackResult] = []
    for number, wave in enumerate(waves([Task(seed, UNLIMITED) for seed in tracks], pool.num_envs)):
        part = f"{name}-{number:04d}.json"
        if not ctx.draft.has(part):
            ctx.stop_here()
            driven = len(results) * ctx.config.env.most_frames

            def tick(frames: int, observation: np.ndarray | None) -> None:
                nonlocal driven
                driven += frames
                ctx.progress(driven)
                if observation is not None:
                    ctx.show("real", observation)
                ctx.stop_here()

            scored = score_tracks(ctx.config, pool, agent, [task.seed for task in wave], tick)
            ctx.draft.save_json(part, [result._asdict() for result in scored])
        require_wave(ctx.draft.json(part), wave, ctx.draft.name)
        # By name: what an older program saved may say more, or less.
        for record in ctx.draft.json(part):
            results.append(TrackResult(**{name: record[name] for name in TrackResult._fields if name in record}))
        ctx.progress(
            len(results) * ctx.config.env.most_frames,
            {"score": float(np.mean([result.score for result in results]))},
        )
    return results


def details(results: Sequence[TrackResult]) -> list[dict[str, Any]]:
    """Return what `wmloop eval --json` tells of each track."""
    return [
        {"seed": result.seed, "score": result.score, "frames": result.frames, "terminated": result.terminated}
        for result in results
    ]
