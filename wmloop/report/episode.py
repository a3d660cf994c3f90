"""One real episode to look at, and a dream that branched off it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.world_model import WorldModelAgent
from wmloop.dreams import Noise, unroll
from wmloop.episodes import Episode
from wmloop.models.world_model import State, decode_vector
from wmloop.seeding import derive_seed
from wmloop.spaces import ObservationSpec

#: Pictures of a film at most, and decisions of a dream.
_PICTURES, _DREAM = 250, 80


class Drive(NamedTuple):
    """A whole episode of T decisions.

    `real` and `seen` are pictures (N, H, W, 3) uint8 of every `stride` decisions, what was seen and V's reconstruction of
    it; `actions` (T, ...) are in the environment's units, `rewards` (T,) were paid, `expected` (T,) were what M expected of
    each decision, `vectors` (T, n) what was observed of vectors. Without a world model there is no `seen` and no `expected`,
    without pictures no `real`, without vectors none of them.
    """

    seed: int
    score: float
    stride: int
    actions: np.ndarray
    rewards: np.ndarray
    real: np.ndarray | None = None
    seen: np.ndarray | None = None
    expected: np.ndarray | None = None
    vectors: np.ndarray | None = None


class Dream(NamedTuple):
    """M's dream of T = `length` decisions with C acting in it, beside reality from the same `decision` of the episode on.

    `predicted` and `paid` are the rewards of these decisions; `pictures`, each (T, H, W, 3) uint8, and `vectors`, each (T, n),
    are the real ones and those dreamt, if there are any.
    """

    decision: int
    length: int
    predicted: float
    paid: float
    pictures: tuple[np.ndarray, np.ndarray] | None
    vectors: tuple[np.ndarray, np.ndarray] | None


def drive_of(
    spec: ObservationSpec, episode: Episode, seen: np.ndarray | None = None, expected: np.ndarray | None = None
) -> Drive:
    """Return an episode of observations of `spec` to look at; `seen` are pictures of all its decisions."""
    stride = -(-len(episode) // _PICTURES)
    shown = episode.observations[: len(episode)]
    return Drive(
        episode.seed, episode.score, stride, episode.actions, episode.rewards, pictures_of(spec, shown[::stride]),
        None if seen is None else seen[::stride], expected, vectors_of(spec, shown),
    )  # fmt: skip


def dream_of(
    agent: WorldModelAgent, spec: ObservationSpec, episode: Episode, start: State, decision: int
) -> Dream | None:
    """Let C act in M's dream from a real moment on, the state `start` at `decision`, for as long as the episode went on.

    A dream is cut where it has more probably ended than not. Nothing comes of one of which the world model tells nothing that
    is observed.
    """
    count = min(_DREAM, len(episode) - decision)
    if count < 2:
        return None
    imagination, first = agent.world.imagination(1.0), agent.actor(start.features).mode()
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
    features = torch.cat(states)
    came = episode.observations[decision + 1 : decision + 1 + len(states)]
    pictures = _beside(pictures_of(spec, came), agent.world.decode(features))
    vectors = _beside(vectors_of(spec, came), decode_vector(agent.world, features))
    if pictures is None and vectors is None:
        return None
    paid = float(episode.rewards[decision : decision + len(states)].sum())
    return Dream(decision, len(states), predicted, paid, pictures, vectors)


def pictures_of(spec: ObservationSpec, observations: np.ndarray) -> np.ndarray | None:
    """Return the pictures (N, H, W, 3) uint8 of observations (N, ...); None where they have none."""
    pictures = [picture for one in observations if (picture := spec.picture(one)) is not None]
    return np.stack(pictures) if pictures else None


def vectors_of(spec: ObservationSpec, observations: np.ndarray) -> np.ndarray | None:
    """Return the vectors (N, n) float32 of observations (N, ...); None where they have none."""
    vectors = [vector for one in observations if (vector := spec.numbers(one)) is not None]
    return np.stack(vectors) if vectors else None


def _beside(real: np.ndarray | None, dreamt: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return both, where there are both and they are of one shape."""
    return (real, dreamt) if real is not None and dreamt is not None and real.shape == dreamt.shape else None
