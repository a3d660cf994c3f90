"""All experience as M reads it, the states that M remembers of it, and the batches drawn from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.config import MemoryConfig, VisionMemoryConfig
from wmloop.episodes import Replay
from wmloop.errors import StoreCorruptError
from wmloop.models.memory import Memory, Targets
from wmloop.models.world_model import State
from wmloop.ranks import ALONE, Ranks
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.latents import latents_of
from wmloop.training.rollouts import actions_of, episodes_of, reward_scale

_PASS_EPISODES = 64
#: Of fewer ends nothing follows from what they show: a world may happen to stand still.
_FEW_ENDS = 10


class LatentReplay(NamedTuple):
    """All experience as M reads it, S sides (1, or 2 with the mirrored world) of R rows (see episodes.Replay).

    `mu`, `std` (S, R, Z) of V's posterior; `actions` (S, R, A) as M reads them; `rewards` (R,) in units of reward_scale,
    floored as configured; `terminated` (R,). `ends_shown` tells whether what ended an episode was observed: where all
    that terminated, ten or more, show at last what they showed before, it was not (see envs.observations).
    """

    replay: Replay
    mu: Tensor
    std: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    ends_shown: bool

    @classmethod
    def of(
        cls, config: VisionMemoryConfig, replay: Replay, vision: Version, reward_scale: float, device: torch.device
    ) -> LatentReplay:
        """Bring the episodes of `replay` and their latents, stored with V, together."""
        return cls.joined(config, replay, latents_of(vision), reward_scale, device)

    @classmethod
    def joined(
        cls, config: VisionMemoryConfig, replay: Replay, latents: tuple[np.ndarray, np.ndarray], reward_scale: float,
        device: torch.device,
    ) -> LatentReplay:  # fmt: skip
        """Bring the episodes of `replay` and their latents, mu and logvar (S, R, Z), together."""
        mu, logvar = latents
        if mu.shape[1] != len(replay.rewards):
            raise StoreCorruptError(
                f"V saw {mu.shape[1]:,} moments, and the episodes have {len(replay.rewards):,}: they do not match"
            )
        sides = (replay.actions, replay.spec.mirror(replay.actions, config.env.mirrored_actions))
        actions = np.stack(sides[: len(mu)])
        rewards = floored(config, replay.rewards, replay.terminated > 0) / reward_scale
        arrays = (mu, np.exp(0.5 * logvar), actions, rewards, replay.terminated)
        mu_, std, actions_, rewards_, terminated = (torch.from_numpy(a.astype(np.float32)).to(device) for a in arrays)
        ends = np.flatnonzero(replay.terminated)
        shown = len(ends) < _FEW_ENDS or not np.array_equal(mu[0, ends], mu[0, ends + 1])
        return cls(replay, mu_, std, actions_, rewards_, terminated, shown)

    @property
    def latent(self) -> int:
        """Return the dimensions of V's latents."""
        return self.mu.shape[-1]

    @property
    def terminal_scale(self) -> float:
        """Return how large the rewards of ends are, their root mean square in units of reward_scale, and 1 at least."""
        ends = self.rewards[self.terminated > 0]
        return max(1.0, float(ends.cpu().double().square().mean().sqrt())) if len(ends) else 1.0


def floored(config: VisionMemoryConfig, rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return rewards (R,) raised to the smallest that is learnt from, but not those of steps that end an episode (R,) bool."""
    floor = config.memory.reward_min
    return rewards if floor is None else np.where(ends, rewards, np.maximum(rewards, floor))


def load_replay(ctx: StageContext[VisionMemoryConfig], vision: Version) -> LatentReplay:
    """Return the experience that is learnt from in this iteration, with the latents of `vision`."""
    rollouts = ctx.rollouts()
    batches = [list(episodes_of(version, observed=False)) for version in rollouts]
    scale = reward_scale(ctx.config, ctx.collected())
    replay = Replay(batches, actions_of(rollouts[-1]))
    return LatentReplay.of(ctx.config, replay, vision, scale, ctx.device)


@torch.no_grad()
def filter_states(memory: Memory, experience: LatentReplay) -> State:
    """Run M over every episode with V's mean latents; return where it is (S, R) *before* each row's step."""
    replay, follow = experience.replay, memory.follower()
    states = memory.begin(experience.mu)
    order = np.argsort(replay.length, kind="stable")
    for side in range(len(experience.mu)):
        for start in range(0, len(order), _PASS_EPISODES):
            chosen = order[start : start + _PASS_EPISODES]
            first, length = replay.first[chosen], replay.length[chosen]
            for t in range(int(length.max())):
                row = torch.from_numpy(first[t < length] + t).to(experience.mu.device)
                here = states.at((side, row))
                after = follow(here, experience.actions[side, row], experience.mu[side, row + 1])
                states.put((side, row + 1), after)
    return states


def draw(
    experience: LatentReplay, states: State, config: MemoryConfig, rng: np.random.Generator, generator: torch.Generator,
    ranks: Ranks = ALONE,
) -> tuple[Tensor, Tensor, State, Targets]:  # fmt: skip
    """Draw a training batch: M's inputs z (B, T, Z) and actions (B, T, A), where it starts (B), its targets.

    The input z is the posterior's mean with noise of `input_noise` posterior deviations: at 1 M reads what a dream will
    feed it; with more it infers from C's action what C saw (docs/experiments, 2026-11-22). The target z' is drawn from
    the posterior, so that M learns V's uncertainty too. Where an end is not shown, the last z' is
    a copy of z. Heads that read it would learn that a copy means the end, which no dream has: there they read a z' that M
    draws itself (`Targets.noise`).

    Each of several `ranks` draws the whole batch, and gets its rows of it.
    """
    replay, device = experience.replay, experience.mu.device
    first, length = replay.sample_windows(config.batch_size, config.sequence_length, config.recency_decay, rng)
    side = torch.from_numpy(rng.integers(0, len(experience.mu), (config.batch_size, 1))).to(device)
    steps = np.arange(config.sequence_length)
    real = torch.from_numpy(steps < length[:, None]).to(device)
    row = torch.from_numpy(np.minimum(first[:, None] + steps, first[:, None] + length[:, None] - 1)).to(device)
    mu, std = experience.mu[side, row], experience.std[side, row]
    noise, posterior = (torch.randn(mu.shape, generator=generator, device=device) for _ in range(2))
    last = torch.from_numpy(_last_rows(replay, first)).to(device)
    drawn = None
    if not experience.ends_shown:
        drawn = (
            torch.rand(mu.shape, generator=generator, device=device),
            torch.randn(mu.shape, generator=generator, device=device),
        )
    targets = Targets(
        z=experience.mu[side, row + 1] + experience.std[side, row + 1] * posterior,
        reward=experience.rewards[row],
        terminated=experience.terminated[row],
        next_action=experience.actions[side, row + 1],
        mask=real.float(),
        action_mask=(real & (row < last)).float(),
        noise=drawn,
    )
    begin = states.at((side[:, 0], row[:, 0]))
    z, actions = mu + config.input_noise * std * noise, experience.actions[side, row]
    if ranks.size > 1:
        own = ranks.rows(config.batch_size)
        z, actions, begin, targets = z[own], actions[own], begin.at(own), targets.part(own)
    return z, actions, begin, targets


def _last_rows(replay: Replay, first: np.ndarray) -> np.ndarray:
    """Return for each window the row of its episode's last decision, (B, 1)."""
    episode = np.searchsorted(replay.first, first, side="right") - 1
    return np.asarray((replay.first[episode] + replay.length[episode] - 1)[:, None])
