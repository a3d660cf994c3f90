"""Who decides in an environment: what every agent can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

CarryT = TypeVar("CarryT")


class Exploration(NamedTuple):
    """How N drivers leave the deterministic policy: where `explore` (N,) bool, by the policy's own noise and by pushes.

    `noise` (N, A) is standard normal, `offset` (N, A) is added to the sampled action before it is executed.
    """

    noise: np.ndarray
    offset: np.ndarray
    explore: np.ndarray


class Agent(Protocol[CarryT]):
    """An agent. All that it remembers of episodes is in what it carries from one decision to the next."""

    def start(self, num_envs: int) -> CarryT:
        """Return what is carried into the first decision of `num_envs` new episodes."""

    def act(
        self, carry: CarryT, observations: np.ndarray, exploration: Exploration | None = None
    ) -> tuple[np.ndarray, CarryT]:
        """Return actions (N, ...) in the environment's units for observations (N, ...), and what is carried on.

        Without `exploration` the policy is deterministic.
        """


class Driver(Generic[CarryT]):
    """An agent that drives a wave of episodes."""

    def __init__(self, agent: Agent[CarryT], parts: Sequence[range]) -> None:
        """Begin a wave whose copies are driven in `parts`, each at its own pace."""
        self._agent = agent
        self._carries = {copies: agent.start(len(copies)) for copies in parts}

    def act(self, copies: range, observations: np.ndarray) -> np.ndarray:
        """Decide for `copies`, one of the parts, by the deterministic policy."""
        action, self._carries[copies] = self._agent.act(self._carries[copies], observations)
        return action
