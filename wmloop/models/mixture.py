"""The mixture density of M: independent Gaussian mixtures, one per latent dimension (Bishop 1994; HS18, A.2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
#: exp() of anything in this range is a finite, non-zero float32, also when squared.
_LOG_STD_BOUNDS = (-8.0, 6.0)


class Mixture(NamedTuple):
    """K Gaussians for each of Z latent dimensions: all fields (..., K, Z), Z in a row so that vector units run along it.

    `logits` are the log weights up to a constant: softmax over K normalises them.
    """

    logits: Tensor
    mean: Tensor
    log_std: Tensor


def from_outputs(raw: Tensor, latent: int, mixtures: int) -> Mixture:
    """Read a network's (..., 3 * K * Z) outputs as a Mixture in float32; log_std is kept within finite bounds."""
    logits, mean, log_std = raw.float().unflatten(-1, (3, mixtures, latent)).unbind(-3)
    return Mixture(logits, mean, log_std.clamp(*_LOG_STD_BOUNDS))


def log_prob(mixture: Mixture, z: Tensor) -> Tensor:
    """Return log p(z) per latent dimension, (..., Z) nats, for z (..., Z).

    Equals `torch.distributions.MixtureSameFamily` (a test holds this) without building its objects.
    """
    deviation = (z.unsqueeze(-2) - mixture.mean) * torch.exp(-mixture.log_std)
    joint = torch.logsumexp(mixture.logits - mixture.log_std - 0.5 * deviation.square(), -2)
    return joint - torch.logsumexp(mixture.logits, -2) - _HALF_LOG_TAU


def sample(mixture: Mixture, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
    """Draw z (..., Z) from the mixture at a temperature, each latent dimension on its own.

    The temperature acts on both halves, as HS18's code does: logits / tau and sigma * sqrt(tau). Towards 0 the draw
    becomes the most probable component's mean; above 1 the future becomes less certain than M believes.

    `uniform` in [0, 1) chooses the component by inverting the cumulative weights, `normal` is standard noise; both
    are (..., Z). Noise comes in as tensors so that eager, compiled and CUDA paths can be compared draw by draw.
    """
    # The largest logit goes first: divided by a small temperature it would overflow.
    below = mixture.logits - mixture.logits.amax(-2, keepdim=True)
    weights = torch.softmax(below / temperature, -2).unbind(-2)
    means, log_stds = mixture.mean.unbind(-2), mixture.log_std.unbind(-2)
    mean, log_std = torch.zeros_like(uniform), torch.zeros_like(uniform)
    reached, left = torch.ones_like(uniform), uniform
    # Every component times 1 or 0 instead of a gather or a choice, which torch computes element by element; the last
    # needs no bound, so a cumulative weight that rounds below 1 cannot lead outside the mixture.
    for k in range(len(means)):
        left = left - weights[k]
        beyond = torch.zeros_like(left) if k == len(means) - 1 else left.clone().ge_(0)
        chosen, reached = reached - beyond, beyond
        mean, log_std = torch.addcmul(mean, chosen, means[k]), torch.addcmul(log_std, chosen, log_stds[k])
    return mean + log_std.exp() * math.sqrt(temperature) * normal


def tempered(mixture: Mixture, temperature: float) -> Mixture:
    """Return the mixture that `sample` draws from at a temperature."""
    below = mixture.logits - mixture.logits.amax(-2, keepdim=True)
    return Mixture(below / temperature, mixture.mean, mixture.log_std + 0.5 * math.log(temperature))


def expected(mixture: Mixture) -> Tensor:
    """Return the mean over all components, (..., Z)."""
    return (torch.softmax(mixture.logits, -2) * mixture.mean).sum(-2)
