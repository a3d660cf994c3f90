"""Windows of real episodes over which M is asked, and what it said over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmloop.config import RunConfig
from wmloop.episodes import Episode

#: Decisions over which a prediction is compared.
HORIZON = 25


class Window(NamedTuple):
    """Decisions that are predicted: from `start` on `horizon` ones, of which the real episode had `length`."""

    start: int
    horizon: int
    length: int


class ReturnForecast(NamedTuple):
    """What M predicts over the windows of one episode (see `windows`), and what came of it; rewards in the environment's units.

    Sums of rewards over a window are `predicted`, with C acting inside M, `open_loop`, given the actions that were really
    taken (see dreams.open_loop_returns; None or nothing where that was not asked), and `real`, of reality. `steps` are a
    window's real decisions, `decisions` those of the episode. `ends` has a row for each of BINS: decisions for which M
    expected an end with such a probability, the sum of these, and the ends that came.
    """

    predicted: list[float]
    open_loop: list[float | None]
    real: list[float]
    steps: Sequence[int] = ()
    decisions: int = 0
    ends: Sequence[Sequence[float]] = ()


def windows(episode: Episode, burn_in: int, limit: int, max_unrewarded: int | None) -> list[Window]:
    """Return where in an episode M is asked, and how far: from decision `burn_in` on, where dreams begin, up to the end.

    One window begins where the one before ends, so that each decision counts once.

    After an end nothing is paid, and M has to know. But a time limit, of `limit` decisions, says nothing about what would
    have come: the dream is cut where it would cut, whether the episode came so far or not. Where rollouts stop because
    nothing has paid for `max_unrewarded` decisions, M knows nothing of what comes then: windows that reach beyond such a place
    are left out, also where the episode went on.
    """
    length, stopped = len(episode), _stopped(episode.rewards, max_unrewarded)
    found = []
    for start in range(burn_in, length, HORIZON):
        if start + HORIZON > stopped and not (episode.terminated and stopped == length):
            break
        real = min(HORIZON, length - start)
        horizon = max(real, min(HORIZON, limit - start)) if episode.terminated else real
        found.append(Window(start, horizon, real))
    return found


def time_limit(episodes: Sequence[Episode], config: RunConfig) -> int:
    """Return the decisions that an episode has at most: as configured, or fewer where the environment cut one before.

    Gymnasium also calls cut what left the bounds of a task, at any length. So only a cut that no episode outlived is a limit.
    """
    longest = max(map(len, episodes), default=0)
    cut = [len(e) for e in episodes if not e.terminated and _stopped(e.rewards, config.max_unrewarded) > len(e)]
    return min([config.env.most_decisions, *(n for n in cut if n == longest)])


def _stopped(rewards: np.ndarray, max_unrewarded: int | None) -> float:
    """Return after how many decisions that paid `rewards` (T,) a rollout stops for want of a positive one; inf: never."""
    unrewarded = 0
    for t, reward in enumerate(rewards):
        unrewarded = 0 if reward > 0 else unrewarded + 1
        if unrewarded == max_unrewarded:
            return t + 1
    return math.inf
