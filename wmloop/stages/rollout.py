"""Rollout: the current C (at first: correlated random driving) drives the real environment; all of it is stored."""

from __future__ import annotations

import numpy as np

from wmloop.envs import EnvPool, random_driving, versions
from wmloop.episodes import Episode, pack
from wmloop.seeding import training_track
from wmloop.stages.collect import Decide, Task, drive, waves
from wmloop.stages.context import StageContext
from wmloop.stages.weights import Triple

_LONGEST = 10_000


def run(ctx: StageContext) -> dict[str, float]:
    """Collect this iteration's episodes into the draft, a shard a wave; return counts and the mean score."""
    config = ctx.config
    first = ctx.iteration == 0
    tasks = _plan(ctx, first)
    plan = waves(tasks, config.env.num_envs)
    per_decision = config.env.action_repeat
    expected = sum(min(task.decisions, 1000 // per_decision) for task in tasks) * per_decision
    scores, frames, decisions, paying = [], 0, 0, 0
    with EnvPool(config.env, min(config.env.num_envs, len(tasks))) as pool:
        agent = None
        if not first:
            agent = Triple(ctx.carries["vision"], ctx.carries["memory"], ctx.carries["controller"]).agent(
                config, pool.action_low, pool.action_high, ctx.device
            )
        ctx.begin(expected, "frames")
        for number, wave in enumerate(plan):
            shard, summary_file = f"episodes-{number:04d}.safetensors", f"summary-{number:04d}.json"
            if not ctx.draft.has(shard):
                ctx.stop_here()
                decide: Decide
                if agent is None:
                    decide = _random(ctx, number, wave, pool)
                else:
                    decide = _policy(ctx, number, wave, pool, agent)
                seen = frames

                def tick(count: int, observation: np.ndarray) -> None:
                    nonlocal seen
                    seen += count
                    ctx.progress(min(seen, expected))
                    ctx.show("real", observation[0])
                    ctx.stop_here()

                episodes = drive(pool, wave, decide, tick)
                ctx.draft.save_json(summary_file, _summary(episodes))
                ctx.draft.save_tensors(shard, pack(episodes))
            summary = ctx.draft.json(summary_file)
            scores += summary["scores"]
            frames += summary["frames"]
            decisions += summary["decisions"]
            paying += summary["paying"]
            ctx.progress(min(frames, expected), lambda: {"score": float(np.mean(scores)), "frames": float(frames)})
        bounds = {"low": pool.action_low.tolist(), "high": pool.action_high.tolist()}
        ctx.draft.save_json("actions.json", bounds)
    ctx.progress(expected)
    return {
        "frames": float(frames),
        "episodes": float(len(tasks)),
        "decisions": float(decisions),
        "score": float(np.mean(scores)),
        "paying_fraction": paying / decisions,
    }


def facts() -> dict[str, str]:
    """Return the versions on which replaying these episodes depends."""
    return versions()


def _plan(ctx: StageContext, first: bool) -> list[Task]:
    rollout = ctx.config.rollout
    if first:
        limits = [limit for count, limit in rollout.first for _ in range(count)]
    else:
        limits = [_LONGEST] * rollout.episodes
    quiet = 0 if first else round(rollout.quiet_fraction * len(limits))
    return [
        Task(training_track(ctx.config.seed, ctx.iteration, "track", i), limit, i < quiet)
        for i, limit in enumerate(limits)
    ]


def _random(ctx: StageContext, number: int, wave: list[Task], pool: EnvPool) -> Decide:
    low, high = pool.action_low, pool.action_high
    plans = np.zeros((max(task.decisions for task in wave), pool.num_envs, len(low)), np.float32)
    for i, task in enumerate(wave):
        rng = ctx.rng("driving", number, i)
        plans[: task.decisions, i] = random_driving(ctx.config.env.driving, low, high, task.decisions, rng)
    return lambda t, frames: plans[t]


def _policy(ctx: StageContext, number: int, wave: list[Task], pool: EnvPool, agent) -> Decide:  # type: ignore[no-untyped-def]
    agent.start(pool.num_envs)
    loud = np.zeros((pool.num_envs, 1), np.float32)
    loud[: len(wave), 0] = [not task.quiet for task in wave]
    actions = len(pool.action_low)

    def decide(t: int, frames: np.ndarray) -> np.ndarray:
        noise = ctx.rng("noise", number, t).standard_normal((pool.num_envs, actions), np.float32)
        return agent.act(frames, noise * loud)

    return decide


def _summary(episodes: list[Episode]) -> dict[str, object]:
    return {
        "scores": [episode.score for episode in episodes],
        "frames": sum(episode.frames for episode in episodes),
        "decisions": sum(len(episode) for episode in episodes),
        "paying": sum(int((episode.rewards > 0).sum()) for episode in episodes),
    }
