"""Read what an environment shows as a vector of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from wmloop.errors import EnvironmentFailedError

_FLOAT32 = np.dtype(np.float32)
#: Numbers that a vector has at most.
LONGEST = 1024
VECTOR = (
    f"a vector (a Box of up to {LONGEST} numbers that is no picture, also without bounds; Discrete, MultiDiscrete,"
    " MultiBinary)"
)


def is_vector(space: Any) -> bool:
    """Tell whether a space is read as a vector."""
    return isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) and (
        0 < _size(space) <= LONGEST
    )


class Vectors:
    """Read what an environment shows as (size,) float32: numbers in a row, and each choice of several one-hot."""

    def __init__(self, space: Any) -> None:
        """Take a space that `is_vector`."""
        self.size, self.note = _size(space), ""
        self._space = space
        self._shape, self._choices = space.shape, _choices(space)
        if self._choices is not None:
            self._start = np.asarray(space.start).astype(np.int64).reshape(-1)
            self._first = np.concatenate([[0], np.cumsum(self._choices)[:-1]])
            self.note = f"of its observation {space} is read one-hot"

    def __call__(self, value: Any, before: np.ndarray | None = None) -> np.ndarray:
        """Return the vector, in memory of its own; `before` does not matter (see Observations).

        Raises:
            EnvironmentFailedError: it is none, of another shape than declared, not finite, or beyond its choices.
        """
        if (
            self._choices is None
            and type(value) is np.ndarray
            and value.dtype == _FLOAT32
            and value.shape == self._shape
        ):
            vector = value.flatten()
            if math.isfinite(vector.dot(vector)):  # most of the time; where it overflows, each number is looked at
                return vector
        if value is None:
            raise EnvironmentFailedError(f"showed nothing: the observation is None, and it declares {self._space}")
        try:
            seen = np.asarray(value)
        except Exception as error:
            raise EnvironmentFailedError(f"showed what is no array ({error}), and it declares {self._space}") from None
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            raise EnvironmentFailedError(f"showed an array with masked values, and it declares {self._space}")
        if seen.shape != self._shape:
            raise EnvironmentFailedError(f"showed an array of shape {seen.shape}, and it declares {self._space}")
        if seen.dtype.kind not in ("fiub" if self._choices is None else "iu"):
            raise EnvironmentFailedError(f"showed an array of {seen.dtype}, and it declares {self._space}")
        return self._numbers(seen) if self._choices is None else self._one_hot(seen)

    def _numbers(self, seen: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            vector = seen.astype(np.float32).reshape(-1)
        if not np.isfinite(vector).all():
            bad = int(np.flatnonzero(~np.isfinite(vector))[0])
            raise EnvironmentFailedError(
                f"showed {seen.reshape(-1)[bad]} as number {bad} of {self.size}: nothing can be learnt from it"
            )
        return vector

    def _one_hot(self, seen: np.ndarray) -> np.ndarray:
        assert self._choices is not None, "it shows choices"
        chosen = seen.reshape(-1).astype(np.int64) - self._start
        if (chosen < 0).any() or (chosen >= self._choices).any():
            raise EnvironmentFailedError(f"showed {seen}, and it declares {self._space}")
        vector = np.zeros(self.size, np.float32)
        vector[self._first + chosen] = 1
        return vector


def _choices(space: Any) -> np.ndarray | None:
    """Return how many there are to choose from, for each choice; None of numbers."""
    if isinstance(space, spaces.Discrete):
        return np.array([space.n], np.int64)
    return space.nvec.reshape(-1).astype(np.int64) if isinstance(space, spaces.MultiDiscrete) else None


def _size(space: Any) -> int:
    choices = _choices(space)
    return math.prod(space.shape) if choices is None else sum(map(int, choices))
