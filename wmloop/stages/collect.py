"""Drive episodes in the real environment, a wave of copies at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from wmloop.envs import EnvPool
from wmloop.episodes import Episode

Decide = Callable[[int, np.ndarray], np.ndarray]
"""(t, frames (N, 64, 64, 3)) -> actions (N, A): called once a decision for all copies of a wave."""


#: More decisions than any episode has.
UNLIMITED = 1_000_000


class Task(NamedTuple):
    """One episode to drive: the environment's seed, at most `decisions` decisions, and whether without noise."""

    seed: int
    decisions: int
    quiet: bool = False


def waves(tasks: Sequence[Task], num_envs: int) -> list[list[Task]]:
    """Cut tasks into waves of at most `num_envs`."""
    return [list(tasks[i : i + num_envs]) for i in range(0, len(tasks), num_envs)]


def drive(
    pool: EnvPool, wave: Sequence[Task], decide: Decide, tick: Callable[[int, np.ndarray], None]
) -> list[Episode]:
    """Drive one wave and return its episodes, in the order of its tasks.

    `tick(frames, observations)` is called after each decision with the real frames it took; it may raise to give up.
    """
    count = len(wave)
    idle: list[int | None] = [None] * (pool.num_envs - count)
    observation = pool.reset([*(task.seed for task in wave), *idle], [*(task.decisions for task in wave), *idle])
    seen = [[observation[i]] for i in range(count)]
    acted: list[list[np.ndarray]] = [[] for _ in range(count)]
    paid: list[list[float]] = [[] for _ in range(count)]
    frames = np.zeros(count, np.int64)
    ends = [(False, False)] * count
    running = np.zeros(pool.num_envs, bool)
    running[:count] = True
    t = 0
    while running.any():
        actions = decide(t, observation)
        step = pool.step(actions)
        t += 1
        for i in np.flatnonzero(running):
            seen[i].append(step.obs[i])
            acted[i].append(actions[i])
            paid[i].append(float(step.reward[i]))
            frames[i] += step.frames[i]
            ends[i] = (bool(step.terminated[i]), bool(step.truncated[i]))
            running[i] = not any(ends[i])
        observation = step.obs
        tick(int(step.frames.sum()), observation)
    return [
        Episode(
            np.stack(seen[i]), np.stack(acted[i]).astype(np.float32), np.array(paid[i], np.float32),
            *ends[i], seed=task.seed, frames=int(frames[i]), quiet=task.quiet,
        )
        for i, task in enumerate(wave)
    ]  # fmt: skip
