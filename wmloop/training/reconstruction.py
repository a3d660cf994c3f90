"""How well V's pictures come back out of z: shown to people, and measured on the newest episodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wmloop.models.encoder import Pictured
from wmloop.models.vision import Vision, to_frames
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.rollouts import sample_observations

#: Pictures that the error is measured on, at most.
_PICTURES = 256


@torch.no_grad()
def show(ctx: StageContext[Any], vision: Vision, image: Tensor) -> None:
    """Show people an image (1, C, H, W) beside its reconstruction."""
    ctx.log_image("real", to_frames(image)[0].cpu().numpy())
    ctx.log_image("reconstruction", to_frames(vision.decode(vision.encode(image)[0]))[0].cpu().numpy())


@torch.no_grad()
def error(encoder: Pictured, rollout: Version) -> float:
    """Return the squared error, summed over a picture, on up to 256 of a rollout's pictures, from the posterior's mean."""
    vision = encoder.pictures
    vision.eval()
    images = encoder.images(
        torch.from_numpy(sample_observations(rollout, _PICTURES)).to(next(vision.parameters()).device)
    )
    return float((vision.decode(vision.encode(images)[0]) - images).square().sum((1, 2, 3)).mean())
