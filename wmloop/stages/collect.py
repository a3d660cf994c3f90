"""Drive episodes in the real environment, many copies at a time, in two halves: one is looked at, one is stepped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from wmloop.envs import EnvPool, PoolStep
from wmloop.episodes import Episode

#: More decisions than any episode has.
UNLIMITED = 1_000_000
#: Tasks of a wave for each copy: more leave fewer copies idle at its end, and all of it lies in memory until then.
_TASKS_A_COPY = 4


class Task(NamedTuple):
    """One episode to drive: the environment's seed, at most `decisions` decisions, and whether without noise."""

    seed: int
    decisions: int
    quiet: bool = False


class Turn(NamedTuple):
    """What a copy is to decide: decision `t` of the episode of its wave's task number `task`."""

    task: int
    t: int


Decide = Callable[[range, Sequence[Turn | None], np.ndarray], np.ndarray]
"""(copies, turns, frames (n, 64, 64, 3)) -> actions (n, A): called once a decision for each half of the copies.

A copy without a turn is not driving; its frame is of long ago, and its action is not taken.
"""


def wave_size(num_envs: int) -> int:
    """Return how many tasks a wave may have."""
    return _TASKS_A_COPY * num_envs


def waves(tasks: Sequence[Task], num_envs: int) -> list[list[Task]]:
    """Cut tasks into as few waves as hold them, about equally long."""
    count = math.ceil(len(tasks) / wave_size(num_envs))
    return [list(tasks[i * len(tasks) // count : (i + 1) * len(tasks) // count]) for i in range(count)]


def halves(num_envs: int) -> list[range]:
    """Return the copies that are driven together: every second one, so that each half keeps half of the workers busy.

    They do not depend on the machine, for a policy's numbers depend in their last bits on how many it looks at.
    """
    return [range(k, num_envs, 2) for k in range(min(2, num_envs))]


def drive(
    pool: EnvPool, wave: Sequence[Task], decide: Decide, tick: Callable[[int, np.ndarray | None], None],
    enough: float = math.inf,
) -> dict[int, Episode]:  # fmt: skip
    """Drive one wave and return its episodes by the numbers of their tasks, in order.

    The halves are driven independently: neither waits for the other. Each has every second task, and a copy whose episode
    has ended takes its half's next one at once, unless the half has driven its share of `enough` frames; so what is driven
    does not depend on anybody's pace. `tick(frames, observation)` is called after each decision of either with the real
    frames it took and, now and then, the picture of the first copy; it may raise to give up.
    """
    parts = halves(pool.num_envs)
    left = {copies: iter(range(k, len(wave), len(parts))) for k, copies in enumerate(parts)}
    frames = dict.fromkeys(parts, 0)
    under_way: dict[int, _UnderWay] = {}
    episodes: dict[int, Episode] = {}

    def begin(copies: range) -> dict[int, tuple[int, int]]:
        """Give the free ones of `copies` their half's next tasks; return these, for the pool."""
        starts: dict[int, tuple[int, int]] = {}
        for copy in copies:
            if copy not in under_way and frames[copies] < enough / len(parts):
                number = next(left[copies], None)
                if number is not None:
                    under_way[copy] = _UnderWay(number, wave[number])
                    starts[copy] = wave[number].seed, wave[number].decisions
        return starts

    def ask(copies: range, pictures: np.ndarray) -> bool:
        """Ask for a half's next decision and send it; return whether there was anything to do."""
        turns = [Turn(one.number, len(one.actions)) if (one := under_way.get(copy)) else None for copy in copies]
        starts = begin(copies)
        if not starts and not any(turns):
            return False
        actions = decide(copies, turns, pictures)
        for copy, turn, action in zip(copies, turns, actions, strict=True):
            if turn:
                under_way[copy].actions.append(action)
        pool.send(copies, actions, starts)
        return True

    with _beside(pool):
        driving = 0
        for copies in parts:
            if starts := begin(copies):
                pool.send(copies, np.zeros((len(copies), len(pool.action_low)), np.float32), starts)
                driving += 1
        while driving:
            copies, step = pool.receive()
            frames[copies] += int(step.frames.sum())
            for place, copy in enumerate(copies):
                if one := under_way.get(copy):
                    one.note(step, place)
                    if one.ended:
                        episodes[one.number] = under_way.pop(copy).episode()
            tick(int(step.frames.sum()), step.obs[0] if copies.start == 0 else None)
            driving -= not ask(copies, step.obs)
    return dict(sorted(episodes.items()))


class _UnderWay:
    """What has been driven of one episode, that of a wave's task `number`."""

    def __init__(self, number: int, task: Task) -> None:
        self.number, self._task = number, task
        self._pictures, self.actions, self._rewards = list[np.ndarray](), list[np.ndarray](), list[float]()
        self._frames = 0
        self._terminated = self._truncated = False

    @property
    def ended(self) -> bool:
        return self._terminated or self._truncated

    def note(self, step: PoolStep, place: int) -> None:
        """Keep what a step brought: the first brings the first picture, each other one what came of an action."""
        if self._pictures:
            self._rewards.append(float(step.reward[place]))
            self._frames += int(step.frames[place])
            self._terminated, self._truncated = bool(step.terminated[place]), bool(step.truncated[place])
        self._pictures.append(step.obs[place])

    def episode(self) -> Episode:
        return Episode(
            np.stack(self._pictures), np.stack(self.actions).astype(np.float32), np.array(self._rewards, np.float32),
            self._terminated, self._truncated, seed=self._task.seed, frames=self._frames, quiet=self._task.quiet,
        )  # fmt: skip


@contextlib.contextmanager
def _beside(pool: EnvPool) -> Iterator[None]:
    """Leave the cores to the workers: a second thread would wait, awake, on the core of one (docs/performance.md).

    Products of a few rows are slower, too, where their factors may be rounded.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        pool.stay_with(range(pool.num_envs))
