"""Drive episodes in the real environment, a wave of copies at a time, in two halves: one is looked at, one is stepped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from wmloop.agents.agent import Agent, Exploration
from wmloop.agents.recorder import Recorder
from wmloop.envs import Envs, PoolStep
from wmloop.envs.steps import UNLIMITED
from wmloop.episodes import Cut, Episode
from wmloop.errors import DraftUnusableError, UsageError
from wmloop.spaces import ActionSpec

T = TypeVar("T")
Explore = Callable[[int, range], Exploration]
"""(t, copies) -> how the agent of these copies explores at its decision t. Called once for each, in order."""

Tick = Callable[[int, "EpisodeSoFar | None"], None]
"""(frames, episode) of a decision: the real frames it took, and the wave's first episode where it has gone on by it."""


@runtime_checkable
class Announces(Protocol):
    """What a Tick may do besides: tell people what happens to the machines that drive."""

    def announce(self, text: str, level: str = "info") -> None:
        """Tell it, in a line of a level as events.Message has it."""


class EpisodeTask(NamedTuple):
    """One episode to drive: the environment's seed, at most `decisions` decisions, and whether without noise."""

    seed: int
    decisions: int = UNLIMITED
    deterministic: bool = False


def waves(tasks: Sequence[T], num_envs: int) -> list[list[T]]:
    """Cut episodes into waves of at most `num_envs`."""
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


@runtime_checkable
class DrivesEpisodes(Protocol):
    """What an engine may do besides (see envs.engine.Envs): drive whole waves, with the agents where its environments are."""

    def drive(
        self, wave: Sequence[EpisodeTask], agents: Mapping[range, Agent[Any]],
        tick: Tick, explore: Explore | None, trace: Recorder | None,
    ) -> list[Episode]:  # fmt: skip
        """Do what `drive` does, to the bit; `agents`, `explore` and an empty `trace` can be pickled."""


def drive(
    pool: Envs, wave: Sequence[EpisodeTask], agents: Mapping[range, Agent[Any]],
    tick: Tick, explore: Explore | None = None, trace: Recorder | None = None,
) -> list[Episode]:  # fmt: skip
    """Drive one wave and return its episodes, in the order of its tasks.

    `agents` are who decides in each of `halves`. These are driven independently: neither waits for the other.
    `tick` is called after each decision of either and may raise to give up. Without `explore` agents act by their
    deterministic policy. `trace` takes in what they carry away from each decision. An engine that drives whole waves itself
    is left to (see DrivesEpisodes).

    Raises:
        UsageError: what was decided are no actions of the environment.
    """
    if isinstance(pool, DrivesEpisodes):
        return pool.drive(wave, agents, tick, explore, trace)
    driven = Driving(pool, wave, agents, explore, trace)
    for frames, episode in driven:
        tick(frames, episode)
    return driven.episodes()


class Driving:
    """A wave that is driven: each step of the iteration is a decision of a half, (frames, episode) as a Tick takes them.

    Where the wave has None, the copy idles. The other arguments are those of `drive`.
    """

    def __init__(
        self, pool: Envs, wave: Sequence[EpisodeTask | None], agents: Mapping[range, Agent[Any]],
        explore: Explore | None, trace: Recorder | None,
    ) -> None:  # fmt: skip
        self._pool, self._agents, self._explore, self._trace = pool, agents, explore, trace
        self._wave = [*wave, *[None] * (pool.num_envs - len(wave))]
        self._halves: dict[range, _Half] = {}

    def __iter__(self) -> Iterator[tuple[int, EpisodeSoFar | None]]:
        """Drive all episodes to their ends.

        Raises:
            UsageError: what was decided are no actions of the environment.
        """
        pool, wave = self._pool, self._wave
        first = pool.reset([task and task.seed for task in wave], [task and task.decisions for task in wave])
        begun = {copies: first[copies.start :: copies.step] for copies in self._agents}
        self._halves = {copies: _Half(wave[copies.start :: copies.step], seen) for copies, seen in begun.items()}
        self._carries = {copies: agent.start(len(copies)) for copies, agent in self._agents.items()}
        with _inference_threads(pool):
            under_way = {copies for copies, seen in begun.items() if self._act(copies, seen)}
            while under_way:
                copies, step = pool.receive()
                half = self._halves[copies]
                going_on = copies.start == 0 and not half.over[0]
                half.note(step)
                yield int(step.frames.sum()), EpisodeSoFar.of(half) if going_on else None
                if not self._act(copies, step.obs):
                    under_way.remove(copies)

    def episodes(self) -> list[Episode]:
        """Return the episodes, in the order of the tasks, once all have ended."""
        episodes = {copies: iter(half.episodes(self._pool.actions)) for copies, half in self._halves.items()}
        places = [copy for copy, task in enumerate(self._wave) if task is not None]
        return [next(episodes[next(copies for copies in episodes if copy in copies)]) for copy in places]

    def _act(self, copies: range, seen: np.ndarray) -> bool:
        """Ask for a half's next decision and return True, unless all its episodes have ended."""
        half, carries = self._halves[copies], self._carries
        if half.ended:
            return False
        exploration = self._explore(len(half.actions), copies) if self._explore else None
        actions, carries[copies] = self._agents[copies].act(carries[copies], seen, exploration)
        if actions.shape != (wanted := (len(copies), *self._pool.actions.shape)):
            raise UsageError(f"an agent returned actions of shape {actions.shape} where the environment takes {wanted}")
        half.actions.append(actions)
        if self._trace is not None:
            self._trace.note(copies, carries[copies])
        self._pool.send(copies, actions)
        return True


class _Half:
    """What has been driven of the copies that are driven together, one for each of `tasks`; where there is none, it idles."""

    def __init__(self, tasks: Sequence[EpisodeTask | None], observations: np.ndarray) -> None:
        self._tasks = [(place, task) for place, task in enumerate(tasks) if task is not None]
        self._kept: Any = slice(None)
        if len(self._tasks) < len(tasks) // 2:  # most rows are of copies that idle
            self._kept = [place for place, _ in self._tasks]
        self._steps = list[PoolStep]()
        self.seen, self.actions = [observations[self._kept]], list[np.ndarray]()
        self.over = np.array([task is None for task in tasks])

    @property
    def ended(self) -> bool:
        """Tell whether all episodes have ended."""
        return bool(self.over.all())

    def note(self, step: PoolStep) -> None:
        """Take in what a decision brought."""
        self.seen.append(step.obs[self._kept])
        self._steps.append(step._replace(obs=step.obs[:0]))
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
                np.stack([seen[self._row(place)] for seen in self.seen[: length + 1]]),
                np.stack([action[place] for action in self.actions[:length]]).astype(spec.dtype),
                reward[:length, place].astype(np.float32),
                bool(terminated[length - 1, place]),
                bool(truncated[length - 1, place]),
                seed=task.seed,
                frames=int(frames[:length, place].sum()),
                deterministic=task.deterministic,
                cut=Cut(cut[length - 1, place]),
            )
            for place, task in self._tasks
            for length in [lengths[place]]
        ]

    def _row(self, place: int) -> int:
        """Return the row of a copy among the observations that are kept."""
        return place if isinstance(self._kept, slice) else self._kept.index(place)


class EpisodeSoFar:
    """What has been driven of the first of some episodes, in the environment's units, and whether it has come to its end."""

    def __init__(self, seen: Sequence[np.ndarray], actions: Sequence[np.ndarray], ended: bool) -> None:
        """Take the observations (N, ...) of each moment and the actions (N, ...) between them."""
        self._seen, self._actions, self.ended = seen, actions, ended

    @classmethod
    def of(cls, half: _Half) -> EpisodeSoFar:
        """Return that of a half."""
        return cls(half.seen, half.actions, bool(half.over[0]))

    @classmethod
    def whole(cls, episode: Episode) -> EpisodeSoFar:
        """Return that of an episode that has ended."""
        return cls(episode.observations[:, None], episode.actions[:, None], True)  # type: ignore[arg-type]

    @property
    def observation(self) -> np.ndarray:
        """Return what it shows now."""
        shown: np.ndarray = self._seen[-1][0]
        return shown

    def latest(self, steps: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return its last observations (T+1) and actions (T), of at most so many agent steps."""
        return [seen[0] for seen in self._seen[-steps - 1 :]], [action[0] for action in self._actions[-steps:]]


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
