"""Policies: distributions over actions, which an actor returns and PPO improves."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor


class Policy(Protocol):
    """A distribution over actions at each of some states; its fields share the states' dimensions.

    Chance comes from outside, as noise, so that what is drawn is a function of its place.
    """

    def sample(self, noise: Tensor) -> Tensor:
        """Return an action for each state, from noise of the actor's `noise`."""

    def logprob(self, action: Tensor) -> Tensor:
        """Return the log probability, or density, (...,) of sampled actions."""

    def entropy(self) -> Tensor:
        """Return the entropy (...,) in nats."""

    def kl(self, other: Self) -> Tensor:
        """Return the divergence KL(self || other) (...,) in nats."""

    def mode(self) -> Tensor:
        """Return the deterministic policy's actions."""

    def executed(self, action: Tensor) -> Tensor:
        """Return what of sampled actions is done, and M is told."""

    def flat(self) -> Self:
        """Return the policy with its first two dimensions, time and copies, as one."""

    def at(self, rows: Tensor) -> Self:
        """Return the policies at `rows` of the first dimension."""


class ClippedGaussian(NamedTuple):
    """A diagonal Gaussian over actions, both fields (..., A), in units where each dimension spans [-1, 1].

    What is executed of an action is clipped to that.
    """

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return an unclipped action for standard normal noise (..., A)."""
        return self.mean + self.log_std.exp() * noise

    @staticmethod
    def executed(action: Tensor) -> Tensor:
        """Return what of a sampled action (..., A) is done, and M is told."""
        return action.clamp(-1, 1)

    def flat(self) -> ClippedGaussian:
        """Return the policy with its first two dimensions, time and copies, as one."""
        return ClippedGaussian(self.mean.flatten(0, 1), self.log_std.flatten(0, 1))

    def at(self, rows: Tensor) -> ClippedGaussian:
        """Return the policies at `rows` of the first dimension."""
        return ClippedGaussian(self.mean[rows], self.log_std[rows])

    def mode(self) -> Tensor:
        """Return the mean (..., A) of the sampled action once it is clipped to [-1, 1]: what C does on average.

        This is the deterministic policy. `mean` is not: where it lies near a bound, the noise that PPO trained under moves
        the average away from it, so that an agent driven by `mean` brakes less than the one that was trained.
        """
        std = self.log_std.exp()
        low, high = (-1 - self.mean) / std, (1 - self.mean) / std
        below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
        density = [torch.exp(-0.5 * edge.square()) / math.sqrt(2 * math.pi) for edge in (low, high)]
        return above - below + self.mean * (1 - above - below) + std * (density[0] - density[1])

    def logprob(self, action: Tensor) -> Tensor:
        """Return the log density (...,) of an unclipped action (..., A)."""
        deviation = (action - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * deviation.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def kl(self, other: ClippedGaussian) -> Tensor:
        """Return the divergence KL(self || other) (...,) in nats."""
        spread = torch.exp(2 * (self.log_std - other.log_std))
        shift = ((self.mean - other.mean) * torch.exp(-other.log_std)).square()
        return (0.5 * (spread + shift - 1) + other.log_std - self.log_std).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy (...,) in nats."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
