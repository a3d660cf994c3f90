"""What an agent that drives a wave of episodes saw and did at each decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.agent import Exploration
from wmloop.agents.world_model import Agent, Carry
from wmloop.models.world_model import State


class Recorder:
    """An agent that drives a wave of episodes, and where they were and what it did at each decision."""

    def __init__(self, agent: Agent, parts: Sequence[range]) -> None:
        """Begin a wave whose copies are driven in `parts`, each at its own pace."""
        self.agent = agent
        self._carries: dict[range, list[Carry]] = {copies: [agent.start(len(copies))] for copies in parts}

    def act(self, copies: range, observations: np.ndarray, exploration: Exploration | None = None) -> np.ndarray:
        """Decide for `copies`, one of the parts, and keep what is carried on; otherwise as `Agent.act`."""
        carries = self._carries[copies]
        action, carry = self.agent.act(carries[-1], observations, exploration)
        carries.append(carry)
        return action

    def of(self, copy: int, decisions: slice) -> tuple[State, Tensor]:
        """Return where one copy was, states of T decisions, and what it did there, (T, A) as M reads it."""
        copies = next(copies for copies in self._carries if copy in copies)
        place, carries = copies.index(copy), self._carries[copies][1:][decisions]
        states = [carry.state.at(slice(place, place + 1)) for carry in carries if carry.state is not None]
        actions = [carry.action[place] for carry in carries if carry.action is not None]
        return State.cat(states), torch.stack(actions)
