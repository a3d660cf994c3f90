"""The batches that V learns from: pictures, and what the decisions from each on paid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.config import VisionMemoryConfig
from wmloop.models.encoder import Pictured
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.latents import ahead
from wmloop.training.rollouts import episodes_of, gather_observations, reward_scale, sample_observations

#: Observations of which the median picture is taken, at most.
_BACKGROUND = 1000


class PictureBatch(NamedTuple):
    """Pictures (B, C, H, W) as V reads them, and the rewards ahead of each (B, H) with 1 where they are known.

    `weights` (B, 1, H, W) says how many times each pixel counts; None where all count alike. Of several ranks each has its
    rows; `total` () is how many rewards are known in all of them.
    """

    images: Tensor
    weights: Tensor | None
    rewards: Tensor
    known: Tensor
    total: Tensor


class Pictures:
    """All pictures of rollouts, drawn in batches: what a batch holds is a function of its step.

    About `vision.frame_cache` of them are held at a time.
    """

    def __init__(
        self, ctx: StageContext[VisionMemoryConfig], encoder: Pictured, rollouts: Sequence[Version], steps: int
    ) -> None:
        """Take `rollouts`, as `encoder` sees them, for a training of so many steps."""
        self._encoder = encoder
        self._ctx, self._batch = ctx, ctx.config.vision.batch_size
        self._own = ctx.ranks.rows(self._batch)
        scale = reward_scale(ctx.config, ctx.collected())
        driven = [episode for version in rollouts for episode in episodes_of(version, observed=False)]
        told = ahead(driven, ctx.config.memory.reward_min, scale)
        self._rewards, self._known = (torch.from_numpy(array).to(ctx.device) for array in told)
        held = min(steps, ctx.config.vision.frame_cache // self._batch)
        self._frames = ObservationCache(rollouts, held, lambda step: self._draw(step)[0][self._own], ctx.device)
        self._background: Tensor | None = None
        if ctx.config.vision.foreground_weight:
            seen = torch.from_numpy(sample_observations(rollouts[0], _BACKGROUND)).to(ctx.device)
            self._background = encoder.images(seen).median(0).values

    def batch(self, step: int) -> PictureBatch:
        """Return the batch of a step. Where the world has a mirror image, half of the batches are mirrored, each as a whole."""
        chosen, mirrored = self._draw(step)
        images = self._encoder.images(self._frames.of(step))
        rows = torch.from_numpy(chosen).to(self._ctx.device)
        weights = None
        if self._background is not None:
            weights = foreground_weights(images, self._background, self._ctx.config.vision.foreground_weight)
        if mirrored:
            images, weights = images.flip(3), None if weights is None else weights.flip(3)
        rewards, known = self._rewards[rows[self._own]], self._known[rows]
        return PictureBatch(images, weights, rewards, known[self._own], known.sum())

    def _draw(self, step: int) -> tuple[np.ndarray, bool]:
        """Return the rows of a batch, and whether it is mirrored."""
        rng = self._ctx.rng("batch", step)
        chosen = rng.integers(0, len(self._known), self._batch)
        return chosen, bool(self._ctx.config.env.mirrored_actions) and rng.random() < 0.5


def foreground_weights(images: Tensor, background: Tensor, weight: float) -> Tensor:
    """Return how many times each pixel of images (B, C, H, W) counts, (B, 1, H, W): once where it is as in `background`."""
    return 1.0 + weight * (images - background).abs().amax(1, keepdim=True)


class ObservationCache:
    """The observations of training batches, those of `steps` at a time on the device: memory does not grow with a run."""

    def __init__(
        self, rollouts: Sequence[Version], steps: int, rows: Callable[[int], np.ndarray], device: torch.device
    ) -> None:
        self._rollouts, self._steps, self._rows, self._device = rollouts, max(1, steps), rows, device
        self._first, self._held = -1, torch.empty(0, dtype=torch.uint8)

    def of(self, step: int) -> Tensor:
        """Return the observations (B, ...) of the batch of `step`."""
        first = step - step % self._steps
        if first != self._first:
            rows = [self._rows(i) for i in range(first, first + self._steps)]
            # the old ones go before the new ones come
            self._first, self._held = first, torch.empty(0, dtype=torch.uint8)
            frames = gather_observations(self._rollouts, np.concatenate(rows))
            self._held = torch.from_numpy(frames).to(self._device).unflatten(0, (self._steps, -1))
        return self._held[step - first]
