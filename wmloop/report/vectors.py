"""What M makes of observed vectors: one agent step ahead, and in open-loop dreams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from wmloop.agents.world_model import WorldModelAgent
from wmloop.episodes import Episode
from wmloop.models.world_model import decode_vector
from wmloop.report.branches import Branches, Seen
from wmloop.report.episode import vectors_of
from wmloop.spaces import ObservationSpec


class VectorTrack(NamedTuple):
    """An open-loop dream beside reality: vectors (T+1, n) from where it branched off, at `decision`."""

    seed: int
    decision: int
    real: np.ndarray
    dreamt: np.ndarray


class VectorProbe(NamedTuple):
    """M's work on vectors of n numbers, in fresh episodes that C drove without noise.

    `deviation` (n,) is each number's over all of these; `error` (n,) the root mean square of what M expects of it an agent
    step ahead less what came, and `change` (n,) of what came less what was before. `dream_error` and `stay_error` (T,) are root
    mean squares over the numbers, in deviations, after 1, 2, ... decisions of a dream, and of what it branched off from.
    """

    deviation: np.ndarray
    error: np.ndarray
    change: np.ndarray
    tracks: Sequence[VectorTrack]
    dream_error: np.ndarray
    stay_error: np.ndarray


def probe_vectors(
    agent: WorldModelAgent, spec: ObservationSpec, episodes: Sequence[Episode], seen: Sequence[Seen], branches: Branches
) -> VectorProbe:
    """Hold M's words against the vectors that were observed."""
    observed = [_vectors(spec, episode.observations) for episode in episodes]
    deviation = np.concatenate(observed).std(0, dtype=np.float64)
    errors, changes = [], []
    for real, held in zip(observed, seen, strict=True):
        ahead = agent.world.expected(agent.world.advance(held.state, held.action))
        errors.append(_decoded(agent, ahead.features) - real[1:])
        changes.append(np.diff(real, axis=0))
    dreamt = np.stack([_decoded(agent, features) for features in branches.features])  # (T, N, n)
    real = np.stack([[observed[i][t + k] for i, t in branches.places] for k in range(len(dreamt) + 1)])
    tracks = [
        VectorTrack(episodes[i].seed, t, real[:, n], np.concatenate([real[:1, n], dreamt[:, n]]))
        for n in branches.some()
        for i, t in [branches.places[n]]
    ]
    unit = np.where(deviation > 0, deviation, np.inf)  # what never changes has no error in deviations
    return VectorProbe(
        deviation, _rms(np.concatenate(errors), 0), _rms(np.concatenate(changes), 0), tracks,
        _rms((dreamt - real[1:]) / unit, (1, 2)), _rms((real[:1] - real[1:]) / unit, (1, 2)),
    )  # fmt: skip


def _vectors(spec: ObservationSpec, observations: np.ndarray) -> np.ndarray:
    vectors = vectors_of(spec, observations)
    assert vectors is not None, "they are observed"
    return vectors


def _decoded(agent: WorldModelAgent, features: Tensor) -> np.ndarray:
    vectors = decode_vector(agent.world, features)
    assert vectors is not None, "it has told others"
    return vectors


def _rms(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.sqrt(np.square(values.astype(np.float64)).mean(axis)))
