"""What the rollouts of a run hold: episodes, observations, the actions they are driven by, the unit of rewards."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from wmloop.commands import wmloop
from wmloop.config import VisionMemoryConfig
from wmloop.envs.shrinking import SHOWN
from wmloop.episodes import Episode, unpack
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.spaces import ActionSpec, ObservationSpec, PictureAndVector, recorded, recorded_observations
from wmloop.store import Draft, Version

#: The file in which a stage that drives records what it drove by.
ACTIONS = "actions.json"
#: And that which says what it saw, where that is no picture.
OBSERVATIONS = "observations.json"
_SHARD = "episodes-"
_ANOTHER = (
    f"when its episodes were collected: the agent learnt another environment. Restore that one, or start a new run with"
    f" `{wmloop('start')}`"
)
#: A little more than a compressed picture of a drawn world takes on the disk.
BYTES_A_DECISION = 2048


def shard_file(wave: int) -> str:
    """Return the name of the file that holds the episodes of a wave, as episodes.pack has them."""
    return f"episodes-{wave:04d}.safetensors"


def reward_scale(config: VisionMemoryConfig, rollouts: Sequence[Version]) -> float:
    """Return the unit of rewards: as configured, or the root mean square that the first rollout with any has recorded."""
    if config.memory.reward_scale != "auto":
        return config.memory.reward_scale
    recorded = (version.metrics.get("reward_rms", 0.0) for version in rollouts)
    return next((rms for rms in recorded if rms > 0), 1.0)


def episodes_of(version: Version, observed: bool = True) -> Iterator[Episode]:
    """Yield the episodes of a rollout version in order; one shard is held at a time.

    Raises:
        StoreCorruptError: a shard does not hold what its names promise.
        UsageError: one was pruned.
    """
    shape = None
    for shard in sorted(name for name in (*version.files, *version.pruned) if name.startswith(_SHARD)):
        try:
            for episode in unpack(version.tensors(shard), observed):
                shape = shape or episode.observations.shape[1:]
                if episode.observations.shape[1:] != shape:
                    raise ValueError(f"it has observations of shape {shape} and {episode.observations.shape[1:]}")
                yield episode
        except (KeyError, IndexError, ValueError, zlib.error) as error:
            raise StoreCorruptError(f"{version.name}/{shard} is no shard of episodes: {error}") from error


def has_episodes(version: Version) -> bool:
    """Tell whether a version of a stage that collects kept its episodes, and not only what they paid: they may be pruned."""
    return any(name.startswith(_SHARD) for name in (*version.files, *version.pruned))


def sample_observations(rollout: Version, most: int) -> np.ndarray:
    """Return up to `most` observations (N, ...) of a rollout, spread over it."""
    rows = int(rollout.metrics["decisions"] + rollout.metrics["episodes"])
    return gather_observations([rollout], spread(rows, most))


def spread(rows: int, most: int) -> np.ndarray:
    """Return up to `most` of so many rows, the first, the last and those between at equal distances, to a row."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)


def gather_observations(versions: Sequence[Version], rows: np.ndarray) -> np.ndarray:
    """Return the observations (N, ...) of `rows` (N,), counted over rollout versions as in episodes.Replay."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    frames = np.empty(0)
    first = 0
    for version in versions:
        for episode in episodes_of(version):
            if first == 0:  # it tells what they look like
                frames = np.empty((len(rows), *episode.observations.shape[1:]), episode.observations.dtype)
            here = slice(*np.searchsorted(ascending, (first, first + len(episode) + 1)))
            frames[order[here]] = episode.observations[ascending[here] - first]
            first += len(episode) + 1
    return frames


def require_same_actions(driven: ActionSpec | None, actions: ActionSpec) -> None:
    """Refuse an environment whose actions are not those by which episodes were driven, where these are known.

    Raises:
        UsageError: they are others.
    """
    if driven is not None and driven.record() != actions.record():
        raise UsageError(f"the environment's actions are {actions} now, and were {driven} {_ANOTHER}")


def require_same_observations(seen: ObservationSpec | None, observations: ObservationSpec) -> None:
    """Refuse an environment that shows something else than episodes had, where that is known.

    Raises:
        UsageError: it does.
    """
    if seen is not None and seen.record() != observations.record():
        raise UsageError(
            f"the environment's observations are {_shown(observations)} now, and were {_shown(seen)} {_ANOTHER}"
        )


def require_same_spaces(rollouts: Sequence[Version], actions: ActionSpec, observations: ObservationSpec) -> None:
    """Refuse an environment that takes or shows what the newest of a run's rollouts does not have, where that is known.

    Raises:
        UsageError: its actions or its observations are others.
    """
    require_same_actions(last_actions(rollouts), actions)
    require_same_observations(last_observations(rollouts), observations)


def _shown(spec: ObservationSpec) -> str:
    if isinstance(spec, PictureAndVector):
        return f"{_shown(spec.pixels)} beside {_shown(spec.vector)}"
    return f"{np.dtype(spec.dtype)} {tuple(spec.shape)}"


def record_spaces(draft: Draft, actions: ActionSpec, observations: ObservationSpec) -> None:
    """Record in a draft what its episodes were driven by and what they saw, unless it is what pictures are read as."""
    draft.save_json(ACTIONS, actions.record())
    if observations != SHOWN:
        draft.save_json(OBSERVATIONS, observations.record())


def last_actions(rollouts: Sequence[Version]) -> ActionSpec | None:
    """Return the actions that the newest of a run's rollouts was driven by; None where there is none, or it does not tell."""
    return actions_of(rollouts[-1]) if rollouts and ACTIONS in rollouts[-1].files else None


def told_observations(version: Version) -> ObservationSpec | None:
    """Return what a version recorded that was seen; None where it recorded nothing, as of pictures alone."""
    return recorded_observations(version.json(OBSERVATIONS)) if OBSERVATIONS in version.files else None


def last_observations(rollouts: Sequence[Version]) -> ObservationSpec | None:
    """Return what the newest of a run's rollouts saw; None where there is none, or it does not tell."""
    if not rollouts or ACTIONS not in rollouts[-1].files:
        return None
    return told_observations(rollouts[-1]) or SHOWN


def actions_of(rollout: Version) -> ActionSpec:
    """Return the actions that a rollout was driven by, as it recorded them."""
    return recorded(rollout.json(ACTIONS))


def observations_of(rollout: Version) -> ObservationSpec:
    """Return what a rollout saw, as it recorded it; pictures where it recorded nothing."""
    return told_observations(rollout) or SHOWN
