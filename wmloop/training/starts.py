"""Where dreams branch off real episodes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wmloop.config import DreamConfig
from wmloop.training.experience import LatentReplay


def sample_starts(
    experience: LatentReplay, config: DreamConfig, recency_decay: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Choose where a batch of dreams begins: real moments, newer ones more often, `burn_in` decisions into an episode.

    Returns the side and the row (N,) of each in `experience`: M's states before each row's step (S, R) are taken there (see
    experience.filter_states).
    """
    replay, device = experience.replay, experience.mu.device
    row, _ = replay.sample_windows(config.num_dreams, 1, recency_decay, rng)
    episode = np.searchsorted(replay.first, row, side="right") - 1
    begun = np.maximum(row, replay.first[episode] + config.burn_in)
    rows = torch.from_numpy(np.where(replay.length[episode] > config.burn_in, begun, row)).to(device)
    return torch.from_numpy(rng.integers(0, len(experience.mu), config.num_dreams)).to(device), rows
