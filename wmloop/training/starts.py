"""Where dreams branch off real episodes."""

from __future__ import annotations

import numpy as np
import torch

from wmloop.config import WorldModelConfig
from wmloop.models.world_model import State
from wmloop.training.context import StageContext
from wmloop.training.experience import LatentReplay


def sample_starts(ctx: StageContext[WorldModelConfig], experience: LatentReplay, states: State, index: int) -> State:
    """Choose where the dreams of update `index` branch off: real moments, newer ones more often, M warmed up."""
    config, replay = ctx.config.dream, experience.replay
    rng = ctx.rng("branch", index)
    row, _ = replay.sample_windows(config.num_dreams, 1, ctx.config.memory.recency_decay, rng)
    episode = np.searchsorted(replay.first, row, side="right") - 1
    begun = np.maximum(row, replay.first[episode] + config.burn_in)
    rows = torch.from_numpy(np.where(replay.length[episode] > config.burn_in, begun, row)).to(ctx.device)
    side = torch.from_numpy(rng.integers(0, len(experience.mu), config.num_dreams)).to(ctx.device)
    return states.at((side, rows))
