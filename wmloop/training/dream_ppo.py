"""PPO on dreams."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from wmloop.dreams import DreamBatch, Noise, rollout
from wmloop.graphs import CapturedGraph
from wmloop.learn import ppo
from wmloop.models.controller import Actor
from wmloop.models.world_model import Imagination, State


class DreamPPO:
    """Updates of an actor and a critic, each on a new batch of dreams, held near the policy as it was at first.

    The world model knows what was driven so far. The penalty on the divergence from the first policy lets the actor move far
    where that policy is wide, and little where it is narrow; the next rollouts teach the model what lies beyond.
    """

    def __init__(
        self, imagination: Imagination, actor: Actor, critic: nn.Module, optimizer: torch.optim.Optimizer,
        settings: ppo.Settings, device: torch.device,
    ) -> None:  # fmt: skip
        """Dream in `imagination` on `device`; the optimizer has the parameters of both networks."""
        self._imagination, self._actor, self._critic = imagination, actor, critic
        self._optimizer, self._settings = optimizer, settings
        self._reference = copy.deepcopy(actor).requires_grad_(False)
        self._dream = CapturedGraph(self._imagine, device)  # the weights of actor and world model stay where they are

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
