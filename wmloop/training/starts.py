"""Where dreams branch off real episodes."""

from __future__ import annotations

import numpy as np
import torch

from wmloop.config import DreamingConfig
from wmloop.episodes import Replay
from wmloop.models.networks import world_model
from wmloop.models.world_model import State
from wmloop.seeding import derive_seed
from wmloop.store import Version
from wmloop.training.experience import LatentReplay, filter_states
from wmloop.training.latents import has_latents, latents_of
from wmloop.training.rollouts import episodes_of, last_actions
from wmloop.training.weights import stored

#: Remembered states that travel with an agent: half a megabyte at the sizes of the presets.
KEPT = 256


def sample_starts(
    experience: LatentReplay, count: int, burn_in: int, recency_decay: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose where `count` dreams begin: real moments, newer ones more often, `burn_in` decisions into an episode.

    Returns the side and the row of each, an index of M's states before each row's step (see experience.filter_states).
    """
    side, _, row = _sample(experience.replay, len(experience.mu), count, burn_in, recency_decay, rng)
    return _on(side, experience), _on(row, experience)


def remembered(
    config: DreamingConfig, rollouts: list[Version], device: torch.device, vision: Version, memory: Version,
    controller: Version,
) -> State | None:  # fmt: skip
    """Return KEPT states (KEPT, ...) that dreams of an agent begin at, as M remembers them, always the same ones.

    They are sampled as in training, of the `rollouts` that its networks learnt from. None where these, or V's latents of
    them, are not there any more.
    """
    spec = last_actions(rollouts)
    if spec is None or not rollouts or any(version.pruned for version in rollouts) or not has_latents(vision):
        return None
    episodes = [list(episodes_of(version, observed=False)) for version in rollouts]
    mu, logvar = latents_of(vision)
    replay = Replay(episodes, spec)
    rng = np.random.default_rng(derive_seed(config.seed, controller.iteration, "starts"))
    side, episode, row = _sample(replay, len(mu), KEPT, config.burn_in, config.memory.recency_decay, rng)
    needed, place = np.unique(episode, return_inverse=True)  # only what led to these states is run through M
    flat = [one for batch in episodes for one in batch]
    part = Replay([[flat[number] for number in needed]], spec)
    rows = np.concatenate([np.arange(replay.length[n] + 1) + replay.first[n] for n in needed])
    experience = LatentReplay.joined(config, part, (mu[:, rows], logvar[:, rows]), 1.0, device)
    states = filter_states(world_model(config, spec.size, device, stored(vision), stored(memory)).memory, experience)
    return states.at((_on(side, experience), _on(part.first[place] + row - replay.first[episode], experience)))


def _sample(
    replay: Replay, sides: int, count: int, burn_in: int, recency_decay: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the side, the episode and the row of `count` moments, (count,) each."""
    row, _ = replay.sample_windows(count, 1, recency_decay, rng)
    episode = np.searchsorted(replay.first, row, side="right") - 1
    begun = np.maximum(row, replay.first[episode] + burn_in)
    side = rng.integers(0, sides, count)
    return side, episode, np.where(replay.length[episode] > burn_in, begun, row)


def _on(index: np.ndarray, experience: LatentReplay) -> torch.Tensor:
    return torch.from_numpy(index).to(experience.mu.device)
