"""CMA-ES: a Gaussian over weights moves to where fitness is high, and takes the shape of what led there.

The equations are those of Hansen, The CMA Evolution Strategy: A Tutorial (arXiv 1604.00772): the algorithm of its summary with
the default parameters of its table 1 and positive weights only, so that the covariance is positive definite by construction.
The separable variant, whose covariance is diagonal, is that of Ros & Hansen 2008: it learns (N + 2) / 3 times as fast.

It is our own and not the package `cma`: all chance comes from outside and the state is a module's buffers, so that it is
stored as tensors, where that package pickles itself, and an interrupted evolution goes on bit for bit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wmloop.errors import DivergedError


class CMAES(nn.Module):
    """Maximise a function of N weights: `tell` takes in what the candidates that `ask` returns for a noise are worth.

    With standard normal noise z of P candidates, (P, N), and the covariance C = B D² Bᵀ these are

        x = mean + sigma B D z.

    The state are float64 buffers on the CPU: `mean` (N,), `sigma` (), the covariance (N, N) or its diagonal (N,), its
    `scales` D (N,) and `axes` B (N, N) as they were last decomposed, the evolution paths `path_sigma` and `path_c` (N,), and
    how many generations were told. Only the ranks of fitness count.
    """

    mean: Tensor
    sigma: Tensor
    covariance: Tensor
    scales: Tensor
    axes: Tensor
    path_sigma: Tensor
    path_c: Tensor
    generation: Tensor

    def __init__(self, mean: Tensor, sigma: float, population_size: int, diagonal: bool = False) -> None:
        """Begin at `mean` (N,) with the standard deviation `sigma` in all directions."""
        super().__init__()
        size = len(mean)
        one = torch.ones(size, dtype=torch.float64)
        self.diagonal, self.population_size = diagonal, population_size
        self.register_buffer("mean", mean.detach().to("cpu", torch.float64, copy=True))
        self.register_buffer("sigma", torch.tensor(sigma, dtype=torch.float64))
        self.register_buffer("covariance", one.clone() if diagonal else one.diag())
        self.register_buffer("scales", one.clone())
        if not diagonal:
            self.register_buffer("axes", one.diag())
        self.register_buffer("path_sigma", 0 * one)
        self.register_buffer("path_c", 0 * one)
        self.register_buffer("generation", torch.tensor(0))

        parents = torch.arange(1, population_size // 2 + 1, dtype=torch.float64)
        weights = math.log((population_size + 1) / 2) - parents.log()
        self._weights = weights / weights.sum()
        mass = self._mass = 1 / float(self._weights.square().sum())  # mu_eff: how many parents there are in effect
        faster = (size + 2) / 3 if diagonal else 1.0
        self._c_sigma = (mass + 2) / (size + mass + 5)
        self._damping = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (size + 1)) - 1) + self._c_sigma
        self._c_c = (4 + mass / size) / (size + 4 + 2 * mass / size)
        self._c_1 = min(1.0, faster * 2 / ((size + 1.3) ** 2 + mass))
        self._c_mu = min(1 - self._c_1, faster * 2 * (0.25 + mass + 1 / mass - 2) / ((size + 2) ** 2 + mass))
        self._norm = math.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))  # E|N(0, I)|
        self._decompose_every = max(1, int(1 / (10 * size * (self._c_1 + self._c_mu))))

    def ask(self, noise: Tensor) -> Tensor:
        """Return the candidates (P, N) of a generation for its standard normal noise (P, N)."""
        return self.mean + self.sigma * self._shaped(noise)

    def tell(self, noise: Tensor, fitness: Tensor) -> None:
        """Take in what the candidates of a noise (P, N) are worth, `fitness` (P,); of equal ones the first is the better.

        Raises:
            DivergedError: a fitness is not finite; nothing has changed.
        """
        if wrong := int((~torch.isfinite(fitness)).sum()):
            raise DivergedError(f"the fitness of {wrong} of {len(fitness)} candidates is not finite")
        best = noise[fitness.argsort(descending=True, stable=True)[: len(self._weights)]]
        steps = self._shaped(best)
        step = self._weights @ steps
        self.mean += self.sigma * step
        self.generation += 1

        # The steps of many generations, as they would be were the covariance the identity: C^(-1/2) B D z = B z.
        held = 1 - self._c_sigma
        self.path_sigma *= held
        self.path_sigma += math.sqrt(self._c_sigma * (2 - self._c_sigma) * self._mass) * self._rotated(
            self._weights @ best
        )
        length = float(self.path_sigma.norm())
        self.sigma *= math.exp(self._c_sigma / self._damping * (length / self._norm - 1))
        settled = length / math.sqrt(1 - held ** (2 * int(self.generation)))
        growing = settled < (1.4 + 2 / (len(self.mean) + 1)) * self._norm  # else sigma is far too small still

        self.path_c *= 1 - self._c_c
        if growing:
            self.path_c += math.sqrt(self._c_c * (2 - self._c_c) * self._mass) * step
        lost = 0.0 if growing else self._c_1 * self._c_c * (2 - self._c_c)
        self.covariance *= 1 - self._c_1 - self._c_mu + lost
        if self.diagonal:
            self.covariance += self._c_1 * self.path_c.square() + self._c_mu * (self._weights @ steps.square())
            self.scales.copy_(self.covariance.sqrt())
            return
        self.covariance += self._c_1 * torch.outer(self.path_c, self.path_c)
        self.covariance += self._c_mu * (steps.T * self._weights) @ steps
        if int(self.generation) % self._decompose_every == 0:  # N³, and little changes within one generation
            self.covariance.copy_((self.covariance + self.covariance.T) / 2)
            variances, axes = torch.linalg.eigh(self.covariance)
            self.scales.copy_(variances.clamp(min=1e-300).sqrt())
            self.axes.copy_(axes)

    def _shaped(self, noise: Tensor) -> Tensor:
        """Return B D z of noise z (..., N)."""
        return self._rotated(noise * self.scales)

    def _rotated(self, vectors: Tensor) -> Tensor:
        """Return B v of vectors v (..., N)."""
        return vectors if self.diagonal else vectors @ self.axes.T
