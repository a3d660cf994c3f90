"""The policies that actors return: distributions over actions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wmloop.learn.policy import Policy

#: Further from 0 a logarithm says nothing more: beyond, a float32 is 0 or infinite after some products.
_FAR = 60.0


def bias_of(mean: Tensor) -> Tensor:
    """Return the bias of a head whose output passes a tanh, so that it is near `mean` (A,), at most 0.8 towards a bound."""
    return torch.atanh(mean.clamp(-0.8, 0.8))


def near_zero(*heads: nn.Module) -> None:
    """Make the untrained policy of linear heads the same everywhere, and unsaturated; others begin as they are."""
    with torch.no_grad():
        for head in heads:
            if isinstance(head, nn.Linear):
                head.weight.mul_(0.01)
                head.bias.zero_()


class ClippedGaussian(NamedTuple):
    """A diagonal Gaussian over actions, both fields (..., A), in units where each dimension spans [-1, 1].

    What is executed of an action is clipped to that.
    """

    mean: Tensor
    log_std: Tensor

    @classmethod
    def of_heads(cls, mean: Tensor, spread: Tensor, bounds: tuple[float, float]) -> ClippedGaussian:
        """Return that of two heads' outputs (..., A): the mean within [-1, 1], the log standard deviation within `bounds`."""
        low, high = bounds
        return cls(torch.tanh(mean), low + (high - low) * torch.sigmoid(spread + 1.0))

    def sample(self, noise: Tensor) -> Tensor:
        """Return an unclipped action for standard normal noise (..., A)."""
        return self.mean + self.log_std.exp() * noise

    @staticmethod
    def executed(action: Tensor) -> Tensor:
        """Return what of a sampled action (..., A) is done, and M is told."""
        return action.clamp(-1, 1)

    def likelihood(self, action: Tensor, slack: float, floor: float) -> Tensor:
        """Return the density (...,) of executed actions (..., A) about the mode, a part `floor` of it uniform in [-1, 1]."""
        likely = ClippedGaussian(self.mode(), self.log_std + math.log(slack)).logprob(action)
        return (1 - floor) * likely.clamp(-_FAR, _FAR).exp() + floor * 0.5 ** action.shape[-1]

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


class Categorical(NamedTuple):
    """A policy over A discrete actions, which are one-hot (..., A); `log_p` (..., A) are their log probabilities."""

    log_p: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return an action for standard normal noise (..., A): the greatest of log p + Gumbel noise, which that becomes."""
        return self.executed(self.log_p - torch.log(-torch.special.log_ndtr(noise)))

    @staticmethod
    def executed(action: Tensor) -> Tensor:
        """Return the action that is greatest in (..., A), one-hot; of equal ones the first."""
        return F.one_hot(action.argmax(-1), action.shape[-1]).to(action.dtype)

    def logprob(self, action: Tensor) -> Tensor:
        """Return the log probability (...,) of one-hot actions (..., A)."""
        return (action * self.log_p).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy (...,) in nats."""
        return -(self.log_p.exp() * self.log_p).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        """Return the divergence KL(self || other) (...,) in nats."""
        return (self.log_p.exp() * (self.log_p - other.log_p)).sum(-1)

    def mode(self) -> Tensor:
        """Return the most probable action (..., A)."""
        return self.executed(self.log_p)

    def likelihood(self, action: Tensor, slack: float, floor: float) -> Tensor:
        """Return the probability (...,) of actions at `slack` times the temperature, a part `floor` of it uniform."""
        likely = (action * (self.log_p / slack).softmax(-1)).sum(-1)
        return (1 - floor) * likely + floor / action.shape[-1]

    def flat(self) -> Categorical:
        """Return the policy with its first two dimensions, time and copies, as one."""
        return Categorical(self.log_p.flatten(0, 1))

    def at(self, rows: Tensor) -> Categorical:
        """Return the policies at `rows` of the first dimension."""
        return Categorical(self.log_p[rows])


class Deterministic(NamedTuple):
    """The behaviour of a policy without its noise: the mode is all that is ever drawn from it."""

    policy: Policy

    def sample(self, noise: Tensor) -> Tensor:
        """Return the mode, whatever the noise."""
        return self.policy.mode()

    def logprob(self, action: Tensor) -> Tensor:
        """Return the log probability, or density, (...,) that the policy itself gives to sampled actions."""
        return self.policy.logprob(action)

    def executed(self, action: Tensor) -> Tensor:
        """Return what of sampled actions is done, and M is told."""
        return self.policy.executed(action)
