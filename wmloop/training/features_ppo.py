"""Real episodes that V, M and C drive, for PPO to learn from: how many are in a batch, and what C saw in them."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Agent
from wmloop.config import PPOFeaturesConfig
from wmloop.envs import Envs
from wmloop.episodes import Episode
from wmloop.learn.batch import Batch
from wmloop.models.world_model import State, WorldModel
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker
from wmloop.training.experience import floored
from wmloop.training.real_waves import RealWave, aligned, drive_wave
from wmloop.training.tally import Tally, summary_file
from wmloop.training.waves import still_to_drive


class FeatureWave(NamedTuple):
    """Real episodes, and what C saw at each of their observations, (T+1, F) each."""

    driven: RealWave
    features: list[Tensor]

    def batch(self, config: PPOFeaturesConfig, agent: Agent) -> Batch:
        """Return what is learnt from it: rewards are those that M learns from, in the unit that it speaks of."""
        return aligned(
            self.driven, self.features, [self._rewards(config, e, agent) for e in self.episodes], agent.actor
        )

    @property
    def episodes(self) -> list[Episode]:
        """Return the episodes."""
        return self.driven.episodes

    @staticmethod
    def _rewards(config: PPOFeaturesConfig, episode: Episode, agent: Agent) -> Tensor:
        ends = np.arange(len(episode)) == len(episode) - 1 if episode.terminated else np.zeros(len(episode), np.bool_)
        return torch.from_numpy(floored(config, episode.rewards, ends)) / agent.world.reward_scale


def tallied(ctx: StageContext[PPOFeaturesConfig], batches: int) -> Tally:
    """Return the count of the episodes in the first batches of a stage, which its draft holds."""
    tally = Tally()
    for number in range(batches):
        tally.add(ctx.draft.json(summary_file(number)))
    return tally


def collect(ctx: StageContext[PPOFeaturesConfig], pool: Envs, agent: Agent, number: int, before: Tally) -> FeatureWave:
    """Drive the episodes of a batch, a wave after the other in all copies, until it has its frames.

    Its frames are those that are still wanted, in equal parts to this batch and those that follow. How many episodes a wave
    has depends on what was driven `before` in this stage and in this batch, and so on the place of the batch alone.
    """
    config = ctx.config
    wanted = (config.rollout.frames - before.frames) / (config.updates - number)
    episodes, sampled, features = list[Episode](), list[Tensor](), list[Tensor]()
    for wave in count():
        frames = sum(episode.frames for episode in episodes)
        mean = frames / len(episodes) if episodes else _length(ctx, before)
        most = still_to_drive(wanted - frames, mean, pool.num_envs)
        if episodes and not most:
            break
        trace = Recorder("state", "action", "sampled")
        ticker = Ticker(ctx, pool.observations, before.frames + frames, config.rollout.frames)
        driven = drive_wave(ctx, pool, agent, (number, wave), max(1, most), ticker, trace)
        episodes += driven.episodes
        sampled += driven.sampled
        features += _seen(agent.world, trace, driven.episodes)
    return FeatureWave(RealWave(episodes, sampled), features)


def _length(ctx: StageContext[PPOFeaturesConfig], before: Tally) -> float:
    """Return how many frames an episode is expected to have: as those before, if the policy drove them, else all it may."""
    if before.episodes:
        return before.frames / before.episodes
    driven = ctx.collected()[-1].metrics
    return driven["frames"] / driven["episodes"] if ctx.iteration else ctx.config.env.most_frames


def _seen(world: WorldModel, trace: Recorder, episodes: list[Episode]) -> list[Tensor]:
    """Return the features at all observations of episodes: those that C decided on, and those of where each stopped."""
    known = [trace.of(copy, slice(0, len(episode))) for copy, episode in enumerate(episodes)]
    last = State.cat([states.at(slice(-1, None)) for states, _ in known])
    taken = torch.stack([actions[-1] for _, actions in known])
    after = world.observe(last, taken, np.stack([episode.observations[-1] for episode in episodes]))
    return [torch.cat([states.features, after.features[n : n + 1]]) for n, (states, _) in enumerate(known)]
