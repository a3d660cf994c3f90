"""V, whatever an environment shows: the VAE for pictures, standardised numbers for vectors, both side by side for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.models.vision import Network, Vision


class Vectors(nn.Module):
    """Vectors (B, n) as latents: standardised by the mean and the deviation of those that were seen first.

    The posterior is narrow: what is seen is known. Numbers further out than ten deviations are taken for ten.
    """

    #: What the latents lose nothing by being held in.
    stored = torch.float32
    pictures = None
    mean: Tensor
    std: Tensor

    #: Deviation of the posterior: as exactly as M is to know what it sees.
    _NOISE = 0.01
    _FURTHEST = 10.0
    #: What hardly changes, in proportion to its size, is not made large.
    _LEAST = 1e-6

    def __init__(self, size: int) -> None:
        super().__init__()
        self.latent = size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self._logvar = 2 * float(np.log(self._NOISE))

    @torch.no_grad()
    def look(self, batches: Iterable[Tensor]) -> None:
        """Take mean and deviation of batches (B, n) float32; what never changes keeps the deviation 1."""
        seen = torch.cat([batch.double() for batch in batches])
        std = seen.std(0, correction=0)
        self.mean.copy_(seen.mean(0))
        self.std.copy_(torch.where(std > self._LEAST * seen.abs().amax(0).clamp(min=self._LEAST), std, 1.0))

    def see(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, both (B, n), of vectors (B, n)."""
        mu = ((observations - self.mean) / self.std).clamp(-self._FURTHEST, self._FURTHEST)
        return mu, torch.full_like(mu, self._logvar)

    def clipped(self, observations: Tensor) -> Tensor:
        """Return of each number the fraction (n,) of vectors (B, n) in which it is further out than it is taken for."""
        return (((observations - self.mean) / self.std).abs() > self._FURTHEST).float().mean(0)

    def draw(self, z: Tensor) -> None:
        """Return nothing: there is nothing to see."""

    def vector(self, z: Tensor) -> Tensor:
        """Return vectors (B, n), in the environment's units, of latents z (B, n)."""
        return z * self.std + self.mean


class PicturesAndVectors(nn.Module):
    """The latents of a picture, then those of the vector beside it (see spaces.PictureAndVector)."""

    stored = torch.float32

    def __init__(self, pictures: Vision, vectors: Vectors) -> None:
        super().__init__()
        self.vision, self.vectors = pictures, vectors
        self.latent = pictures.latent + vectors.latent

    @property
    def pictures(self) -> Vision:
        """Return the VAE."""
        return self.vision

    def look(self, batches: Iterable[Tensor]) -> None:
        """Adapt both to batches of observations (B, bytes) uint8."""
        seen = [self._split(batch) for batch in batches]
        self.vision.look(frames for frames, _ in seen)
        self.vectors.look(vectors for _, vectors in seen)

    def images(self, observations: Tensor) -> Tensor:
        """Return the pictures of observations (B, bytes), (B, C, H, W) in [0, 1]."""
        return self.vision.images(self._split(observations)[0])

    def see(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, both (B, Z), of observations (B, bytes)."""
        frames, vectors = self._split(observations)
        seen = self.vision.see(frames), self.vectors.see(vectors)
        mu, logvar = (torch.cat(parts, -1) for parts in zip(*seen, strict=True))
        return mu, logvar

    def clipped(self, observations: Tensor) -> Tensor:
        """Return of each number of the vectors the fraction (n,) of observations (B, bytes) in which it is clipped."""
        return self.vectors.clipped(self._split(observations)[1])

    def draw(self, z: Tensor) -> Tensor:
        """Return the pictures (B, H, W, C) uint8 of latents z (B, Z)."""
        return self.vision.draw(z[..., : self.vision.latent])

    def vector(self, z: Tensor) -> Tensor:
        """Return the vectors (B, n), in the environment's units, of latents z (B, Z)."""
        return self.vectors.vector(z[..., self.vision.latent :])

    def _split(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return pictures (B, H, W, C) uint8 and vectors (B, n) float32 of bytes (B, ...)."""
        held = observations.byte()
        frames, vectors = held.split([held.shape[-1] - 4 * self.vectors.latent, 4 * self.vectors.latent], -1)
        return frames.unflatten(-1, Vision.frame), vectors.contiguous().view(torch.float32)


class Parts(NamedTuple):
    """What an encoder is made of: whether it sees pictures, and the size of the vectors that it sees, 0 without any."""

    pictures: bool
    vector: int


#: An encoder of pictures alone.
PICTURES = Parts(True, 0)


#: The encoders that see pictures, and so have a VAE to train.
Pictured = Vision | PicturesAndVectors
#: The encoders that there are: each turns observations (B, ...) into a posterior of latents, and latents z (B, Z) into what
#: they show.
AnyEncoder = Pictured | Vectors


def make_encoder(parts: Parts, network: Network, latent: int) -> AnyEncoder:
    """Return an encoder whose pictures, if it sees any, have `latent` dimensions and pass `network` (see Vision)."""
    if not parts.vector:
        return Vision(network, latent)
    vectors = Vectors(parts.vector)
    return PicturesAndVectors(Vision(network, latent), vectors) if parts.pictures else vectors


def parts_of(arrays: Mapping[str, np.ndarray]) -> Parts:
    """Return what an encoder is made of whose stored weights these are."""
    if "mean" in arrays:
        return Parts(False, len(arrays["mean"]))
    if "vectors.mean" in arrays:
        return Parts(True, len(arrays["vectors.mean"]))
    return PICTURES
