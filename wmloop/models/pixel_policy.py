"""The networks of PPO on pictures: actor and critic on one trunk (Kuth, Stermann & Heitzer 2021, figures 5 and 6)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.models.policies import ClippedGaussian, bias_of, near_zero

#: What the trunk tells the heads.
_WIDTH = 400


def grey(frames: np.ndarray) -> np.ndarray:
    """Return frames (..., 3) uint8 as their luma (...) uint8 (ITU-R BT.601)."""
    red, green, blue = (frames[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray((299 * red + 587 * green + 114 * blue + 500) // 1000, np.uint8)


class PixelTrunk(nn.Module):
    """Map `stack` grey pictures of 64x64 to 400 features: three convolutions and two dense layers."""

    def __init__(self, stack: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(stack, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
        )  # fmt: skip
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, math.sqrt(2))
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features (..., 400) of pictures (..., stack, 64, 64) uint8."""
        features: Tensor = self.layers(pictures.flatten(0, -4).float() / 255)
        return features.unflatten(0, pictures.shape[:-3])


class PixelActor(nn.Module):
    """Map pictures (..., stack, 64, 64) uint8 to a policy, a clipped Gaussian: 644,646 parameters for one and 3 actions.

    The spread of Kuth et al. has no upper bound and so, clipped, no gradient. This one's logarithm is between two bounds.
    """

    def __init__(self, stack: int = 1, actions: int = 3, log_std: tuple[float, float] = (-3.0, 0.0)) -> None:
        super().__init__()
        self.log_std_bounds = log_std
        self.trunk = PixelTrunk(stack)
        self.mean, self.spread = nn.Linear(_WIDTH, actions), nn.Linear(_WIDTH, actions)
        near_zero(self.mean, self.spread)

    def init_mean(self, action: Tensor) -> None:
        """Let the untrained policy's mean be near `action` (A,), at most 0.8 towards a bound."""
        with torch.no_grad():
            self.mean.bias.copy_(bias_of(action))

    def forward(self, pictures: Tensor) -> ClippedGaussian:
        """Return the policy for pictures (..., stack, 64, 64) uint8."""
        x = self.trunk(pictures)
        return ClippedGaussian.of_heads(self.mean(x), self.spread(x), self.log_std_bounds)


class PixelCritic(nn.Module):
    """Map pictures (..., stack, 64, 64) uint8 to the value, with a head of its own on an actor's trunk."""

    def __init__(self, trunk: PixelTrunk) -> None:
        super().__init__()
        self.trunk, self.value = trunk, nn.Linear(_WIDTH, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the value (...) of pictures (..., stack, 64, 64) uint8, in units of reward_scale."""
        value: Tensor = self.value(self.trunk(pictures))
        return value.squeeze(-1)
