"""Where dreams branch off real episodes."""

from __future__ import annotations

import numpy as np
import torch

from wmloop.models.world_model import State
from wmloop.training.experience import LatentReplay


def sample_starts(
    experience: LatentReplay, states: State, count: int, burn_in: int, recency_decay: float, rng: np.random.Generator
) -> State:
    """Choose where `count` dreams begin: real moments, newer ones more often, `burn_in` decisions into an episode.

    `states` (S, R) are M's states before each row's step (see experience.filter_states).
    """
    replay = experience.replay
    row, _ = replay.sample_windows(count, 1, recency_decay, rng)
    episode = np.searchsorted(replay.first, row, side="right") - 1
    begun = np.maximum(row, replay.first[episode] + burn_in)
    rows = torch.from_numpy(np.where(replay.length[episode] > burn_in, begun, row)).to(experience.mu.device)
    side = torch.from_numpy(rng.integers(0, len(experience.mu), count)).to(experience.mu.device)
    return states.at((side, rows))
