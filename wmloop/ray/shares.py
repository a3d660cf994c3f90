"""How the copies of a wave are dealt to actors, and what an actor makes of its own: a wave with places for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmloop.agents.collector import halves
from wmloop.envs import Envs, PoolStep


def dealt(count: int, num_envs: int, actors: int) -> list[list[int]]:
    """Return which of the first `count` of `num_envs` copies each actor drives: as many each, give or take one.

    An actor's policy looks at a whole half of the copies, its own and idle ones, for its numbers depend in their last bits on
    how many it looks at. So one actor at most has copies of both halves.
    """
    order = [copy for half in halves(num_envs) for copy in half if copy < count]
    bounds = [round(i * count / actors) for i in range(actors + 1)]
    shares = [order[begin:end] for begin, end in itertools.pairwise(bounds)]
    return [share for share in shares if share]


class _Part(NamedTuple):
    """An actor's own copies of a half: which rows they are there, and where they are in its pool."""

    rows: list[int]
    here: range


class Places:
    """The copies of a pool as some of many (see envs.engine.Envs): all others idle, and show nothing."""

    def __init__(self, pool: Envs, own: Sequence[int], num_envs: int) -> None:
        """Let the first copies of `pool` be those that `own` names, among `num_envs`."""
        self.num_envs, self.actions, self.observations = num_envs, pool.actions, pool.observations
        self._pool = pool
        self._parts: dict[range, _Part] = {}
        self._own: list[int] = []
        for half in halves(num_envs):
            rows = [row for row, copy in enumerate(half) if copy in own]
            if rows:
                self._parts[half] = _Part(rows, range(len(self._own), len(self._own) + len(rows)))
                self._own += [half[row] for row in rows]

    @property
    def parts(self) -> list[range]:
        """Return the halves in which there are own copies."""
        return list(self._parts)

    def reset(self, seeds: Sequence[int | None], decisions: Sequence[int | None] | None = None) -> np.ndarray:
        """Begin an episode in every own copy that has a seed; return all observations (N, ...)."""
        limits, idle = decisions or [None] * self.num_envs, [None] * (self._pool.num_envs - len(self._own))
        begun = self._pool.reset([*(seeds[i] for i in self._own), *idle], [*(limits[i] for i in self._own), *idle])
        return _spread(begun[: len(self._own)], self._own, self.num_envs)

    def send(self, copies: range, actions: np.ndarray) -> None:
        """Let the own ones of a half take one decision, their rows of `actions`."""
        part = self._parts[copies]
        self._pool.send(part.here, actions[part.rows])

    def receive(self) -> tuple[range, PoolStep]:
        """Wait until one `send` is done, and return its half and what came of it."""
        here, step = self._pool.receive()
        copies, part = next((half, part) for half, part in self._parts.items() if part.here == here)
        return copies, PoolStep(*(_spread(array, part.rows, len(copies)) for array in step))

    def pin_thread(self, copies: range) -> None:
        """Do nothing: the thread has its core."""

    def close(self) -> None:
        """Do nothing: the pool stays."""

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spread(array: np.ndarray, rows: Sequence[int], count: int) -> np.ndarray:
    spread = np.zeros((count, *array.shape[1:]), array.dtype)
    spread[rows] = array
    return spread
