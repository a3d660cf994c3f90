"""The networks on pictures as configured, and real episodes as they learn from them."""

from __future__ import annotations

import numpy as np
import torch

from wmloop.config import VanillaPPOConfig
from wmloop.learn.batch import Batch
from wmloop.models.networks import shapes_of
from wmloop.models.pixel_policy import PixelActor, PixelCritic, grey
from wmloop.training.real_waves import RealWave, aligned


def new_networks(config: VanillaPPOConfig, actions: int, device: torch.device) -> tuple[PixelActor, PixelCritic]:
    """Return actor and critic on one trunk as configured, with random weights, for `actions` action dimensions."""
    actor = PixelActor(config.ppo.stack, actions, config.ppo.log_std_bounds)
    return actor.to(device), PixelCritic(actor.trunk).to(device)


def shapes(config: VanillaPPOConfig, actions: int = 3) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured; nothing is allocated."""
    meta = torch.device("meta")
    with meta:
        actor, critic = new_networks(config, actions, meta)
    return shapes_of(actor=actor, critic=critic.value)


def stacked(pictures: np.ndarray, stack: int) -> np.ndarray:
    """Return for each of an episode's pictures (T, H, W) the `stack` newest, itself last (T, stack, H, W).

    What would come before the first is the first.
    """
    newest = np.arange(len(pictures))[:, None] + np.arange(1 - stack, 1)
    return pictures[np.maximum(newest, 0)]


def batch(wave: RealWave, actor: PixelActor, config: VanillaPPOConfig) -> Batch:
    """Return real episodes that `actor` drove as a batch to learn from (see real_waves.aligned)."""
    pictures = [torch.from_numpy(stacked(grey(e.observations), config.ppo.stack)) for e in wave.episodes]
    offset, scale = config.ppo.reward_offset, config.ppo.reward_scale
    rewards = [(torch.from_numpy(e.rewards) + offset) / scale for e in wave.episodes]
    return aligned(wave, pictures, rewards, actor)
