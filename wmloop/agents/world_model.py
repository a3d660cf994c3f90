"""The agent of a world model: V sees, M remembers, C decides, for a batch of real episodes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents.agent import Exploration
from wmloop.models.controller import Actor
from wmloop.models.policies import Deterministic, Policy
from wmloop.models.world_model import State, WorldModel
from wmloop.spaces import ActionSpec


class Carry(NamedTuple):
    """What an agent carries from one decision to the next: where it was, and what it did there (N, A) as M reads it."""

    state: State | None = None
    action: Tensor | None = None


class Agent:
    """Drive real episodes side by side with V, M and C. All that it remembers of them is in the carry."""

    def __init__(self, world: WorldModel, actor: Actor, actions: ActionSpec, critic: nn.Module | None = None) -> None:
        """Put the networks to use; `actions` are the environment's, and a critic tells values."""
        self.world, self.actor, self.actions, self.critic = world, actor.eval(), actions, critic
        self.device = next(actor.parameters()).device

    def start(self, num_envs: int) -> Carry:
        """Return what is carried into the first decision of `num_envs` new episodes: nothing."""
        return Carry()

    def act(
        self, carry: Carry, observations: np.ndarray, exploration: Exploration | None = None
    ) -> tuple[np.ndarray, Carry]:
        """Return actions (N, ...) in the environment's units for observations (N, ...), and what is carried on.

        Without `exploration` the policy is deterministic.
        """
        state = self.observe(carry, observations)
        action = self.decide(state, exploration)
        return self.in_units(action), Carry(state, action)

    def observe(self, carry: Carry, observations: np.ndarray) -> State:
        """Return where the episodes are that show `observations` (N, ...) after what was carried."""
        return self.world.observe(carry.state, carry.action, observations)

    @torch.inference_mode()
    def decide(self, state: State, exploration: Exploration | None = None) -> Tensor:
        """Return C's actions (N, A) as M reads them."""
        policy: Policy = self.actor(state.features)
        action = policy.mode()
        if exploration is not None:
            noise, offset, explore = (torch.from_numpy(part).to(self.device) for part in exploration)
            action = torch.where(explore.unsqueeze(1), policy.executed(policy.sample(noise) + offset), action)
        return action

    def policy(self, features: Tensor) -> Deterministic:
        """Return the policy at features (..., Z + D) without its noise, for dreams."""
        return Deterministic(self.actor(features))

    def in_units(self, action: Tensor) -> np.ndarray:
        """Return actions (N, A), as M reads them, in the environment's units (N, ...)."""
        return self.actions.decode(action.cpu().numpy())

    def from_units(self, action: np.ndarray) -> Tensor:
        """Return actions (N, ...) in the environment's units as M reads them, (N, A)."""
        return torch.as_tensor(self.actions.encode(action), device=self.device)
