"""Waves of real episodes that PPO learns from, driven by the current policy, which explores in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.agent import Agent, Exploration
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.recorder import Recorder
from wmloop.config import RunConfig
from wmloop.envs import Envs
from wmloop.episodes import Episode
from wmloop.errors import DivergedError, EnvironmentFailedError
from wmloop.learn.batch import Batch
from wmloop.learn.policy import Policy
from wmloop.seeding import training_seed
from wmloop.training.context import Chance, StageContext
from wmloop.training.driving import Ticker


@dataclass(frozen=True)
class Sampling:
    """How the policy is sampled in all copies of a wave: a function of its place in the stage (an Explore)."""

    chance: Chance
    place: tuple[int, ...]
    num_envs: int
    actions: int

    def __call__(self, t: int, copies: range) -> Exploration:
        """Return how these copies explore at their decision t."""
        noise = self.chance.rng("noise", *self.place, t).standard_normal((self.num_envs, self.actions), np.float32)
        noise = noise[copies.start :: copies.step]
        return Exploration(noise, np.zeros_like(noise), np.ones(len(noise), np.bool_))


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


def drive_wave(
    ctx: StageContext[RunConfig], pool: Envs, agent: Agent[Any], place: tuple[int, ...], count: int, tick: Ticker,
    trace: Recorder | None = None,
) -> RealWave:  # fmt: skip
    """Drive the wave of a place in the stage, which says all of its chance: `count` episodes, at most one in every copy.

    `tick` and `trace` are as in `collector.drive`; the trace keeps `sampled`, the action (N, A) as its probability needs it,
    which the agent carries, and perhaps more.

    Raises:
        EnvironmentFailedError: also where it paid what is not finite: smaller steps of training would not mend it.
        Interrupted: the run is to stop.
    """
    seeds = [training_seed(ctx.config.seed, ctx.iteration, "track", *place, n) for n in range(count)]
    agents, trace = dict.fromkeys(halves(pool.num_envs), agent), trace or Recorder("sampled")
    sampling = Sampling(ctx.chance, place, pool.num_envs, pool.actions.size)
    try:
        episodes = drive(pool, [EpisodeTask(seed) for seed in seeds], agents, tick, sampling, trace)
    except DivergedError as error:
        raise EnvironmentFailedError(str(error)) from error
    return RealWave(episodes, [trace.part("sampled", n, slice(len(episode))) for n, episode in enumerate(episodes)])


def aligned(
    wave: RealWave, features: Sequence[Tensor], rewards: Sequence[Tensor], actor: Callable[[Tensor], Policy]
) -> Batch:
    """Return real episodes that `actor`, features (..., F) -> the policy there, drove as a batch to learn from.

    These are what it saw in each, `features` (T+1, ...) with where the episode stopped, and what each was paid, (T,). They
    end together in the last row, where a truncated episode bootstraps; before a shorter one begins its mask is 0.
    """
    episodes, longest, device = wave.episodes, max(map(len, wave.episodes)), wave.sampled[0].device
    shape, kind = features[0].shape[1:], features[0].dtype
    seen = torch.zeros(longest + 1, len(episodes), *shape, dtype=kind, device=features[0].device)
    sampled = torch.zeros(longest, len(episodes), wave.sampled[0].shape[1], device=device)
    reward, mask, continues = (torch.zeros(longest, len(episodes)) for _ in range(3))
    continues += 1
    for n, (episode, action) in enumerate(zip(episodes, wave.sampled, strict=True)):
        begun = longest - len(episode)
        seen[begun:, n] = features[n]
        sampled[begun:, n] = action
        reward[begun:, n] = rewards[n]
        mask[begun:, n] = 1
        continues[-1, n] = float(not episode.terminated)
    seen = seen.to(device)
    with torch.no_grad():
        logprob = actor(seen[:-1]).logprob(sampled)
    return Batch(seen, sampled, logprob, reward.to(device), continues.to(device), mask.to(device))


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
