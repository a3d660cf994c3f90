"""How the waves of a stage are driven, and how far that has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wmloop.agents.agent import Exploration
from wmloop.agents.collector import EpisodeSoFar, EpisodeTask, drive, halves
from wmloop.agents.random_walk import RandomWalk
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import WorldModelAgent
from wmloop.calibration.forecasts import forecast
from wmloop.calibration.windows import ReturnForecast
from wmloop.config import DreamingConfig, RolloutConfig, VisionMemoryConfig
from wmloop.envs import Envs
from wmloop.episodes import Episode
from wmloop.spaces import ActionSpec, ObservationSpec
from wmloop.store import Version
from wmloop.training.context import Chance, StageContext
from wmloop.training.rollouts import require_same_spaces
from wmloop.training.tally import Tally
from wmloop.training.waves import decisions_of_first, first_wave, policy_wave

Driver = Callable[[int, list[EpisodeTask], "Ticker"], tuple[list[Episode], list[ReturnForecast]]]
"""(number, wave, tick) -> the wave's episodes, and what M said of them, if there is one."""


#: Between two looks at an episode, and of how many agent steps it is shown at most.
_LOOK_SECONDS, _SHOWN = 0.25, 500


class Ticker:
    """Report the frames of a wave as they come, show its first episode, and give up when the run is to stop."""

    def __init__(
        self, ctx: StageContext[Any], observations: ObservationSpec, done: int, total: int | None = None
    ) -> None:
        """Go on from `done` frames; with `total`, no more are reported."""
        self._ctx, self._observations, self._done, self._total = ctx, observations, done, total
        self._due = 0.0

    def __call__(self, frames: int, episode: EpisodeSoFar | None) -> None:
        """Take in `frames` more, and an episode that has gone on by some of them (see collector.Tick)."""
        self._done += frames
        self._ctx.progress(self._done if self._total is None else min(self._done, self._total))
        if episode is not None:
            self._show(episode)
        self._ctx.check_stop()

    def announce(self, text: str, level: str = "info") -> None:
        """Tell people what happens to the machines that drive (see collector.Announces)."""
        self._ctx.log(text, level)

    def _show(self, episode: EpisodeSoFar) -> None:
        picture = self._observations.picture(episode.observation)
        if picture is not None:
            self._ctx.log_image("real", picture)
        if (now := time.monotonic()) < self._due and not episode.ended:
            return
        self._due = now + _LOOK_SECONDS
        observations, actions = episode.latest(_SHOWN)
        told = [self._observations.numbers(seen) for seen in observations]
        vectors = np.stack([np.zeros(0, np.float32) if one is None else one for one in told])
        self._ctx.log_track("real", vectors, np.stack(actions))


class Prefill:
    """Iteration 0: random walks drive, each a function of its place."""

    max_unrewarded = None

    def __init__(self, ctx: StageContext[VisionMemoryConfig]) -> None:
        self._ctx = ctx
        self.frames = decisions_of_first(ctx.config) * ctx.config.env.action_repeat

    def wave(self, driven: Tally) -> list[EpisodeTask]:
        """Return the next wave's episodes; none when enough is driven."""
        return first_wave(self._ctx, driven)

    def driver(self, pool: Envs) -> Driver:
        """Return what drives a wave."""
        ctx, spec = self._ctx, pool.actions

        def driver(number: int, wave: list[EpisodeTask], tick: Ticker) -> tuple[list[Episode], list[ReturnForecast]]:
            walks = np.zeros((max(task.decisions for task in wave), pool.num_envs, *spec.shape), spec.dtype)
            for i, task in enumerate(wave):
                rng = ctx.rng("driving", number, i)
                walks[: task.decisions, i] = spec.random_walk(ctx.config.env.random_policy, task.decisions, rng)
            parts = halves(pool.num_envs)
            agents = {copies: RandomWalk(walks[:, copies.start :: copies.step]) for copies in parts}
            return drive(pool, wave, agents, tick), []

        return driver


class PolicyRollout:
    """Every later iteration: the agent of the one before drives, exploring in all but a few episodes."""

    def __init__(self, ctx: StageContext[DreamingConfig], parts: Mapping[str, Version]) -> None:
        """Take the versions, by stage, that the agent is."""
        self._ctx, self._parts = ctx, parts
        self.frames, self.max_unrewarded = ctx.config.rollout.frames, ctx.config.max_unrewarded

    def wave(self, driven: Tally) -> list[EpisodeTask]:
        """Return the next wave's episodes; none when enough is driven."""
        return policy_wave(self._ctx, driven)

    def driver(self, pool: Envs) -> Driver:
        """Return what drives a wave, and asks M what it foresaw of it."""
        ctx = self._ctx
        require_same_spaces(ctx.collected(), pool.actions, pool.observations)
        agent: WorldModelAgent = ctx.agent(pool.actions, self._parts)
        agents = dict.fromkeys(halves(pool.num_envs), agent)

        def driver(number: int, wave: list[EpisodeTask], tick: Ticker) -> tuple[list[Episode], list[ReturnForecast]]:
            trace = Recorder()
            explore = Exploring(ctx.chance, number, wave, pool.num_envs, pool.actions, ctx.config.rollout)
            driven = drive(pool, wave, agents, tick, explore, trace)
            if number == 0:
                ctx.log("M predicts the returns of these episodes, for comparison with the real ones")
            return driven, forecast(agent, trace, ctx.config, driven, True, ctx.check_stop)

        return driver


class Exploring:
    """How a wave's agents explore, in all episodes that are not to be deterministic: a function of its place (an Explore)."""

    def __init__(
        self, chance: Chance, number: int, wave: Sequence[EpisodeTask], num_envs: int, actions: ActionSpec,
        settings: RolloutConfig,
    ) -> None:  # fmt: skip
        """Take the number of the wave in its stage, and what is driven: so many copies that take `actions`."""
        self._chance, self._number, self._shape = chance, number, (num_envs, actions.size)
        self._explore = np.zeros(num_envs, np.bool_)
        self._explore[: len(wave)] = [not task.deterministic for task in wave]
        self._pushes = {
            copies: actions.perturbations(settings, [chance.rng("push", number, i) for i in copies])
            for copies in halves(num_envs)
        }

    def __call__(self, t: int, copies: range) -> Exploration:
        """Return how these copies explore at their decision t."""
        noise = self._chance.rng("noise", self._number, t).standard_normal(self._shape, np.float32)
        of_these = slice(copies.start, None, copies.step)
        return Exploration(noise[of_these], self._pushes[copies](), self._explore[of_these])
