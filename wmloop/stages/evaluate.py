"""Evaluate: the triple (V, M, C) drives real held-out tracks, and M's promises are held against what reality paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from wmloop.config import RunConfig
from wmloop.dream import Dream, DreamState, Noise
from wmloop.envs import EnvPool
from wmloop.episodes import Episode
from wmloop.models.agent import Agent
from wmloop.seeding import confirmation_tracks, derive_seed, evaluation_tracks
from wmloop.stages.collect import UNLIMITED, Task, drive, waves
from wmloop.stages.context import StageContext
from wmloop.stages.weights import Triple

#: Decisions over which a promise is compared, and decisions between two comparisons.
PROMISE_HORIZON = 25
_PROMISE_EVERY = 10


class TrackResult(NamedTuple):
    """What happened on one track.

    `promised` and `paid` are reward sums over PROMISE_HORIZON decisions from the same moments: dreamt by C inside M, and
    really paid to C; `foreseen` is M's reward for the actions that were really taken.
    """

    seed: int
    score: float
    frames: int
    terminated: bool
    promised: list[float]
    foreseen: list[float]
    paid: list[float]


def run(ctx: StageContext) -> dict[str, float]:
    """Score this iteration's triple on the held-out tracks; where the goal is met, confirm it on further ones."""
    config = ctx.config
    triple = Triple(ctx.needs["vision"], ctx.needs["memory"], ctx.needs["controller"])
    tracks = evaluation_tracks(config.evaluate.tracks)
    with EnvPool(config.env, min(config.env.num_envs, len(tracks))) as pool:
        agent = triple.agent(config, pool.action_low, pool.action_high, ctx.device)
        ctx.begin(len(tracks) * config.env.episode_frames, "frames")
        results = _score(ctx, pool, agent, tracks, "tracks")
        metrics = summarise(results, config) | {"temperature": triple.controller.metrics.get("temperature", 1.0)}
        if metrics["score"] >= config.budget.goal:
            ctx.say(f"goal met on {len(tracks)} tracks with {metrics['score']:.0f}: confirming on fresh ones")
            further = confirmation_tracks(config.evaluate.confirm_tracks)
            ctx.begin(len(further) * config.env.episode_frames, "frames")
            confirmed = summarise(_score(ctx, pool, agent, further, "confirm"), config)
            kept = ("score", "score_std", "score_error", "score_min", "frames")
            metrics |= {f"confirmed_{name}": confirmed[name] for name in kept}
    if metrics.get("promised", 0.0) > metrics.get("paid_best", math.inf):
        ctx.say(
            f"M promises {metrics['promised']:.0f} in {config.env.episode_frames} frames,"
            f" more than the best real track paid ({metrics['paid_best']:.0f})", "alarm",
        )  # fmt: skip
    return metrics


def score_tracks(
    config: RunConfig, pool: EnvPool, agent: Agent, tracks: Sequence[int], tick: Callable[[int, np.ndarray], None],
) -> list[TrackResult]:  # fmt: skip
    """Drive at most one wave of tracks with the deterministic policy; `tick` as in `collect.drive`."""
    agent.start(pool.num_envs)
    trace: list[tuple[torch.Tensor, ...]] = []

    def decide(t: int, frames: np.ndarray) -> np.ndarray:
        action = agent.act(frames)
        trace.append((agent.z, agent.h, agent.c, agent.action))
        return action

    episodes = drive(pool, [Task(seed, UNLIMITED) for seed in tracks], decide, tick)
    return [_result(config, agent, episode, trace, i) for i, episode in enumerate(episodes)]


def summarise(results: Sequence[TrackResult], config: RunConfig) -> dict[str, float]:
    """Return the headline figures of scored tracks.

    `score`, `score_std`, `score_min`: per-track sums of official reward; `score_error`: the standard error of their mean.
    `frames`: real frames driven. `promised`, `paid`: rewards an episode of `env.episode_frames`, as M promised C and as
    reality paid, from the same moments, `paid_best` on the track that paid most; `gap` is the difference of promised and
    paid in parts of what was paid. `open_loop_correlation`, `open_loop_bias`: M's summed reward for PROMISE_HORIZON real
    actions against the real sum.
    """
    scores = np.array([result.score for result in results])
    promised, foreseen, paid = (
        np.array([value for result in results for value in getattr(result, name)])
        for name in ("promised", "foreseen", "paid")
    )
    metrics = {
        "score": float(scores.mean()),
        "score_std": float(scores.std()),
        "score_error": float(scores.std() / np.sqrt(len(scores))),
        "score_min": float(scores.min()),
        "frames": float(sum(result.frames for result in results)),
    }
    if len(paid):
        episode = config.env.episode_frames / (PROMISE_HORIZON * config.env.action_repeat)
        metrics |= {
            "promised": float(promised.mean() * episode),
            "paid": float(paid.mean() * episode),
            "paid_best": float(max(np.mean(result.paid) for result in results if result.paid) * episode),
            "gap": float((promised.mean() - paid.mean()) / max(abs(paid.mean()), 1e-6)),
            "open_loop_bias": float((foreseen.mean() - paid.mean()) / max(abs(paid.mean()), 1e-6)),
        }
        if foreseen.std() > 0 and paid.std() > 0:
            metrics["open_loop_correlation"] = float(np.corrcoef(foreseen, paid)[0, 1])
    return metrics


def _score(ctx: StageContext, pool: EnvPool, agent: Agent, tracks: Sequence[int], name: str) -> list[TrackResult]:
    results: list[TrackResult] = []
    for number, wave in enumerate(waves([Task(seed, UNLIMITED) for seed in tracks], pool.num_envs)):
        part = f"{name}-{number:04d}.json"
        if not ctx.draft.has(part):
            ctx.stop_here()
            driven = len(results) * ctx.config.env.episode_frames

            def tick(frames: int, observation: np.ndarray) -> None:
                nonlocal driven
                driven += frames
                ctx.progress(driven)
                ctx.show("real", observation[0])
                ctx.stop_here()

            scored = score_tracks(ctx.config, pool, agent, [task.seed for task in wave], tick)
            ctx.draft.save_json(part, [result._asdict() for result in scored])
        results += [TrackResult(**record) for record in ctx.draft.json(part)]
        ctx.progress(
            len(results) * ctx.config.env.episode_frames,
            {"score": float(np.mean([result.score for result in results]))},
        )
    return results


def moments(rewards: np.ndarray, patience: int | None) -> list[int]:
    """Return the decisions of an episode at which M is asked what the next PROMISE_HORIZON will pay, given rewards (T,).

    Where nothing has paid for `patience` decisions rollouts stop, so of what comes then M knows nothing: most such
    moments are a car that missed a tile and drives its second lap, over tiles that have paid already.
    """
    asked = range(_PROMISE_EVERY, len(rewards) - PROMISE_HORIZON + 1, _PROMISE_EVERY)
    return [t for t in asked if patience is None or (rewards[max(0, t - patience) : t] > 0).any()]


@torch.inference_mode()
def _result(
    config: RunConfig, agent: Agent, episode: Episode, trace: list[tuple[torch.Tensor, ...]], index: int
) -> TrackResult:
    starts = moments(episode.rewards, config.rollout.patience)
    facts = (episode.seed, episode.score, episode.frames, episode.terminated)
    if not starts:
        return TrackResult(*facts, [], [], [])
    z, h, c, action = (torch.stack([moment[k][index] for moment in trace[: len(episode)]]) for k in range(4))
    begin = DreamState(z[starts], h[starts], c[starts])
    taken = torch.stack([action[t : t + PROMISE_HORIZON] for t in starts], 1)
    generator = torch.Generator(agent.device).manual_seed(derive_seed(episode.seed, "promise"))
    noise = Noise.draw(PROMISE_HORIZON, len(starts), z.shape[1], action.shape[1], generator)
    dream = Dream(agent.memory, 1.0, config.memory.done_weight)
    batch = dream.rollout(agent.actor, begin, noise._replace(action=torch.zeros_like(noise.action)))
    promised = (batch.reward * batch.alive).sum(0)
    foreseen, state, alive = torch.zeros(len(starts)), begin, torch.ones(len(starts), dtype=torch.bool)
    for t in range(PROMISE_HORIZON):
        state, outcome = dream.step(state, taken[t], noise.uniform[t], noise.normal[t])
        foreseen += outcome.reward.cpu() * alive
        alive &= outcome.done.cpu() < 1
    scale = config.memory.reward_scale
    paid = [float(episode.rewards[t : t + PROMISE_HORIZON].sum()) for t in starts]
    return TrackResult(*facts, (promised * scale).tolist(), (foreseen * scale).tolist(), paid)


def details(results: Sequence[TrackResult]) -> list[dict[str, Any]]:
    """Return what `wmloop eval --json` tells of each track."""
    return [
        {"seed": result.seed, "score": result.score, "frames": result.frames, "terminated": result.terminated}
        for result in results
    ]
