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
    """K Gaussians for each of Z latent dimensions: all fields (..., Z, K); `log_mix` is normalised over K."""

    log_mix: Tensor
    mean: Tensor
    log_std: Tensor


def from_logits(raw: Tensor, latent: int, mixtures: int) -> Mixture:
    """Read a network's (..., 3 * Z * K) outputs as a Mixture in float32; log_std is kept within finite bounds."""
    logits, mean, log_std = raw.float().unflatten(-1, (3, latent, mixtures)).unbind(-3)
    return Mixture(torch.log_softmax(logits, -1), mean, log_std.clamp(*_LOG_STD_BOUNDS))


def log_prob(mixture: Mixture, z: Tensor) -> Tensor:
    """Return log p(z) per latent dimension, (..., Z) nats, for z (..., Z).

    Equals `torch.distributions.MixtureSameFamily` (a test holds this) without building its objects.
    """
    deviation = (z.unsqueeze(-1) - mixture.mean) * torch.exp(-mixture.log_std)
    return torch.logsumexp(mixture.log_mix - mixture.log_std - 0.5 * deviation.square() - _HALF_LOG_TAU, -1)


def sample(mixture: Mixture, uniform: Tensor, normal: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Draw z (..., Z) from the mixture at a temperature, each latent dimension on its own.

    The temperature acts on both halves, as HS18's code does: logits / tau and sigma * sqrt(tau). Towards 0 the draw
    becomes the most probable component's mean; above 1 the future becomes less certain than M believes.

    `uniform` in [0, 1) chooses the component by inverting the cumulative weights, `normal` is standard noise; both
    are (..., Z). Noise comes in as tensors so that eager, compiled and CUDA paths can be compared draw by draw.
    """
    cumulative = torch.softmax(mixture.log_mix / temperature, -1).cumsum(-1)
    # The last cumulative weight may round below 1: the clamp keeps a uniform above it inside the mixture.
    chosen = (uniform.unsqueeze(-1) >= cumulative).sum(-1, keepdim=True).clamp_(max=cumulative.shape[-1] - 1)
    mean = mixture.mean.gather(-1, chosen).squeeze(-1)
    std = mixture.log_std.gather(-1, chosen).squeeze(-1).exp()
    return (
        mean + std * math.sqrt(temperature) * normal
        if isinstance(temperature, float)
        else (mean + std * temperature.sqrt() * normal)
    )
