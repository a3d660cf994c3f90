"""The agent in reality: V sees, M remembers, C decides, for a batch of episodes at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wmloop.models.controller import Actor
from wmloop.models.memory import Memory
from wmloop.models.vision import Vision, to_images


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

    @torch.inference_mode()
    def act(self, frames: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """Return actions (N, A) float32 in the environment's units for frames (N, 64, 64, 3) uint8.

        `noise` (N, A) is standard normal exploration noise; without it the policy is deterministic. M consumes the
        decision at once, so call this exactly once a decision.
        """
        self.z, _ = self.vision.encode(to_images(torch.from_numpy(frames).to(self.device)))
        self.h, self.c = self.state
        policy = self.actor(torch.cat([self.z, self.h], -1))
        action = policy.mean if noise is None else policy.sample(torch.from_numpy(noise).to(self.device))
        self.action: Tensor = action.clamp(-1, 1)
        self.state = self.memory.step(self.z, self.action, self.state)
        box = self._low + (self.action + 1) / 2 * self._range
        return np.asarray(box.cpu().numpy(), np.float32)
