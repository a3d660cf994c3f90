"""How the waves of a stage are driven, and how far that has come."""

from __future__ import annotations

from typing import Any

import numpy as np

from wmloop.agents.agent import Exploration
from wmloop.agents.collector import Decide, EpisodeTask, halves
from wmloop.agents.recorder import Recorder
from wmloop.config import WorldModelConfig
from wmloop.envs import Envs
from wmloop.training.context import StageContext


class Ticker:
    """Report the frames of a wave as they come, and give up when the run is to stop."""

    def __init__(self, ctx: StageContext[Any], done: int, total: int | None = None) -> None:
        """Go on from `done` frames; with `total`, no more are reported."""
        self._ctx, self._done, self._total = ctx, done, total

    def __call__(self, frames: int, observation: np.ndarray | None) -> None:
        """Take in `frames` more, and the picture that one of them showed (see collector.drive)."""
        self._done += frames
        self._ctx.progress(self._done if self._total is None else min(self._done, self._total))
        if observation is not None:
            self._ctx.log_image("real", observation)
        self._ctx.check_stop()


def random_walks(ctx: StageContext[WorldModelConfig], number: int, wave: list[EpisodeTask], pool: Envs) -> Decide:
    """Return how a wave of random driving is decided: each episode's actions are a function of its place."""
    spec = pool.actions
    plans = np.zeros((max(task.decisions for task in wave), pool.num_envs, *spec.shape), spec.dtype)
    for i, task in enumerate(wave):
        rng = ctx.rng("driving", number, i)
        plans[: task.decisions, i] = spec.random_walk(ctx.config.env.random_policy, task.decisions, rng)
    return lambda t, copies, frames: plans[t, copies.start :: copies.step]


def exploring(
    ctx: StageContext[WorldModelConfig], number: int, wave: list[EpisodeTask], pool: Envs, trace: Recorder
) -> Decide:
    """Return how a wave is decided that an agent drives, exploring in all episodes that are not to be deterministic."""
    explore = np.zeros(pool.num_envs, np.bool_)
    explore[: len(wave)] = [not task.deterministic for task in wave]
    perturbations = {
        copies: pool.actions.perturbations(ctx.config.rollout, [ctx.rng("push", number, i) for i in copies])
        for copies in halves(pool.num_envs)
    }

    def decide(t: int, copies: range, frames: np.ndarray) -> np.ndarray:
        noise = ctx.rng("noise", number, t).standard_normal((pool.num_envs, pool.actions.size), np.float32)
        of_these = slice(copies.start, None, copies.step)
        return trace.act(copies, frames, Exploration(noise[of_these], perturbations[copies](), explore[of_these]))

    return decide
