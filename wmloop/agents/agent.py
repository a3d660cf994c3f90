"""Who decides in an environment: what every agent can do, whatever it is made of."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

import numpy as np

CarryT = TypeVar("CarryT")


class Exploration(NamedTuple):
    """How N copies explore: where `explore` (N,) bool, by the policy's own noise and by perturbations.

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
