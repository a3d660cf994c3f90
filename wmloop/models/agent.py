"""The agent in reality: V sees, M remembers, C decides, for a batch of episodes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.models.controller import Actor, Policy
from wmloop.models.memory import Memory
from wmloop.models.vision import Vision, to_images


class Exploration(NamedTuple):
    """How N drivers leave the deterministic policy: where `loud` (N,) bool, by the policy's own noise and by pushes.

    `noise` (N, A) is standard normal, `push` (N, A) is added to the action, which spans [-1, 1].
    """

    noise: np.ndarray
    push: np.ndarray
    loud: np.ndarray


class Agent:
    """Drive N real episodes side by side with V, M and C.

    `z`, `h` and `c` hold what C saw at the latest decision: h has consumed all steps before it (see episodes.py).
    """

    def __init__(self, vision: Vision, memory: Memory, actor: Actor, low: np.ndarray, high: np.ndarray) -> None:
        """Put the networks to use; `low` and `high` (A,) bound the environment's actions."""
        self.vision, self.memory, self.actor = vision.eval(), memory.eval(), actor.eval()
        self.device = next(actor.parameters()).device
        self._low = torch.as_tensor(low, device=self.device)
        self._range = torch.as_tensor(high - low, device=self.device)

    def start(self, num_envs: int) -> None:
        """Begin N new episodes: M has seen nothing."""
        self.state = self.memory.start(num_envs, self.device)

    def policy(self, features: Tensor) -> Policy:
        """Return the policy at features (..., Z + D) with the deterministic action as its mean, for dreams without noise."""
        policy = self.actor(features)
        return policy._replace(mean=policy.expected())

    @torch.inference_mode()
    def act(self, frames: np.ndarray, exploration: Exploration | None = None) -> np.ndarray:
        """Return actions (N, A) float32 in the environment's units for frames (N, 64, 64, 3) uint8.

        Without `exploration` the policy is deterministic. M consumes the decision at once, so call this exactly once a
        decision.
        """
        self.z, _ = self.vision.encode(to_images(torch.from_numpy(frames).to(self.device)))
        self.h, self.c = self.state
        policy = self.actor(torch.cat([self.z, self.h], -1))
        self.action: Tensor = policy.expected()
        if exploration is not None:
            noise, push, loud = (torch.from_numpy(part).to(self.device) for part in exploration)
            self.action = torch.where(loud.unsqueeze(1), (policy.sample(noise) + push).clamp(-1, 1), self.action)
        self.state = self.memory.step(self.z, self.action, self.state)
        box = self._low + (self.action + 1) / 2 * self._range
        return np.asarray(box.cpu().numpy(), np.float32)
