"""The agent that sees the newest pictures in grey, and nothing else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.agent import Exploration
from wmloop.learn.policy import Policy
from wmloop.models.pixel_policy import PixelActor, grey
from wmloop.spaces import ActionSpec


class Carry(NamedTuple):
    """What the agent carries from one decision to the next: what it saw, and what it did.

    `pictures` (N, stack, H, W) uint8, the newest last; `sampled` (N, A) is the action unclipped, as its probability needs it.
    """

    pictures: np.ndarray | None = None
    sampled: Tensor | None = None


class PixelAgent:
    """Drive real episodes side by side by the `stack` newest pictures of each."""

    def __init__(self, actor: PixelActor, stack: int, actions: ActionSpec) -> None:
        """Put the network to use; `actions` are the environment's."""
        self.actor, self.stack, self._actions = actor.eval(), stack, actions
        self.device = next(actor.parameters()).device

    def start(self, num_envs: int) -> Carry:
        """Return what is carried into the first decision of `num_envs` new episodes: nothing."""
        return Carry()

    @torch.inference_mode()
    def act(
        self, carry: Carry, observations: np.ndarray, exploration: Exploration | None = None
    ) -> tuple[np.ndarray, Carry]:
        """Return actions (N, ...) in the environment's units for pictures (N, H, W, 3) uint8, and what is carried on.

        Without `exploration` the policy is deterministic.
        """
        newest = grey(observations)[:, None]
        if carry.pictures is None:
            pictures = newest.repeat(self.stack, 1)
        else:
            pictures = np.concatenate([carry.pictures[:, 1:], newest], 1)
        policy: Policy = self.actor(torch.from_numpy(pictures).to(self.device))
        action = policy.mode()
        if exploration is not None:
            noise, offset, explore = (torch.from_numpy(part).to(self.device) for part in exploration)
            action = torch.where(explore.unsqueeze(1), policy.sample(noise) + offset, action)
        return self._actions.decode(policy.executed(action).cpu().numpy()), Carry(pictures, action)
