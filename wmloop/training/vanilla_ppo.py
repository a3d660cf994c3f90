"""The networks on pictures as configured, and real episodes as they learn from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.config import VanillaPPOConfig
from wmloop.episodes import Episode
from wmloop.learn.batch import Batch
from wmloop.models.pixel_policy import PixelActor, PixelCritic, grey


def new_networks(config: VanillaPPOConfig, actions: int, device: torch.device) -> tuple[PixelActor, PixelCritic]:
    """Return actor and critic on one trunk as configured, with random weights, for `actions` action dimensions."""
    actor = PixelActor(config.ppo.stack, actions, config.ppo.log_std_bounds)
    return actor.to(device), PixelCritic(actor.trunk).to(device)


def shapes(config: VanillaPPOConfig, actions: int = 3) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured; nothing is allocated."""
    meta = torch.device("meta")
    with meta:
        actor, critic = new_networks(config, actions, meta)
    nets = {"actor": actor, "critic": critic.value}
    return {f"{name}.{key}": tuple(part.shape) for name, net in nets.items() for key, part in net.state_dict().items()}


def stacked(pictures: np.ndarray, stack: int) -> np.ndarray:
    """Return for each of an episode's pictures (T, H, W) the `stack` newest, itself last (T, stack, H, W).

    What would come before the first is the first.
    """
    newest = np.arange(len(pictures))[:, None] + np.arange(1 - stack, 1)
    return pictures[np.maximum(newest, 0)]


def batch(episodes: Sequence[Episode], actions: Sequence[Tensor], actor: PixelActor, config: VanillaPPOConfig) -> Batch:
    """Return real episodes that `actor` drove, with what it sampled, (T, A) each, as a batch to learn from.

    They end together in the last row, where a truncated episode bootstraps; before a shorter one begins its mask is 0.
    """
    device, longest, scale = actions[0].device, max(map(len, episodes)), config.ppo.reward_scale
    height, width = episodes[0].observations.shape[1:3]
    features = torch.zeros(longest + 1, len(episodes), config.ppo.stack, height, width, dtype=torch.uint8)
    sampled = torch.zeros(longest, len(episodes), actions[0].shape[1], device=device)
    reward, mask, continues = (torch.zeros(longest, len(episodes)) for _ in range(3))
    continues += 1
    for n, (episode, action) in enumerate(zip(episodes, actions, strict=True)):
        begun = longest - len(episode)
        features[begun:, n] = torch.from_numpy(stacked(grey(episode.observations), config.ppo.stack))
        sampled[begun:, n] = action
        reward[begun:, n] = torch.from_numpy(episode.rewards) / scale
        mask[begun:, n] = 1
        continues[-1, n] = float(not episode.terminated)
    features = features.to(device)
    with torch.no_grad():
        logprob = actor(features[:-1]).logprob(sampled)
    return Batch(features, sampled, logprob, reward.to(device), continues.to(device), mask.to(device))
