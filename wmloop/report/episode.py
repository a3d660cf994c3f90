"""One real episode to look at, and a dream that branched off it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.world_model import WorldModelAgent
from wmloop.dreams import Noise, unroll
from wmloop.episodes import Episode
from wmloop.models.world_model import Imagination, State
from wmloop.seeding import derive_seed

#: Pictures of a film at most, and decisions of a dream.
_PICTURES, _DREAM = 250, 80


class Drive(NamedTuple):
    """A whole episode of T decisions.

    `real` and `seen` are pictures (N, H, W, 3) uint8 of every `stride` decisions, what was seen and V's reconstruction of
    it; `actions` (T, ...) are in the environment's units, `rewards` (T,) were paid, `expected` (T,) were what M expected of
    each decision. Without a world model there is no `seen` and no `expected`, and of observations that are no pictures no
    `real`.
    """

    seed: int
    score: float
    stride: int
    actions: np.ndarray
    rewards: np.ndarray
    real: np.ndarray | None = None
    seen: np.ndarray | None = None
    expected: np.ndarray | None = None


class Dream(NamedTuple):
    """M's dream of T decisions with C acting in it, beside what reality was from the same `decision` of the episode on.

    `real` and `dreamt` are pictures (T, H, W, 3) uint8; `predicted` and `paid` the rewards of these decisions.
    """

    decision: int
    real: np.ndarray
    dreamt: np.ndarray
    predicted: float
    paid: float


def drive_of(episode: Episode, seen: np.ndarray | None = None, expected: np.ndarray | None = None) -> Drive:
    """Return an episode to look at; `seen` are pictures of all its decisions."""
    stride = -(-len(episode) // _PICTURES)
    shown = episode.observations[: len(episode)]
    real = shown[::stride] if _pictures(shown) else None
    return Drive(
        episode.seed, episode.score, stride, episode.actions, episode.rewards, real,
        seen[::stride] if seen is not None and real is not None else None, expected,
    )  # fmt: skip


def dream_of(
    agent: WorldModelAgent, imagination: Imagination, episode: Episode, start: State, decision: int
) -> Dream | None:
    """Let C act in M's dream from a real moment on, the state `start` at `decision`, for as long as the episode went on.

    A dream is cut where it has more probably ended than not. Nothing comes of one without pictures of what is observed.
    """
    count = min(_DREAM, len(episode) - decision)
    if count < 2 or not _pictures(episode.observations):
        return None
    first = agent.actor(start.features).mode()
    generator = torch.Generator(first.device).manual_seed(derive_seed(episode.seed, "report-dream"))
    noise = Noise.draw(count, 1, imagination.noise_size, first.shape[1], generator)
    states, predicted, survival = [], 0.0, 1.0

    def act(k: int, state: State) -> tuple[State, Tensor]:
        return state, agent.actor(state.features).mode()

    for state, outcome in unroll(imagination, start, act, noise):
        states.append(state.features)
        predicted += survival * float(outcome.expected) * agent.world.reward_scale
        survival *= 1 - float(outcome.done)
        if survival < 0.5:
            break
    dreamt = agent.world.decode(torch.cat(states))
    if dreamt is None or dreamt.shape[1:] != episode.observations.shape[1:]:
        return None
    real = episode.observations[decision + 1 : decision + 1 + len(states)]
    paid = float(episode.rewards[decision : decision + len(states)].sum())
    return Dream(decision, real, dreamt, predicted, paid)


def _pictures(observations: np.ndarray) -> bool:
    return observations.dtype == np.uint8 and observations.ndim == 4 and observations.shape[3] == 3
