"""What the rollouts of a run hold: episodes, pictures, bounds of actions, the unit of rewards."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.config import WorldModelConfig
from wmloop.envs import IMAGE_SIZE
from wmloop.episodes import Episode, unpack
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.store import Version


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
    for shard in sorted(name for name in version.files if name.startswith("episodes-")):
        try:
            for episode in unpack(version.tensors(shard), observed):
                if episode.observations.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
                    raise ValueError(f"its pictures have the shape {episode.observations.shape[1:]}")
                yield episode
        except (KeyError, IndexError, ValueError, zlib.error) as error:
            raise StoreCorruptError(f"{version.name}/{shard} is no shard of episodes: {error}") from error


def gather_frames(versions: Sequence[Version], rows: np.ndarray) -> np.ndarray:
    """Return the observations (N, 64, 64, 3) uint8 of `rows` (N,), counted over rollout versions as in episodes.Replay."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    frames = np.empty((len(rows), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    first = 0
    for version in versions:
        for episode in episodes_of(version):
            here = slice(*np.searchsorted(ascending, (first, first + len(episode) + 1)))
            frames[order[here]] = episode.observations[ascending[here] - first]
            first += len(episode) + 1
    return frames


def require_same_actions(rollouts: Sequence[Version], low: np.ndarray, high: np.ndarray) -> None:
    """Refuse an environment whose actions are not those that the newest of a run's rollouts was driven with.

    Raises:
        UsageError: they have other bounds (A,); nothing where no rollout tells.
    """
    newest = rollouts[-1] if rollouts else None
    if newest is None or "actions.json" not in newest.files:
        return
    bounds = newest.json("actions.json")
    if bounds["low"] != low.tolist() or bounds["high"] != high.tolist():
        raise UsageError(
            f"the environment's actions lie in {low.tolist()} to {high.tolist()} now, and in {bounds['low']} to"
            f" {bounds['high']} when the run drove it: what was learnt is of another environment. Bring that back, or begin"
            " anew with `wmloop start`"
        )


def action_bounds(rollout: Version) -> tuple[np.ndarray, np.ndarray]:
    """Return the environment's action bounds (A,), as a rollout recorded them."""
    bounds = rollout.json("actions.json")
    return np.array(bounds["low"], np.float32), np.array(bounds["high"], np.float32)


class Frames:
    """The pictures of training batches, those of `steps` batches on the device at a time: memory does not grow with a run."""

    def __init__(
        self, rollouts: Sequence[Version], steps: int, rows: Callable[[int], np.ndarray], device: torch.device
    ) -> None:
        self._rollouts, self._steps, self._rows, self._device = rollouts, max(1, steps), rows, device
        self._first, self._held = -1, torch.empty(0, dtype=torch.uint8)

    def of(self, step: int) -> Tensor:
        """Return the pictures (B, 64, 64, 3) uint8 of the batch of `step`."""
        first = step - step % self._steps
        if first != self._first:
            rows = [self._rows(i) for i in range(first, first + self._steps)]
            # the old ones go before the new ones come
            self._first, self._held = first, torch.empty(0, dtype=torch.uint8)
            frames = gather_frames(self._rollouts, np.concatenate(rows))
            self._held = torch.from_numpy(frames).to(self._device).view(self._steps, -1, IMAGE_SIZE, IMAGE_SIZE, 3)
        return self._held[step - first]
