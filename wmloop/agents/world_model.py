"""The agent of a world model: V sees, M remembers, C decides, for a batch of real episodes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents.agent import Exploration
from wmloop.models.controller import Actor
from wmloop.models.policies import ClippedGaussian
from wmloop.models.world_model import State, WorldModel


class Carry(NamedTuple):
    """What an agent carries from one decision to the next: where it was, and what it did there (N, A) in [-1, 1]."""

    state: State | None = None
    action: Tensor | None = None


class Agent:
    """Drive real episodes side by side with V, M and C. All that it remembers of them is in the carry."""

    def __init__(
        self, world: WorldModel, actor: Actor, low: np.ndarray, high: np.ndarray, critic: nn.Module | None = None
    ) -> None:
        """Put the networks to use; `low` and `high` (A,) bound the environment's actions, and a critic tells values."""
        self.world, self.actor, self.critic = world, actor.eval(), critic
        self.device = next(actor.parameters()).device
        self._low = torch.as_tensor(low, device=self.device)
        self._range = torch.as_tensor(high - low, device=self.device)

    def start(self, num_envs: int) -> Carry:
        """Return what is carried into the first decision of `num_envs` new episodes: nothing."""
        return Carry()

    def act(self, carry: Carry, frames: np.ndarray, exploration: Exploration | None = None) -> tuple[np.ndarray, Carry]:
        """Return actions (N, A) float32 in the environment's units for frames (N, 64, 64, 3) uint8, and what is carried on.

        Without `exploration` the policy is deterministic.
        """
        state = self.observe(carry, frames)
        action = self.decide(state, exploration)
        return self.in_units(action), Carry(state, action)

    def observe(self, carry: Carry, frames: np.ndarray) -> State:
        """Return where the episodes are that show `frames` (N, 64, 64, 3) uint8 after what was carried."""
        return self.world.observe(carry.state, carry.action, frames)

    @torch.inference_mode()
    def decide(self, state: State, exploration: Exploration | None = None) -> Tensor:
        """Return C's actions (N, A) in [-1, 1]."""
        policy: ClippedGaussian = self.actor(state.features)
        action = policy.mode()
        if exploration is not None:
            noise, push, loud = (torch.from_numpy(part).to(self.device) for part in exploration)
            action = torch.where(loud.unsqueeze(1), policy.executed(policy.sample(noise) + push), action)
        return action

    def policy(self, features: Tensor) -> ClippedGaussian:
        """Return the policy at features (..., Z + D) with the deterministic action as its mean, for dreams without noise."""
        policy: ClippedGaussian = self.actor(features)
        return policy._replace(mean=policy.mode())

    def in_units(self, action: Tensor) -> np.ndarray:
        """Return actions (N, A) in [-1, 1] as float32 in the environment's units."""
        box = self._low + (action + 1) / 2 * self._range
        return np.asarray(box.cpu().numpy(), np.float32)

    def from_units(self, action: np.ndarray) -> Tensor:
        """Return actions (N, A) in the environment's units as they span [-1, 1]."""
        return (torch.as_tensor(action, device=self.device) - self._low) / self._range * 2 - 1
