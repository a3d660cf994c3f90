"""What the rollouts of a run hold: episodes, observations, the actions they are driven by, the unit of rewards."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.commands import wmloop
from wmloop.config import WorldModelConfig
from wmloop.episodes import Episode, unpack
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.spaces import ActionSpec, recorded
from wmloop.store import Version

#: The file in which a stage that drives records what it drove by.
ACTIONS = "actions.json"


def reward_scale(config: WorldModelConfig, rollouts: Sequence[Version]) -> float:
    """Return the unit of rewards: as configured, or the root mean square that the first rollout with any has recorded."""
    if config.memory.reward_scale != "auto":
        return config.memory.reward_scale
    recorded = (version.metrics.get("reward_rms", 0.0) for version in rollouts)
    return next((rms for rms in recorded if rms > 0), 1.0)


def episodes_of(version: Version, observed: bool = True) -> Iterator[Episode]:
    """Yield the episodes of a rollout version in order; one shard is held at a time.

    Raises:
        StoreCorruptError: a shard does not hold what its names promise.
    """
    shape = None
    for shard in sorted(name for name in version.files if name.startswith("episodes-")):
        try:
            for episode in unpack(version.tensors(shard), observed):
                shape = shape or episode.observations.shape[1:]
                if episode.observations.shape[1:] != shape:
                    raise ValueError(f"it has observations of shape {shape} and {episode.observations.shape[1:]}")
                yield episode
        except (KeyError, IndexError, ValueError, zlib.error) as error:
            raise StoreCorruptError(f"{version.name}/{shard} is no shard of episodes: {error}") from error


def gather_frames(versions: Sequence[Version], rows: np.ndarray) -> np.ndarray:
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


def require_same_actions(rollouts: Sequence[Version], actions: ActionSpec) -> None:
    """Refuse an environment whose actions are not those that the newest of a run's rollouts was driven with.

    Raises:
        UsageError: they are others; nothing where no rollout tells.
    """
    driven = last_actions(rollouts)
    if driven is not None and driven.record() != actions.record():
        raise UsageError(
            f"the environment's actions lie {actions} now, and {driven} when the run drove it: what was learnt is of another"
            f" environment. Bring that back, or begin anew with `{wmloop('start')}`"
        )


def last_actions(rollouts: Sequence[Version]) -> ActionSpec | None:
    """Return the actions that the newest of a run's rollouts was driven by; None where there is none, or it does not tell."""
    return actions_of(rollouts[-1]) if rollouts and ACTIONS in rollouts[-1].files else None


def actions_of(rollout: Version) -> ActionSpec:
    """Return the actions that a rollout was driven by, as it recorded them."""
    return recorded(rollout.json(ACTIONS))


class Frames:
    """The observations of training batches, those of `steps` at a time on the device: memory does not grow with a run."""

    def __init__(
        self, rollouts: Sequence[Version], steps: int, rows: Callable[[int], np.ndarray], device: torch.device
    ) -> None:
        self._rollouts, self._steps, self._rows, self._device = rollouts, max(1, steps), rows, device
        self._first, self._held = -1, torch.empty(0, dtype=torch.uint8)

    def of(self, step: int) -> Tensor:
        """Return the observations (B, ...) of the batch of `step`."""
        first = step - step % self._steps
        if first != self._first:
            rows = [self._rows(i) for i in range(first, first + self._steps)]
            # the old ones go before the new ones come
            self._first, self._held = first, torch.empty(0, dtype=torch.uint8)
            frames = gather_frames(self._rollouts, np.concatenate(rows))
            self._held = torch.from_numpy(frames).to(self._device).unflatten(0, (self._steps, -1))
        return self._held[step - first]
