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
    driven = [EpisodeSoFar(observation) for observation in first[:count]]
    decided = dict.fromkeys(agents, 0)
    carries = {copies: agent.start(len(copies)) for copies, agent in agents.items()}

    def act(copies: range, seen: np.ndarray) -> None:
        """Ask for a half's next decision unless all its episodes have ended."""
        if all(driven[copy].ended for copy in copies if copy < count):
            del decided[copies]
            return
        exploration = explore(decided[copies], copies) if explore else None
        actions, carries[copies] = agents[copies].act(carries[copies], seen, exploration)
        if actions.shape != (wanted := (len(copies), *pool.actions.shape)):
            raise UsageError(f"an agent returned actions of shape {actions.shape} where the environment takes {wanted}")
        decided[copies] += 1
        if note is not None:
            note(copies, carries[copies])
        for copy, action in zip(copies, actions, strict=True):
            if copy < count and not driven[copy].ended:
                driven[copy].actions.append(action)
        pool.send(copies, actions)

    with _inference_threads(pool):
        for copies in list(decided):
            act(copies, first[copies.start :: copies.step])
        while decided:
            copies, step = pool.receive()
            going_on = copies.start == 0 and not driven[0].ended
            for place, copy in enumerate(copies):
                if copy < count and not driven[copy].ended:
                    driven[copy].note(step, place)
            tick(int(step.frames.sum()), driven[0] if going_on else None)
            act(copies, step.obs)
    return [one.episode(task, pool.actions) for one, task in zip(driven, wave, strict=True)]


class EpisodeSoFar:
    """What has been driven of one episode: `seen` (T+1) and `actions` (T) up to now, in the environment's units."""

    def __init__(self, observation: np.ndarray) -> None:
        """Begin with what the environment shows first."""
        self.seen, self.actions = [observation], list[np.ndarray]()
        self.rewards = list[float]()
        self.frames = 0
        self.terminated = self.truncated = False
        self.cut = Cut.NONE

    @property
    def ended(self) -> bool:
        """Return whether it has come to its end."""
        return self.terminated or self.truncated

    def note(self, step: PoolStep, place: int) -> None:
        """Take in what came of its latest action, at `place` of a step."""
        self.seen.append(step.obs[place])
        self.rewards.append(float(step.reward[place]))
        self.frames += int(step.frames[place])
        self.terminated, self.truncated = bool(step.terminated[place]), bool(step.truncated[place])
        self.cut = Cut(step.cut[place])

    def episode(self, task: EpisodeTask, spec: ActionSpec) -> Episode:
        """Return it as an episode of `task`."""
        return Episode(
            np.stack(self.seen), np.stack(self.actions).astype(spec.dtype), np.array(self.rewards, np.float32),
            self.terminated, self.truncated, seed=task.seed, frames=self.frames, deterministic=task.deterministic,
            cut=self.cut,
        )  # fmt: skip


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
