"""PPO on dreams."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from wmloop.config import WorldModelConfig
from wmloop.dreams import DreamBatch, Noise, rollout
from wmloop.graphs import CapturedGraph
from wmloop.learn import ppo
from wmloop.models.controller import Actor
from wmloop.models.world_model import Imagination, State
from wmloop.training.context import StageContext
from wmloop.training.experience import LatentReplay
from wmloop.training.starts import sample_starts
from wmloop.training.viewer import DreamViewer


class DreamPPO:
    """Updates of an actor and a critic, each on a new batch of dreams, held near the policy as it was at first.

    The world model knows what was driven so far. The penalty on the divergence from the first policy lets the actor move far
    where that policy is wide, and little where it is narrow; the next rollouts teach the model what lies beyond.
    """

    def __init__(
        self, imagination: Imagination, actor: Actor, critic: nn.Module, optimizer: torch.optim.Optimizer,
        settings: ppo.Settings,
    ) -> None:  # fmt: skip
        """Dream in `imagination`; the optimizer has the parameters of both networks."""
        self._imagination, self._actor, self._critic = imagination, actor, critic
        self.noise_size = imagination.noise_size
        self._optimizer, self._settings = optimizer, settings
        self._reference = copy.deepcopy(actor).requires_grad_(False)
        self._dream = CapturedGraph(self._imagine)  # the weights of actor and world model stay where they are

    def update(self, start: State, noise: Noise, shuffle: torch.Generator) -> tuple[DreamBatch, dict[str, float]]:
        """Dream from `start` (N) and learn from it; return the dreams, and PPO's metrics.

        Raises:
            DivergedError: as `ppo.update` does.
        """
        batch = self._dream(*start, *noise)
        networks = (self._actor, self._critic, self._reference)
        return batch, ppo.update(*networks, self._optimizer, batch.learnable(), self._settings, shuffle)

    def _imagine(self, features: Tensor, inner: Tensor, *noise: Tensor) -> DreamBatch:
        return rollout(self._imagination, self._actor, State(features, inner), Noise(*noise))


class DreamStep:
    """One step of C's training: dreams branch off what was driven, C learns from them, and people see one of them."""

    def __init__(
        self, ctx: StageContext[WorldModelConfig], learner: DreamPPO, experience: LatentReplay, states: State,
        viewer: DreamViewer, reward_scale: float,
    ) -> None:  # fmt: skip
        """Branch off `experience`, of which M's states are `states`; rewards are dreamt in units of `reward_scale`."""
        self._ctx, self._learner, self._viewer = ctx, learner, viewer
        self._experience, self._states, self._reward_scale = experience, states, reward_scale

    def __call__(self, i: int) -> dict[str, float]:
        """Make step `i`, which depends on nothing but its number and the networks; return its metrics.

        Raises:
            DivergedError: as `ppo.update` does.
        """
        ctx, config = self._ctx, self._ctx.config
        count, burn_in, decay = config.dream.num_dreams, config.dream.burn_in, config.memory.recency_decay
        start = sample_starts(self._experience, self._states, count, burn_in, decay, ctx.rng("branch", i))
        noise = Noise.draw(
            config.dream.horizon, count, self._learner.noise_size, self._experience.replay.spec.size,
            ctx.generator("dream", i),
        )  # fmt: skip
        batch, metrics = self._learner.update(start, noise, ctx.generator("minibatches", i))
        self._viewer.next(batch.features[:, 0], batch.action[:, 0])
        return metrics | batch.metrics(self._reward_scale)
