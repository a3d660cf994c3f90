"""What an agent that drives a wave of episodes saw and did at each decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.models.agent import Agent, Exploration


class Trace:
    """An agent that drives a wave of episodes, and what it saw and did at each decision."""

    def __init__(self, agent: Agent, parts: Sequence[range]) -> None:
        """Begin a wave whose copies are driven in `parts`, each at its own pace."""
        self.agent = agent
        self._agents = {copies: agent.beside(len(copies)) for copies in parts}
        self._moments: dict[range, list[tuple[Tensor, ...]]] = {copies: [] for copies in parts}

    def act(self, copies: range, frames: np.ndarray, exploration: Exploration | None = None) -> np.ndarray:
        """Decide for `copies`, one of the parts, and keep what was seen and done; otherwise as `Agent.act`."""
        agent = self._agents[copies]
        action = agent.act(frames, exploration)
        self._moments[copies].append((agent.z, agent.h, agent.c, agent.action))
        return action

    def of(self, copy: int, decisions: slice) -> tuple[Tensor, ...]:
        """Return what one copy saw and did: z (T, Z), h, c (T, D) and its action (T, A) in [-1, 1]."""
        copies = next(copies for copies in self._moments if copy in copies)
        chosen = [[field[copies.index(copy)] for field in moment] for moment in self._moments[copies][decisions]]
        return tuple(map(torch.stack, zip(*chosen, strict=True)))
