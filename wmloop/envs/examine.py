"""Look once at what an environment does before there is a run: whether it keeps its word, and what to know of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.pixels import PixelEnv
from wmloop.errors import EnvironmentFailedError
from wmloop.seeding import HELD_OUT, fresh_tracks

_DECISIONS = 8
#: The seeds that are looked at: small, and as large as those of training and of scoring.
_SEEDS = (1, HELD_OUT - 1, fresh_tracks(1, 0)[0])


def examine(env: PixelEnv, config: EnvConfig, other: PixelEnv | None, tick: Callable[[], None]) -> list[str]:
    """Drive a few decisions of a few seeds, the first seed twice, and return what is worth knowing.

    Where several copies are going to live in one process, the first seed is driven once more beside the `other` one.
    `tick()` is called after each reset and step: the environment is alive.

    Raises:
        EnvironmentFailedError, DivergedError: what it returns is not as it declares (see contract), or its copies disturb
            one another.
    """
    notes = list(env.notes)
    first, again, *others = [_drive(env, seed, tick) for seed in (_SEEDS[0], *_SEEDS)]
    if other is not None and _same(first, again) and not _same(first, _drive(env, _SEEDS[0], tick, other)):
        raise EnvironmentFailedError(
            "drove another episode once a second copy was driven in the same process: what is outside its object (a module's"
            " globals, a library's one world) they share. Keep it in the object, or let each copy have a process of its own:"
            " --set env.num_envs=N with N at most the cores of this machine"
        )
    if not _same(first, again):
        notes.append(
            "WARNING: the same seed and the same actions gave it two different episodes. Nothing can be replayed, an"
            " interrupted run will not be the uninterrupted one, and held-out seeds are none: let reset(seed=...) seed"
            " all that is random in it (super().reset(seed=seed), then self.np_random)"
        )
    elif all(_same(first, other) for other in others):
        notes.append(
            f"the seeds {', '.join(map(str, _SEEDS))} all gave the same first {_DECISIONS} decisions: if nothing in it is"
            " random, its held-out seeds are the ones it was trained on"
        )
    episodes = (first, *others)
    if all(np.array_equal(picture, first.pictures[0]) for episode in episodes for picture in episode.pictures):
        notes.append(
            f"WARNING: every picture in {_DECISIONS} decisions of {len(_SEEDS)} seeds was the same: there is nothing in it to"
            " see or to foresee"
        )
    frames, limit = config.episode_frames, env.frame_limit
    if limit is None and not all(episode.ended for episode in episodes):
        notes.append(
            f"it has no time limit of its own: an episode is cut (truncated) after env.episode_frames={frames} frames"
        )
    elif limit is not None and limit < frames:
        notes.append(
            f"its episodes have {limit} frames at most, and env.episode_frames is {frames}, for which M's promises are"
            f" stated: --set env.episode_frames={limit} makes them meet"
        )
    elif limit is not None and limit > frames:
        notes.append(
            f"its episodes have up to {limit} frames, and are cut (truncated) after env.episode_frames={frames}:"
            f" --set env.episode_frames={limit} lets them end by themselves"
        )
    return notes


class _Driven(NamedTuple):
    """The first decisions of a seed: observations, rewards, and whether the episode ended within them."""

    pictures: list[np.ndarray]
    rewards: list[float]
    ended: bool = False
    aside: bool = False  # whether the episode of the copy beside it ended


def _drive(env: PixelEnv, seed: int, tick: Callable[[], None], beside: PixelEnv | None = None) -> _Driven:
    driven = _Driven([env.reset(seed)], [])
    tick()
    rng = np.random.default_rng(0)
    if beside is not None:
        beside.reset(_SEEDS[1])
        tick()
    for _ in range(_DECISIONS):
        action = rng.uniform(env.action_low, env.action_high).astype(np.float32)
        picture, reward, terminated, truncated, _ = env.step(action)
        tick()
        if beside is not None and not driven.aside:
            driven = driven._replace(aside=any(beside.step(-action)[2:4]))
        driven.pictures.append(picture)
        driven.rewards.append(reward)
        if terminated or truncated:
            return driven._replace(ended=True)
    return driven


def _same(a: _Driven, b: _Driven) -> bool:
    return a.rewards == b.rewards and a.ended == b.ended and np.array_equal(a.pictures, b.pictures)
