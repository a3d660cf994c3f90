"""What there is to see at one decision of a world, and what makes a world."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from wmloop.agents.agent import Agent
from wmloop.envs import RealEnv, RemoteEnv


class Moment(NamedTuple):
    """What there is to see at one decision: pictures (H, W, 3) uint8 by name, and how the episode stands.

    `vectors` (n,) by name are what is observed of vectors, in the environment's units; none where only pictures are.
    `score` and `frames` count what came before it; `ended` is empty until the last moment, which says how it ended.
    `reward` is what the decision before was paid (in a dream: predicted, times the probability that the dream has come to that
    decision), `done` M's probability, given what came, that this one decision ended the episode; NaN without an M.
    `action`, in the environment's units, and `value`, in rewards still to come, are what the world's agent would do at this
    moment and what it thinks of it; NaN without a critic.
    """

    pictures: Mapping[str, np.ndarray]
    decision: int
    score: float
    frames: int
    ended: str = ""
    reward: float = 0.0
    done: float = 0.0
    action: np.ndarray = np.zeros(0, np.float32)
    value: float = float("nan")
    vectors: Mapping[str, np.ndarray] = {}


class World(Protocol):
    """A place to play in. Its own agent decides, unless `step` is given another driver."""

    moment: Moment

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed."""

    def step(self, driver: Agent[Any] | None = None) -> None:
        """Go on by a decision; nothing happens after the end."""


def how_it_ended(reward: float, terminated: bool, truncated: bool) -> str:
    """Return how a real episode ended with a decision that was paid `reward`; nothing where it goes on."""
    return f"terminated (last reward {points(reward)})" if terminated else "truncated" if truncated else ""


def points(value: float, sign: str = "") -> str:
    """Return a reward or a score as people are shown it: with one decimal, or with two digits where it is below 1."""
    decimals = min(6, 1 - math.floor(math.log10(abs(value)))) if 0 < abs(value) < 1 else 1
    return f"{value:{sign}.{decimals}f}"


def decided(driver: Agent[Any], seen: np.ndarray) -> np.ndarray:
    """Return the action (...) of a driver that has just taken the wheel, in the environment's units, where `seen` is shown."""
    (action,), _ = driver.act(driver.start(1), seen[None])
    return np.asarray(action)


def observed(env: RealEnv | RemoteEnv, observation: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the `real` picture and the `real` vector of what an environment shows, as far as there are any."""
    picture, vector = env.render(), env.observations.numbers(observation)
    return {} if picture is None else {"real": picture}, {} if vector is None else {"real": vector}
