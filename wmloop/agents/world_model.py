"""The agent of a world model: V sees, M remembers, C decides, for a batch of real episodes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents import agent
from wmloop.agents.agent import Exploration
from wmloop.learn.policy import Policy
from wmloop.models.world_model import State, WorldModel
from wmloop.spaces import ActionSpec


class Carry(NamedTuple):
    """What an agent carries from one decision to the next: where it was, and what it did there (N, A) as M reads it.

    `sampled` (N, A) is the same action as its probability needs it, before it was made one that can be executed.
    """

    state: State | None = None
    action: Tensor | None = None
    sampled: Tensor | None = None


class WorldModelAgent(agent.Agent[Carry], Protocol):
    """An agent with a world model, in which one can dream."""

    @property
    def world(self) -> WorldModel:
        """Return its world model."""

    @property
    def actor(self) -> Callable[[Tensor], Policy]:
        """Return the policy on features (..., F), real or imagined."""

    @property
    def actions(self) -> ActionSpec:
        """Return the environment's actions."""

    @property
    def critic(self) -> Callable[[Tensor], Tensor] | None:
        """Return what tells the value (...,) of features (..., F), in units of the world's reward_scale, if anything does."""


class Agent:
    """Drive real episodes side by side with a world model and C (a WorldModelAgent)."""

    def __init__(
        self, world: WorldModel, actor: nn.Module, actions: ActionSpec, critic: nn.Module | None = None
    ) -> None:
        """Put the networks to use; `actions` are the environment's, and a critic tells values."""
        self.world, self.actor, self.actions, self.critic = world, actor.eval(), actions, critic

    def start(self, num_envs: int) -> Carry:
        """Return what is carried into the first decision of `num_envs` new episodes: nothing."""
        return Carry()

    @torch.inference_mode()
    def act(
        self, carry: Carry, observations: np.ndarray, exploration: Exploration | None = None
    ) -> tuple[np.ndarray, Carry]:
        """Return actions (N, ...) in the environment's units for observations (N, ...), and what is carried on.

        Without `exploration` the policy is deterministic.
        """
        state = self.world.observe(carry.state, carry.action, observations)
        policy: Policy = self.actor(state.features)
        action = sampled = policy.mode()
        if exploration is not None:
            noise, offset, explore = (torch.from_numpy(part).to(action.device) for part in exploration)
            sampled = torch.where(explore.unsqueeze(1), policy.sample(noise) + offset, action)
            action = torch.where(explore.unsqueeze(1), policy.executed(sampled), action)
        return self.actions.decode(action.cpu().numpy()), Carry(state, action, sampled)
