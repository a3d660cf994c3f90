"""Waves of real episodes that PPO learns from: in each an episode in every copy, driven by the current policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.agent import Exploration
from wmloop.agents.collector import UNLIMITED, EpisodeTask, drive, halves
from wmloop.agents.pixels import Carry, PixelAgent
from wmloop.config import VanillaPPOConfig
from wmloop.envs import Envs
from wmloop.episodes import Episode
from wmloop.errors import DivergedError, EnvironmentFailedError
from wmloop.seeding import training_seed
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker


class RealWave(NamedTuple):
    """The episodes of a wave, and the actions that were sampled in each, (T, A) as their probabilities need them."""

    episodes: list[Episode]
    sampled: list[Tensor]

    def record(self) -> dict[str, Any]:
        """Return what is kept of it, as JSON."""
        return {
            "scores": [episode.score for episode in self.episodes],
            "frames": sum(episode.frames for episode in self.episodes),
            "decisions": sum(map(len, self.episodes)),
        }


def wave_file(number: int) -> str:
    """Return the name of the file that holds the record of a wave."""
    return f"wave-{number:04d}.json"


def drive_wave(ctx: StageContext[VanillaPPOConfig], pool: Envs, agent: PixelAgent, number: int) -> RealWave:
    """Drive the wave of a number, which says all of its chance.

    Raises:
        EnvironmentFailedError: also where it paid what is not finite: smaller steps of training would not mend it.
        Interrupted: the run is to stop.
    """
    config, count, actions = ctx.config, pool.num_envs, pool.actions.size
    wave = [EpisodeTask(training_seed(config.seed, ctx.iteration, "track", number, n), UNLIMITED) for n in range(count)]
    agents = dict.fromkeys(halves(count), agent)
    sampled: dict[range, list[Tensor]] = {copies: [] for copies in agents}

    def explore(t: int, copies: range) -> Exploration:
        noise = ctx.rng("noise", number, t).standard_normal((count, actions), np.float32)[copies.start :: copies.step]
        return Exploration(noise, np.zeros_like(noise), np.ones(len(noise), np.bool_))

    def note(copies: range, carry: Carry) -> None:
        assert carry.action is not None, "it has just decided"
        sampled[copies].append(carry.action)

    try:
        ticker = Ticker(ctx, pool.observations, number * count * config.env.most_frames)
        episodes = drive(pool, wave, agents, ticker, explore, note)
    except DivergedError as error:
        raise EnvironmentFailedError(str(error)) from error
    taken = []
    for n, episode in enumerate(episodes):
        copies = next(copies for copies in sampled if n in copies)
        taken.append(torch.stack([action[copies.index(n)] for action in sampled[copies][: len(episode)]]))
    return RealWave(episodes, taken)


def totals(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what all waves came to, by their records."""
    scores = [score for record in records for score in record["scores"]]
    frames, decisions = (float(sum(record[name] for record in records)) for name in ("frames", "decisions"))
    return {
        "frames": frames,
        "units": frames,
        "episodes": float(len(scores)),
        "decisions": decisions,
        "score": float(np.mean(scores)),
    }
