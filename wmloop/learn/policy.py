"""What is asked of a distribution over actions: to be sampled from, and to be improved by PPO."""

from __future__ import annotations

from typing import Protocol, Self

from torch import Tensor


class Behaviour(Protocol):
    """How an action, A numbers as M reads it, is drawn at each of some states.

    Chance comes from outside, as noise, so that what is drawn is a function of its place.
    """

    def sample(self, noise: Tensor) -> Tensor:
        """Return an action (..., A) for each state, from standard normal noise of that shape."""

    def logprob(self, action: Tensor) -> Tensor:
        """Return the log probability, or density, (...,) of sampled actions."""

    def executed(self, action: Tensor) -> Tensor:
        """Return sampled actions, perturbed or not, as the environment and M get them: clipped, or one-hot."""


class Policy(Behaviour, Protocol):
    """A distribution over actions at each of some states, which PPO improves; its fields share the states' dimensions."""

    def entropy(self) -> Tensor:
        """Return the entropy (...,) in nats."""

    def kl(self, other: Self) -> Tensor:
        """Return the divergence KL(self || other) (...,) in nats."""

    def mode(self) -> Tensor:
        """Return the deterministic policy's actions, as they are executed."""

    def likelihood(self, action: Tensor, slack: float, floor: float) -> Tensor:
        """Return the density or probability (...,) of executed actions under a wider policy.

        Its standard deviation, or the softmax temperature of a choice, is `slack` times as large, and a part `floor` of it is
        the uniform distribution.
        """

    def flat(self) -> Self:
        """Return the policy with its first two dimensions, time and copies, as one."""

    def at(self, rows: Tensor) -> Self:
        """Return the policies at `rows` of the first dimension."""
