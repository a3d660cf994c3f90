"""Drive episodes in the real environment, a wave of copies at a time, in two halves: one is looked at, one is stepped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from wmloop.agents.agent import Agent, Exploration
from wmloop.envs import Envs, PoolStep
from wmloop.episodes import Cut, Episode
from wmloop.errors import DraftUnusableError, UsageError
from wmloop.spaces import ActionSpec

Explore = Callable[[int, range], Exploration]
"""(t, copies) -> how the agent of these copies explores at its decision t. Called once for each, in order."""

Tick = Callable[[int, "EpisodeSoFar | None"], None]
"""(frames, episode) of a decision: the real frames it took, and the wave's first episode where it has gone on by it."""

#: More decisions than any episode has.
UNLIMITED = 1_000_000


class EpisodeTask(NamedTuple):
    """One episode to drive: the environment's seed, at most `decisions` decisions, and whether without noise."""

    seed: int
    decisions: int
    deterministic: bool = False


def waves(tasks: Sequence[EpisodeTask], num_envs: int) -> list[list[EpisodeTask]]:
    """Cut tasks into waves of at most `num_envs`."""
    return [list(tasks[i : i + num_envs]) for i in range(0, len(tasks), num_envs)]


def require_wave(saved: Sequence[object], wave: Sequence[EpisodeTask], name: str) -> None:
    """Refuse a saved wave of another length: env.num_envs was another one when the interrupted attempt at `name` drove it.

    Raises:
        DraftUnusableError: it is; the stage begins anew.
    """
    if len(saved) != len(wave):
        raise DraftUnusableError(
            f"{name} was begun with {len(saved)} parallel episodes and would continue with {len(wave)} (env.num_envs)"
        )


def halves(num_envs: int) -> list[range]:
    """Return the copies that are driven together: every second one, so that each half keeps half of the workers busy.

    They do not depend on the machine, for a policy's numbers depend in their last bits on how many it looks at.
    """
    return [range(k, num_envs, 2) for k in range(min(2, num_envs))]


def drive(
    pool: Envs, wave: Sequence[EpisodeTask], agents: Mapping[range, Agent[Any]],
    tick: Tick, explore: Explore | None = None,
    note: Callable[[range, Any], None] | None = None,
) -> list[Episode]:  # fmt: skip
    """Drive one wave and return its episodes, in the order of its tasks.

    `agents` are who decides in each of `halves`. These are driven independently: neither waits for the other.
    `tick` is called after each decision of either and may raise to give up. Without `explore` agents act by their
    deterministic policy. `note(copies, carry)` takes in what they carry away from each decision.

    Raises:
        UsageError: what was decided are no actions of the environment.
    """
    count = len(wave)
    idle: list[int | None] = [None] * (pool.num_envs - count)
    first = pool.reset([*(task.seed for task in wave), *idle], [*(task.decisions for task in wave), *idle])
    driven = {copies: _Half(wave[copies.start :: copies.step], first[copies.start :: copies.step]) for copies in agents}
    under_way = set(agents)
    carries = {copies: agent.start(len(copies)) for copies, agent in agents.items()}

    def act(copies: range, seen: np.ndarray) -> None:
        """Ask for a half's next decision unless all its episodes have ended."""
        half = driven[copies]
        if half.ended:
            under_way.remove(copies)
            return
        exploration = explore(len(half.actions), copies) if explore else None
        actions, carries[copies] = agents[copies].act(carries[copies], seen, exploration)
        if actions.shape != (wanted := (len(copies), *pool.actions.shape)):
            raise UsageError(f"an agent returned actions of shape {actions.shape} where the environment takes {wanted}")
        half.actions.append(actions)
        if note is not None:
            note(copies, carries[copies])
        pool.send(copies, actions)

    with _inference_threads(pool):
        for copies in agents:
            act(copies, first[copies.start :: copies.step])
        while under_way:
            copies, step = pool.receive()
            half = driven[copies]
            going_on = copies.start == 0 and not half.over[0]
            half.note(step)
            tick(int(step.frames.sum()), EpisodeSoFar(half) if going_on else None)
            act(copies, step.obs)
    episodes = {copies: iter(half.episodes(pool.actions)) for copies, half in driven.items()}
    return [next(episodes[next(copies for copies in episodes if copy in copies)]) for copy in range(count)]


class _Half:
    """What has been driven of the copies that are driven together, one for each of `tasks` and perhaps more that idle."""

    def __init__(self, tasks: Sequence[EpisodeTask], observations: np.ndarray) -> None:
        self._tasks, self._steps = tasks, list[PoolStep]()
        self.seen, self.actions = [observations], list[np.ndarray]()
        self.over = np.arange(len(observations)) >= len(tasks)

    @property
    def ended(self) -> bool:
        """Tell whether all episodes have ended."""
        return bool(self.over.all())

    def note(self, step: PoolStep) -> None:
        """Take in what a decision brought."""
        self.seen.append(step.obs)
        self._steps.append(step)
        self.over |= step.terminated | step.truncated

    def episodes(self, spec: ActionSpec) -> list[Episode]:
        """Return the episodes, in the order of the tasks."""
        if not self._tasks:
            return []
        reward, terminated, truncated, frames, cut = (
            np.stack([step[field] for step in self._steps]) for field in range(1, len(PoolStep._fields))
        )
        lengths = np.argmax(terminated | truncated, 0) + 1
        return [
            Episode(
                np.stack([seen[place] for seen in self.seen[: length + 1]]),
                np.stack([action[place] for action in self.actions[:length]]).astype(spec.dtype),
                reward[:length, place].astype(np.float32),
                bool(terminated[length - 1, place]),
                bool(truncated[length - 1, place]),
                seed=task.seed,
                frames=int(frames[:length, place].sum()),
                deterministic=task.deterministic,
                cut=Cut(cut[length - 1, place]),
            )
            for place, (task, length) in enumerate(zip(self._tasks, lengths, strict=False))
        ]


class EpisodeSoFar:
    """What has been driven of the first episode of a half, in the environment's units."""

    def __init__(self, half: _Half) -> None:
        self._half = half

    @property
    def ended(self) -> bool:
        """Tell whether it has come to its end."""
        return bool(self._half.over[0])

    @property
    def observation(self) -> np.ndarray:
        """Return what it shows now."""
        shown: np.ndarray = self._half.seen[-1][0]
        return shown

    def latest(self, steps: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return its last observations (T+1) and actions (T), of at most so many agent steps."""
        half = self._half
        return [seen[0] for seen in half.seen[-steps - 1 :]], [action[0] for action in half.actions[-steps:]]


@contextlib.contextmanager
def _inference_threads(pool: Envs) -> Iterator[None]:
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
        pool.pin_thread(range(pool.num_envs))
