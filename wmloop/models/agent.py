"""The agent in reality: V sees, M remembers, C decides, for a batch of episodes at once."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.models.controller import Actor
from wmloop.models.memory import Memory
from wmloop.models.policies import ClippedGaussian
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
    `action` (N, A) is what was decided then.
    """

    action: Tensor

    def __init__(self, vision: Vision, memory: Memory, actor: Actor, low: np.ndarray, high: np.ndarray) -> None:
        """Put the networks to use; `low` and `high` (A,) bound the environment's actions."""
        self.vision, self.memory, self.actor = vision.eval(), memory.eval(), actor.eval()
        self.device = next(actor.parameters()).device
        self._low = torch.as_tensor(low, device=self.device)
        self._range = torch.as_tensor(high - low, device=self.device)

    def start(self, num_envs: int) -> None:
        """Begin N new episodes: M has seen nothing."""
        self.state = self.memory.start(num_envs, self.device)
        self._step = self.memory.stepper()

    def beside(self, num_envs: int) -> Agent:
        """Return an agent of the same networks that has begun N episodes of its own."""
        other = copy.copy(self)
        other.start(num_envs)
        return other

    def policy(self, features: Tensor) -> ClippedGaussian:
        """Return the policy at features (..., Z + D) with the deterministic action as its mean, for dreams without noise."""
        policy = self.actor(features)
        return policy._replace(mean=policy.mode())

    @torch.inference_mode()
    def look(self, frames: np.ndarray) -> ClippedGaussian:
        """See frames (N, 64, 64, 3) uint8: set `z`, `h`, `c`, and `action` to the deterministic one; return the policy."""
        self.z, _ = self.vision.encode(to_images(torch.from_numpy(frames).to(self.device)))
        self.h, self.c = self.state
        policy: ClippedGaussian = self.actor(torch.cat([self.z, self.h], -1))
        self.action = policy.mode()
        return policy

    @torch.inference_mode()
    def take(self, action: Tensor) -> np.ndarray:
        """Let M consume what was seen and `action` (N, A), which spans [-1, 1]; return it in the environment's units."""
        self.action = action
        self.state = self._step(self.z, action, self.state)
        return self.in_units(action)

    def act(self, frames: np.ndarray, exploration: Exploration | None = None) -> np.ndarray:
        """Return actions (N, A) float32 in the environment's units for frames (N, 64, 64, 3) uint8.

        Without `exploration` the policy is deterministic. M consumes the decision at once, so call this exactly once a
        decision.
        """
        policy, action = self.look(frames), self.action
        if exploration is not None:
            noise, push, loud = (torch.from_numpy(part).to(self.device) for part in exploration)
            action = torch.where(loud.unsqueeze(1), policy.executed(policy.sample(noise) + push), action)
        return self.take(action)

    def in_units(self, action: Tensor) -> np.ndarray:
        """Return actions (N, A) in [-1, 1] as float32 in the environment's units."""
        box = self._low + (action + 1) / 2 * self._range
        return np.asarray(box.cpu().numpy(), np.float32)

    def from_units(self, action: np.ndarray) -> Tensor:
        """Return actions (N, A) in the environment's units as they span [-1, 1]."""
        return (torch.as_tensor(action, device=self.device) - self._low) / self._range * 2 - 1
