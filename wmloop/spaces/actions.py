"""A space of actions: all that wmloop does with actions but choosing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from wmloop.config import RandomDriving, RolloutConfig
from wmloop.entries import found
from wmloop.errors import UsageError

#: The keys that steer, as the help on the screen names them.
ARROWS = "arrows, w a s d"


class Perturbing(Protocol):
    """What pushes N drivers off their line now and then."""

    def __call__(self) -> np.ndarray:
        """Return what is added to the next decision's sampled actions, (N, A) float32 as M reads them, until the next call."""


class ActionSpec(Protocol):
    """The actions of an environment.

    One has `shape` and `dtype` in the environment's own units, and is A = `size` numbers as M reads it. `kind` names the
    space among ACTIONS, and what is written of it says the rest.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int

    def __str__(self) -> str:
        """Return the space as a message shows it."""

    def record(self) -> dict[str, Any]:
        """Return the space as JSON has it; `of` reads it."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ActionSpec:
        """Return the space that was written as `record`."""

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return actions (..., *shape) as M reads them, (..., A) float32."""

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return actions (..., A) float32, as a policy executes them, in the environment's units."""

    def mirror(self, encoded: np.ndarray, mirror: Sequence[int]) -> np.ndarray:
        """Return what actions (..., A) are in a mirrored world; `mirror`, env.mirrored_actions, says how."""

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return one action, any as probable as any other."""

    def random_walk(self, settings: RandomDriving, decisions: int, rng: np.random.Generator) -> np.ndarray:
        """Return the actions (decisions, *shape) of one episode of random driving, which hang together."""

    def perturbations(self, settings: RolloutConfig, rngs: Sequence[np.random.Generator]) -> Perturbing:
        """Return what pushes a driver for each generator."""

    def from_keys(self, steer: float, up: float, down: float, digit: int | None = None) -> np.ndarray:
        """Return the action of a hand that steers in [-1, 1], to the right, holds up and down in [0, 1], and a number key."""

    def keys(self) -> Sequence[tuple[str, str]]:
        """Return what keys do, as the help on the screen has it: pairs of the keys and what they do."""

    def describe(self, action: np.ndarray) -> str:
        """Return an action (...) as people read it."""


#: Where each kind of actions is: `module:name` of its class. A record that names no kind is of the first.
ACTIONS = {
    "box": "wmloop.spaces.box:BoxActions",
    "discrete": "wmloop.spaces.discrete:DiscreteActions",
    "bins": "wmloop.spaces.bins:BinnedActions",
}


def recorded(record: Mapping[str, Any]) -> ActionSpec:
    """Return the space of actions that was written as `record`.

    Raises:
        UsageError: this program knows no such kind (those that it knows are listed).
        KeyError, TypeError, ValueError: it is no such record.
    """
    kind = record.get("kind", next(iter(ACTIONS)))
    if kind not in ACTIONS:
        raise UsageError(f"unknown actions {kind!r}: this program knows {', '.join(ACTIONS)}")
    space: type[ActionSpec] = found(ACTIONS[kind], f"the actions {kind!r}")
    return space.of(record)
