"""Hand actions to an environment, whatever space it declares: flat numbers, one of several choices, or this by a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from wmloop.errors import DivergedError, UsageError
from wmloop.spaces import ActionSpec, BinnedActions, BoxActions, DiscreteActions

#: Bounds beyond this are no bounds: float32 squares would not be finite.
_UNBOUNDED = 1e18
#: And bounds closer than this, or with fewer float32 numbers between them, leave nothing to decide.
_NARROWEST, _STEPS = 1e-30, 256
#: Numbers that an action has at most.
LONGEST = 1024
#: Choices that one action may have, and combinations of several smaller ones.
_CHOICES, _COMBINATIONS = 1024, 64
_FITTING = (
    f"wmloop needs as action space a bounded Box of up to {LONGEST} numbers, a Discrete of 2 to {_CHOICES} actions, or a"
    f" MultiDiscrete or MultiBinary of at most {_COMBINATIONS} combinations"
)


class Actions(Protocol):
    """Hand actions of `spec` to an environment; `note` says how, where that is more than handing them on."""

    spec: ActionSpec
    note: str

    def __call__(self, action: np.ndarray) -> Any:
        """Return `action` as the environment takes it, in an object of its own.

        Raises:
            DivergedError: it is none of `spec`.
        """


def actions_of(
    who: str, space: Any, arrow_keys: Sequence[int] = (), names: Sequence[str] = (), bins: Sequence[int] = ()
) -> Actions:
    """Return what hands actions to an environment whose space is `space`.

    `arrow_keys` and `names` are as DiscreteActions has them. With `bins` one of several is chosen as BinnedActions says.

    Raises:
        UsageError: wmloop cannot act in such a space; the message names `who`, and says what would fit.
    """
    if isinstance(space, spaces.Box) and 0 < space.low.size <= LONGEST:
        _check_bounds(who, space)
        return Numbers(space)
    start: Any
    if isinstance(space, spaces.Discrete):
        sizes, start, most = [int(space.n)], space.start, _CHOICES
    elif isinstance(space, spaces.MultiDiscrete):
        sizes, start, most = [int(n) for n in space.nvec.flat], space.start, _COMBINATIONS
    elif isinstance(space, spaces.MultiBinary):
        sizes, start, most = [2] * math.prod(space.shape), 0, _COMBINATIONS
    else:
        raise UsageError(f"{who} has the actions {space}, and {_FITTING}")
    if not 2 <= math.prod(sizes) <= most:
        count = "one action only" if math.prod(sizes) == 1 else f"{math.prod(sizes)} actions"
        raise UsageError(f"{who} has the actions {space}, {count}, and {_FITTING}")
    choices = Choices(space, sizes, start, arrow_keys, names)
    return Bins(choices, BinnedActions(bins, choices.spec.size, arrow_keys, names)) if bins else choices


class Numbers:
    """Hand numbers to an environment: clipped to its Box, in its dtype and shape, each time an array of its own."""

    def __init__(self, space: spaces.Box) -> None:
        self.spec: ActionSpec = BoxActions(space.low.reshape(-1), space.high.reshape(-1))
        self._space = space
        self._whole = space.dtype is not None and space.dtype.kind in "iub"
        exact = space.dtype == np.float32
        self._low, self._high = (
            b.reshape(-1) if exact else b.reshape(-1).astype(np.float64) for b in (space.low, space.high)
        )
        notes = []
        if self._whole:
            notes.append(f"its actions are whole numbers ({space.dtype}): what C decides is rounded to the nearest")
        if len(space.shape) != 1:
            notes.append(
                f"its actions are arrays of shape {space.shape}: C decides their {self.spec.size} numbers in a row"
            )
        self.note = "; ".join(notes)

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """Return `action` (A,) as the environment takes it, in a new array.

        Raises:
            DivergedError: it holds NaN or infinity.
        """
        _check_finite(action)
        clipped = np.clip(action, self._low, self._high, dtype=self._low.dtype)
        return (np.rint(clipped) if self._whole else clipped).astype(self._space.dtype).reshape(self._space.shape)


class Choices:
    """Hand one of several actions to an environment; of a space of several choices each combination is an action."""

    def __init__(
        self, space: Any, sizes: Sequence[int], start: Any, arrow_keys: Sequence[int] = (), names: Sequence[str] = ()
    ) -> None:
        """Take the sizes of the choices, and what the environment's first of each is."""
        self.spec: ActionSpec = DiscreteActions(math.prod(sizes), arrow_keys, names)
        self._space, self._sizes, self._start = space, tuple(sizes), start
        self._several = not isinstance(space, spaces.Discrete)
        # numbers cannot be changed by who gets them: they are made once
        self._each = [] if self._several else [space.dtype.type(int(start) + index) for index in range(self.spec.size)]
        self.note = f"an action is one of {self.spec.size}"
        if self._several:
            self.note += f": the combinations of {space}, the last entry changing fastest"

    def __call__(self, action: np.ndarray) -> Any:
        """Return the action of number `action` () as the environment takes it.

        Raises:
            DivergedError: there is none of that number.
        """
        index = int(action)
        if not 0 <= index < self.spec.size:
            raise DivergedError(f"was given the action {index}: it has to lie {self.spec}")
        if not self._several:
            return self._each[index]
        chosen = np.array(np.unravel_index(index, self._sizes)).reshape(self._space.shape)
        return (chosen + self._start).astype(self._space.dtype)


class Bins:
    """Hand one of several actions to an environment by a number in [-1, 1]: that of the part in which it lies."""

    def __init__(self, choices: Choices, spec: BinnedActions) -> None:
        """Take what hands on the actions by number, and the parts."""
        self.spec: ActionSpec = spec
        self._choices, self._choice = choices, spec.choice
        self.note = f"{choices.note}; C decides a number {spec}"

    def __call__(self, action: np.ndarray) -> Any:
        """Return the action of the part in which the number `action` (1,) lies, as the environment takes it.

        Raises:
            DivergedError: it is NaN or infinity.
        """
        _check_finite(action)
        return self._choices(np.asarray(self._choice(float(action[0]))))


def _check_finite(action: np.ndarray) -> None:
    if not np.isfinite(action).all():
        raise DivergedError(f"was given the action {action}: every entry must be finite")


def _check_bounds(who: str, action: spaces.Box) -> None:
    low, high = action.low.reshape(-1).astype(np.float64), action.high.reshape(-1).astype(np.float64)
    exact = action.dtype in (np.float16, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        endless = ~(np.abs(low) < _UNBOUNDED) | ~(np.abs(high) < _UNBOUNDED)
        # what C decides travels as float32
        step = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
        empty = ~(high - low > (_NARROWEST if exact else np.maximum(_NARROWEST, _STEPS * step)))
    for wrong, words in ((endless, "no bound"), (empty, "no room for float32 between its bounds")):
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            bounds = f"{action.low.flat[i]} to {action.high.flat[i]}"
            raise UsageError(
                f"{who} has an action whose dimension {i} has {words} ({bounds}): wmloop needs as action space a bounded Box:"
                " give the environment one, such as Box(-1, 1, (n,))"
            )
