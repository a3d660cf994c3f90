"""Discrete actions by one number: each of equal parts of [-1, 1] is one of several actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmloop.spaces.box import BoxActions
from wmloop.spaces.discrete import DiscreteActions


class BinnedActions(BoxActions):
    """A number in [-1, 1], (1,) float32, that stands for one of several `choices`: the action of the part that it lies in.

    `bins` are the actions of as many equal parts, from the lowest to the highest (Ha and Schmidhuber 2018, in Doom).
    """

    kind = "bins"

    def __init__(
        self, bins: Sequence[int], size: int, arrow_keys: Sequence[int] = (), names: Sequence[str] = ()
    ) -> None:
        """Take the parts' actions, and how many actions there are, with their keys and names as DiscreteActions has them.

        A key whose action has no part is the action of the part in the middle.
        """
        super().__init__([-1], [1])
        self.bins = tuple(bins)
        keys = DiscreteActions(size, arrow_keys).arrow_keys
        middle = self.bins[len(self.bins) // 2]
        self.choices = DiscreteActions(size, [key if key in self.bins else middle for key in keys], names)
        count = len(self.bins)
        self._edges = [(2 * i - count) / count for i in range(1, count)]

    def __str__(self) -> str:
        """Return the bounds, and the actions of the parts."""
        return f"{super().__str__()}, whose equal parts are the actions {list(self.bins)} of {self.choices.size}"

    def record(self) -> dict[str, Any]:
        """Return the parts' actions, and how many actions there are."""
        return {"kind": self.kind, "bins": list(self.bins), "size": self.choices.size}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> BinnedActions:
        """Return the space of recorded parts."""
        return cls([int(action) for action in record["bins"]], int(record["size"]))

    def choice(self, number: float) -> int:
        """Return the action of the part that a number lies in; what lies beyond [-1, 1] is in the last part on its side.

        A number on the edge of two parts is in the one nearer to zero, as the paper has it, so that parts mirror each
        other to the last bit; zero, where it is an edge, is in the upper one.
        """
        return self.bins[sum(number > edge if edge > 0 else number >= edge for edge in self._edges)]

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return actions (..., 1) themselves: rounding could move one over an edge."""
        return np.asarray(actions, np.float32)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return actions (..., 1) themselves."""
        return np.asarray(encoded, np.float32)

    def mirror(self, encoded: np.ndarray, mirror: Sequence[int]) -> np.ndarray:
        """Return actions (..., 1) with the sign flipped, where `mirror` tells what each of the choices is in that world."""
        return super().mirror(encoded, [0] if mirror else [])

    def from_keys(self, steer: float, up: float, down: float, digit: int | None = None) -> np.ndarray:
        """Return the middle of the first part (1,) of the action that the keys are among the choices."""
        action = int(self.choices.from_keys(steer, up, down, digit if digit in self.bins else None))
        return np.array([(2 * self.bins.index(action) + 1) / len(self.bins) - 1], np.float32)

    def keys(self) -> Sequence[tuple[str, str]]:
        """Return which actions the arrow keys are, and the number keys."""
        arrows, (_, does) = self.choices.keys()
        return [arrows, (" ".join(str(action) for action in sorted(set(self.bins)) if action < 10), does)]

    def describe(self, action: np.ndarray) -> str:
        """Return the number, and the action that it stands for."""
        return f"{super().describe(action)}: {self.choices.describe(np.asarray(self.choice(float(action[0]))))}"
