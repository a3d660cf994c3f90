"""Discrete actions: one of several, which M reads one-hot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmloop.config import RandomDriving, RolloutConfig
from wmloop.spaces.actions import ARROWS

#: What a push adds to the action that it holds, in units of a sampled one-hot action: more than any of these weighs.
_PUSH = 2.0


class DiscreteActions:
    """One of `size` actions, numbered from 0; M reads it one-hot, (A,) with A = `size`."""

    kind = "discrete"
    shape: tuple[int, ...] = ()
    dtype = np.dtype(np.int64)

    def __init__(self, size: int, arrow_keys: Sequence[int] = (), names: Sequence[str] = ()) -> None:
        """Take how many there are, which are those of no key, left, right, up and down, and what each is called.

        Where the keys are not told, they are the first five, as far as there are; of two actions, 0 is left and 1 is right.
        """
        self.size, self._names = size, tuple(names)
        self.arrow_keys = tuple(arrow_keys or ((0, 0, 1) if size == 2 else range(min(size, 5))))

    def __str__(self) -> str:
        """Return how many there are."""
        return f"in 0 to {self.size - 1}"

    def record(self) -> dict[str, Any]:
        """Return the number of actions."""
        return {"kind": self.kind, "size": self.size}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> DiscreteActions:
        """Return the space of a recorded number of actions."""
        return cls(int(record["size"]))

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return actions (...,) one-hot, (..., A)."""
        return np.asarray(np.eye(self.size, dtype=np.float32)[actions])

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return the number (...,) of the action that is greatest in (..., A)."""
        return np.asarray(encoded.argmax(-1))

    def mirror(self, encoded: np.ndarray, mirror: Sequence[int]) -> np.ndarray:
        """Return actions (..., A) in the mirrored world, where action i is action `mirror[i]`."""
        return encoded[..., list(mirror)]

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return any action, () int64."""
        return np.asarray(rng.integers(self.size))

    def random_walk(self, settings: RandomDriving, decisions: int, rng: np.random.Generator) -> np.ndarray:
        """Return the actions of one random episode, (decisions,) int64: each is held with a probability, else drawn anew.

        The probability is drawn for the episode from `autocorrelation`; what is drawn anew, in proportion to `weights`.
        """
        held = rng.random(decisions) < rng.uniform(*settings.autocorrelation)
        begun = np.maximum.accumulate(np.where(held, 0, np.arange(decisions)))
        if settings.weights:
            chances = np.array(settings.weights) / sum(settings.weights)
            return np.asarray(rng.choice(self.size, decisions, p=chances)[begun])
        return np.asarray(rng.integers(self.size, size=decisions)[begun])

    def perturbations(self, settings: RolloutConfig, rngs: Sequence[np.random.Generator]) -> HeldActions:
        """Return what pushes a driver for each generator."""
        return HeldActions(settings, self, rngs)

    def from_keys(self, steer: float, up: float, down: float, digit: int | None = None) -> np.ndarray:
        """Return the action of a hand, () int64: of a number key, else of the arrow keys held the last of `arrow_keys`."""
        if digit is not None and digit < self.size:
            return np.asarray(digit)
        pressed = (True, steer < 0, steer > 0, up > 0, down > 0)
        return np.asarray([action for action, held in zip(self.arrow_keys, pressed, strict=False) if held][-1])

    def keys(self) -> Sequence[tuple[str, str]]:
        """Return which actions the arrow keys are, and the number keys."""
        held = zip(("no key", "left", "right", "up", "down"), self.arrow_keys, strict=False)
        arrows = ", ".join(f"{key}: {self.describe(np.asarray(action))}" for key, action in held)
        return [(ARROWS, arrows), (f"0 to {min(self.size, 10) - 1}", "the action of that number")]

    def describe(self, action: np.ndarray) -> str:
        """Return the action's number, and what it is called if that is known."""
        number = int(action)
        return f"{number} {self._names[number]}" if number < len(self._names) else f"{number}"


class HeldActions:
    """Push N drivers off their line now and then: a random action in place of theirs, held for a while."""

    def __init__(self, settings: RolloutConfig, actions: DiscreteActions, rngs: Sequence[np.random.Generator]) -> None:
        """Prepare one driver per generator."""
        self._settings, self._actions, self._rngs = settings, actions, rngs
        self._left = np.zeros(len(rngs), np.int64)
        self._offset = np.zeros((len(rngs), actions.size), np.float32)

    def __call__(self) -> np.ndarray:
        """Return what is added to the next decision's one-hot actions, (N, A) float32, until the next call."""
        for i, rng in enumerate(self._rngs):
            self._left[i] -= 1
            if self._left[i] < 0:
                self._offset[i] = 0
                if rng.random() < self._settings.perturb_prob:
                    low, high = self._settings.perturb_decisions
                    self._left[i] = rng.integers(low, high + 1) - 1
                    self._offset[i] = _PUSH * self._actions.encode(self._actions.sample(rng))
        return self._offset
