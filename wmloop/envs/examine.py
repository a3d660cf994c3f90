"""Look once at what an environment does before there is a run: whether it keeps its word, and what to know of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.real import RealEnv
from wmloop.errors import EnvironmentFailedError
from wmloop.seeding import HELD_OUT, fresh_seeds

_DECISIONS = 8
#: The first seed is driven for so long, up to so many decisions.
_SECONDS, _MOST = 0.15, 200
#: The seeds that are looked at: small, and as large as those of training and of scoring.
_SEEDS = (1, HELD_OUT - 1, fresh_seeds(1, 0)[0])

#: What is said where an episode cannot be driven again.
IRREPRODUCIBLE = (
    "WARNING: the same seed and the same actions gave two different episodes. So episodes cannot be"
    " repeated, an interrupted run will differ from one that never stopped, and held-out seeds are not held out: make"
    " reset(seed=...) seed all that is random in it (super().reset(seed=seed), then self.np_random), also what its"
    " constructor draws"
)


def examine(env: RealEnv, config: EnvConfig, other: RealEnv | None, tick: Callable[[int, int], None]) -> list[str]:
    """Drive a few decisions of a few seeds, the first seed twice and longer, and return what is worth knowing.

    Where several copies are going to live in one process, the `other` one drives the first seed, too, and is then driven
    beside the first. `tick(seed, decision)` is called before each reset and step: the environment is alive.

    Raises:
        EnvironmentFailedError, DivergedError: what it returns is not as it declares (see answers), or its copies disturb one
            another.
    """
    notes = list(env.notes)
    first = _drive(env, _SEEDS[0], tick, seconds=_SECONDS)
    again = _drive(env, _SEEDS[0], tick, len(first.rewards))
    others = [_drive(env, seed, tick) for seed in _SEEDS[1:]]
    if env.unscaled:
        raise EnvironmentFailedError(
            "declares images in [0, 255] but returned only fractions up to 1: declare Box(0, 1, ...), or multiply by 255"
        )
    repeats = _same(first, again)
    if other is not None and repeats:
        repeats = _same(first, _drive(other, _SEEDS[0], tick, len(first.rewards)))
        if repeats and not _same(first, _drive(env, _SEEDS[0], tick, len(first.rewards), other)):
            raise EnvironmentFailedError(
                "gave different results for the same seed and actions once a second instance ran in the same process: the"
                " instances share state (module globals, or a library's single world). Keep all state in the instance, or give"
                " each instance its own process: --set env.num_envs=N with N at most the number of cores of this machine"
            )
    if not repeats:
        notes.append(IRREPRODUCIBLE)
    else:
        begun = [episode.start(_DECISIONS) for episode in (first, *others)]
        if alike := [(a, b) for a, b in ((0, 1), (0, 2), (1, 2)) if _same(begun[a], begun[b])]:
            seeds = " and ".join(str(_SEEDS[i]) for i in sorted({i for pair in alike for i in pair}))
            notes.append(
                f"the seeds {seeds} gave the same first {_DECISIONS} agent steps: if whole episodes are the same too, held-out"
                " episodes are those of training, or all alike; unless that is meant, let reset(seed=...) choose how it begins"
            )
    episodes = (first, *others)
    if all(np.array_equal(seen, first.seen[0]) for episode in episodes for seen in episode.seen):
        notes.append(
            f"WARNING: every observation in {_DECISIONS} agent steps of {len(_SEEDS)} seeds was the same: there is nothing to"
            " learn from them"
        )
    frames, limit = config.most_frames, env.frame_limit
    if config.episode_frames is None and limit is not None:
        return notes
    if limit is None and not all(episode.ended for episode in episodes):
        notes.append(
            "it declares no time limit (max_episode_steps): an episode that has not ended before is cut (truncated) after"
            f" env.episode_frames={frames} frames"
        )
    elif limit is not None and limit < frames:
        notes.append(
            f"its episodes have {limit} frames at most, and env.episode_frames is {frames}, which has no effect:"
            f" --set env.episode_frames={limit} makes them agree"
        )
    elif limit is not None and limit > frames:
        notes.append(
            f"its episodes have up to {limit} frames, and are cut (truncated) after env.episode_frames={frames}:"
            f" --set env.episode_frames={limit} lets them end by themselves"
        )
    return notes


class _Start(NamedTuple):
    """The first decisions of a seed: observations, rewards, and whether the episode ended within them."""

    seen: list[np.ndarray]
    rewards: list[float]
    ended: bool = False
    aside: bool = False  # whether the episode of the copy beside it ended

    def start(self, decisions: int) -> _Start:
        """Return its first decisions alone."""
        return _Start(
            self.seen[: decisions + 1], self.rewards[:decisions], self.ended and len(self.rewards) <= decisions
        )


def _drive(
    env: RealEnv, seed: int, tick: Callable[[int, int], None], decisions: int = _DECISIONS,
    beside: RealEnv | None = None, seconds: float = 0.0,
) -> _Start:  # fmt: skip
    """Drive so many decisions, or more while `seconds` are not over."""
    tick(seed, 0)
    driven = _Start([env.reset(seed)], [])
    rng, aside, begun = np.random.default_rng(0), np.random.default_rng(1), time.monotonic()
    if beside is not None:
        tick(_SEEDS[1], 0)
        beside.reset(_SEEDS[1])
    while len(driven.rewards) < decisions or (time.monotonic() - begun < seconds and len(driven.rewards) < _MOST):
        tick(seed, len(driven.rewards) + 1)
        seen, reward, terminated, truncated, _ = env.step(env.actions.sample(rng))
        if beside is not None and not driven.aside:
            driven = driven._replace(aside=any(beside.step(beside.actions.sample(aside))[2:4]))
        driven.seen.append(seen)
        driven.rewards.append(reward)
        if terminated or truncated:
            return driven._replace(ended=True)
    return driven


def _same(a: _Start, b: _Start) -> bool:
    return a.rewards == b.rewards and a.ended == b.ended and np.array_equal(a.seen, b.seen)
