"""The memory that a pool and its workers share: what each copy is to do, what came of it, and how far each worker is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wmloop.envs.actions import LONGEST
from wmloop.envs.observations import LARGEST_BYTES
from wmloop.spaces import ActionSpec, ObservationSpec

#: What an action takes, at most.
_ACTION_BYTES = 8 * LONGEST
#: What is told of a copy's latest decision, beside its observation (see PoolStep).
_TOLD = np.dtype(
    [
        ("reward", np.float32),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("frames", np.int64),
        ("cut", np.int8),
    ]
)


class SharedMemory(NamedTuple):
    """Memory for `num_envs` copies, whatever they take and show, and for their workers; it is handed to these.

    `driven` is the copy at work in each worker, so that the pool can tell which one a dead or hung worker was driving, and
    `steps` counts what each has done, so that a slow worker is told from a hung one.
    """

    num_envs: int
    given: Any
    seen: Any
    told: Any
    driven: Any
    steps: Any

    @classmethod
    def of(cls, context: Any, num_envs: int, num_workers: int) -> SharedMemory:
        """Return memory of a multiprocessing context."""
        return cls(
            num_envs,
            context.RawArray("B", num_envs * _ACTION_BYTES),
            context.RawArray("B", num_envs * LARGEST_BYTES),
            context.RawArray("B", num_envs * _TOLD.itemsize),
            context.RawArray("q", [-1] * num_workers),
            context.RawArray("q", num_workers),
        )

    def view(self, actions: ActionSpec, observations: ObservationSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return views: the actions of all copies (N, ...), what they show (N, ...), and what is told of them, (N,) records."""
        given, seen = (
            np.frombuffer(memory, spec.dtype, self.num_envs * math.prod(spec.shape)).reshape(self.num_envs, *spec.shape)
            for memory, spec in ((self.given, actions), (self.seen, observations))
        )
        return given, seen, np.frombuffer(self.told, _TOLD)
