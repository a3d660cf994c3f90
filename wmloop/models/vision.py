"""V, the convolutional VAE: a 64x64 picture becomes z, and z a picture again (HS18, A.1)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def to_images(frames: Tensor) -> Tensor:
    """Turn uint8 frames (B, H, W, C) into float images (B, C, H, W) in [0, 1], laid out channels-last."""
    return frames.permute(0, 3, 1, 2).float().div_(255.0)  # a permuted NHWC tensor is channels-last already


def to_frames(images: Tensor) -> Tensor:
    """Turn images (B, C, H, W) in [0, 1] into uint8 frames (B, H, W, C)."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)


Network = Literal["compact", "equalised", "light", "ha2018"]


class Vision(nn.Module):
    """A VAE with a diagonal Gaussian posterior q(z | x) = N(mu, exp(logvar)) and a pixel-wise decoder.

    `network` is `compact` (the default: convolutions with GroupNorm(1), the first of stride 4, that see ranks beside the
    values, see HistogramEqualizer), `equalised` (four convolutions of stride 2, twice the channels), `light` (that without
    ranks) or `ha2018` (the paper's layers, 4,348,547 parameters at latent 32). It is an encoder of pictures (see
    models.encoder).
    """

    #: The pictures that it takes, (H, W, C).
    frame = (64, 64, 3)
    stored = torch.float16

    def __init__(self, network: Network = "compact", latent: int = 32) -> None:
        super().__init__()
        self.latent = latent
        self.equaliser = HistogramEqualizer() if network in ("compact", "equalised") else None
        ranked = self.equaliser is not None
        layers = _ha2018(latent) if network == "ha2018" else _normalised(_SHAPES[network], ranked, latent)
        self.encoder, self.mu, self.logvar, self.dense, self.decoder = layers
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def pictures(self) -> Vision:
        """Return this one: there is nothing else to see."""
        return self

    @torch.no_grad()
    def look(self, batches: Iterable[Tensor]) -> None:
        """Adapt to what the world's pictures look like, once, before training: batches of (B, 64, 64, 3) uint8."""
        if self.equaliser is not None:
            self.equaliser.adapt(batches)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, both (B, Z), of images (B, 3, 64, 64) in [0, 1]; a HistogramEqualizer reads them to 8 bits."""
        if self.equaliser is not None:
            images = self.equaliser(images)
        features = self.encoder(images).flatten(1)
        # Bounds far outside of what training reaches keep exp(logvar) finite on alien pictures.
        return self.mu(features), self.logvar(features).clamp(-12.0, 8.0)

    def decode(self, z: Tensor) -> Tensor:
        """Return images (B, 3, 64, 64) in [0, 1] of latents z (B, Z)."""
        return torch.sigmoid(self.decoder(self.dense(z)))

    def images(self, observations: Tensor) -> Tensor:
        """Return images (B, 3, 64, 64) in [0, 1] of pictures (B, 64, 64, 3) uint8."""
        return to_images(observations)

    def see(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, both (B, Z), of pictures (B, 64, 64, 3) uint8."""
        return self.encode(to_images(observations))

    def draw(self, z: Tensor) -> Tensor:
        """Return pictures (B, 64, 64, 3) uint8 of latents z (B, Z)."""
        return to_frames(self.decode(z))

    def vector(self, z: Tensor) -> None:
        """Return nothing: only pictures are seen."""


class HistogramEqualizer(nn.Module):
    """Beside each value its rank among its channel's, spread over [-1, 1], by a fixed table: histogram equalisation.

    What matters may be painted in a few grey levels, as a road that has been visited is. Equally frequent values become
    equally far apart, so that convolutions can see them. Until `adapt` the ranks are the values themselves.
    """

    ranks: Tensor
    _levels: Tensor
    _first: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ranks", torch.linspace(-1, 1, 256).repeat(3, 1))
        self.register_buffer("_levels", (torch.arange(256) / 255).repeat(3, 1), persistent=False)
        self.register_buffer("_first", torch.tensor([0.0, 256.0, 512.0]), persistent=False)  # where a channel's begin

    def adapt(self, batches: Iterable[Tensor]) -> None:
        """Take the table from all values of batches (B, H, W, 3) uint8: twice the share of pixels below, less one."""
        counts = torch.zeros(3, 256, dtype=torch.long)
        for frames in batches:
            for count, values in zip(counts, frames.flatten(0, -2).unbind(-1), strict=True):
                count += torch.bincount(values.int(), minlength=256)
        for ranks, count in zip(self.ranks, counts, strict=True):
            share = count.double() / count.sum()
            ranks.copy_(2 * (share.cumsum(0) - share / 2) - 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1], to 8 bits, as (B, 6, H, W): r, its ranks, g, its ranks, b, its ranks."""
        pixels = images.permute(0, 2, 3, 1)
        # Value and rank are looked up as one number of 64 bits, in the pictures' own layout: nothing is laid out anew.
        pairs = torch.stack([self._levels, self.ranks], -1).view(torch.int64).flatten()
        place = torch.add(self._first.repeat(pixels.shape[2]), pixels.flatten(2), alpha=255).round_().int()
        seen = pairs.index_select(0, place.flatten()).view(torch.float32)
        return seen.view(*pixels.shape[:3], 6).permute(0, 3, 1, 2)


class _Pairwise(nn.Conv2d):
    """A convolution over what the HistogramEqualizer returns; its weights lie as (r, g, b, ranks of r, of g, of b)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return self._conv_forward(x, weight, self.bias)


class RewardPredictor(nn.Module):
    """Guess the rewards of the next H decisions, (..., H), from z alone (..., Z). Only V's training asks it."""

    def __init__(self, latent: int, decisions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent, 64), nn.SiLU(), nn.Linear(64, decisions))

    def forward(self, z: Tensor) -> Tensor:
        """Return the guess."""
        rewards: Tensor = self.layers(z)
        return rewards


def reward_prediction_loss(guess: Tensor, rewards: Tensor, known: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the squared error of a guess (B, H), the mean over the rewards that are `known` (B, H), 1 or 0.

    Of a part of a batch it is its part of that mean: `count` () are known in the whole batch.
    """
    count = known.sum() if count is None else count
    return (F.mse_loss(guess, rewards, reduction="none") * known).sum() / count.clamp(min=1.0)


def vae_loss(
    vision: Vision, images: Tensor, noise: Tensor, recon_weight: float, free_nats: float,
    pixel_weights: Tensor | None = None, share: float = 1.0,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:  # fmt: skip
    """Return a batch's loss, z (B, Z) and the loss's parts: weighted summed squared error plus KL, mean over images.

    The KL is to N(0, I). `noise` (B, Z) is standard normal. `free_nats` is the free nats per latent dimension
    (HS18: 0.5 with `max(KL, 0.5 * Z)`). With `pixel_weights` (B, 1, H, W) a pixel's squared error counts so many times in the
    loss. `recon_loss` is squared error summed over a picture, without these; `kl_loss` is nats per picture. Where these are
    only a `share` of a batch's images, all are their part of the batch's means.
    """
    mu, logvar = vision.encode(images)
    z = mu + torch.exp(0.5 * logvar) * noise
    recon = vision.decode(z)
    error = (recon - images).square()
    recon_loss = error.sum((1, 2, 3)).mean()
    weighted = recon_loss if pixel_weights is None else (error * pixel_weights).sum((1, 2, 3)).mean()
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)
    kl_loss = kl.clamp(min=free_nats * mu.shape[1]).mean()
    loss, parts = recon_weight * weighted + kl_loss, {"recon_loss": recon_loss.detach(), "kl_loss": kl.mean().detach()}
    if share < 1.0:
        loss, parts = loss * share, {name: part * share for name, part in parts.items()}
    return loss, z, parts


_Layers = tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]


def _ha2018(latent: int) -> _Layers:
    encoder = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
        nn.Conv2d(64, 128, 4, 2), nn.ReLU(), nn.Conv2d(128, 256, 4, 2), nn.ReLU(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.ConvTranspose2d(1024, 128, 5, 2), nn.ReLU(), nn.ConvTranspose2d(128, 64, 5, 2), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 6, 2), nn.ReLU(), nn.ConvTranspose2d(32, 3, 6, 2),
    )  # fmt: skip
    dense = nn.Sequential(nn.Linear(latent, 1024), nn.Unflatten(1, (1024, 1, 1)))
    return encoder, nn.Linear(1024, latent), nn.Linear(1024, latent), dense, decoder


class _Convolution(NamedTuple):
    channels: int
    kernel: int = 4
    stride: int = 2
    padding: int = 1


class _Shape(NamedTuple):
    down: tuple[_Convolution, ...]  # from 64x64 pixels to 4x4
    up: tuple[int, ...]  # channels from 4x4 to 32x32


_WIDE = _Shape(tuple(map(_Convolution, (16, 32, 64, 128))), (128, 64, 32, 16))
_SHAPES = {
    "compact": _Shape((_Convolution(32, 6, 4), _Convolution(32), _Convolution(64)), (64, 32, 32, 16)),
    "equalised": _WIDE,
    "light": _WIDE,
}


def _normalised(shape: _Shape, ranked: bool, latent: int) -> _Layers:
    down: list[nn.Module] = []
    channels = 6 if ranked else 3
    for convolution in shape.down:
        layer = _Pairwise if ranked and not down else nn.Conv2d
        down += [layer(channels, *convolution), nn.GroupNorm(1, convolution.channels), nn.SiLU()]
        channels = convolution.channels
    up: list[nn.Module] = []
    for inputs, outputs in pairwise(shape.up):
        up += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.GroupNorm(1, outputs), nn.SiLU()]
    up.append(nn.ConvTranspose2d(shape.up[-1], 3, 4, 2, 1))
    seen, made = 16 * channels, 16 * shape.up[0]
    dense = nn.Sequential(nn.Linear(latent, made), nn.Unflatten(1, (shape.up[0], 4, 4)))
    return nn.Sequential(*down), nn.Linear(seen, latent), nn.Linear(seen, latent), dense, nn.Sequential(*up)
