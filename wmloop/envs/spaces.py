"""What wmloop asks of an environment's spaces, and the cheap casts: its actions and pictures.

Every refusal says what was found, what would fit, and the file and line of the environment where there is one.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from wmloop.config import EnvConfig
from wmloop.envs.answers import place_of
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError
from wmloop.spaces import ActionSpec, BoxActions

#: Bounds beyond this are no bounds: float32 squares would not be finite.
_UNBOUNDED = 1e18
#: And bounds closer than this, or with fewer float32 numbers between them, leave nothing to decide.
_NARROWEST, _STEPS = 1e-30, 256
_PICTURE = "RGB pictures: a Box of shape (height, width, 3), uint8 in [0, 255] or floats in [0, 1] or [0, 255]"


def check_spaces(config: EnvConfig, env: gymnasium.Env[Any, Any]) -> tuple[spaces.Box, spaces.Box]:
    """Return the spaces of observations and actions if wmloop can drive the environment with these settings.

    Raises:
        UsageError: they do not fit each other, or wmloop; the message says what would.
    """
    who = f"the environment {config.id!r}{place_of(env, '__init__')}"
    found = {}
    for name in ("observation_space", "action_space"):
        try:
            found[name] = getattr(env, name)
        except (AttributeError, NotImplementedError):
            raise UsageError(f"{who} declares no {name}: set self.{name} to a space of gymnasium") from None
    seen, action = found["observation_space"], found["action_space"]
    if not isinstance(action, spaces.Box) or len(action.shape) != 1 or not action.shape[0]:
        raise UsageError(f"{who} has the actions {action}, and wmloop drives by a flat bounded Box, of shape (n,)")
    _check_bounds(who, action)
    if not isinstance(seen, spaces.Box) or len(seen.shape) != 3 or seen.shape[2] != 3 or 0 in seen.shape:
        raise UsageError(f"{who} shows {seen}, and wmloop looks at {_PICTURE}")
    _scale_of(who, seen)
    if wrong := _misfits(config, action.shape[0], seen.shape):
        raise UsageError("; ".join(wrong))
    return seen, action


def _misfits(config: EnvConfig, size: int, shape: tuple[int, ...]) -> list[str]:
    """Return what of the settings does not fit an environment of `size` action dimensions and pictures of `shape`."""
    wrong = []
    for key in ("mean", "std", "initial_offset"):
        length = len(getattr(config.random_policy, key))
        if length not in (0, size):
            what = "numbers" if key == "initial_offset" else "pairs, such as [-0.5, 0.5],"
            wrong.append(
                f"env.random_policy.{key} has {length} entries, and {config.id!r} has {size} action dimensions: give {size}"
                f" {what} or [], which leaves it to the action's range"
            )
    if any(not 0 <= dimension < size for dimension in config.mirrored_actions):
        wrong.append(
            f"env.mirrored_actions names {list(config.mirrored_actions)}, and {config.id!r} has the action dimensions 0 to"
            f" {size - 1}: [] where mirroring is no symmetry"
        )
    if config.crop is not None:
        top, bottom, left, right = config.crop
        height, width, _ = shape
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            wrong.append(
                f"env.crop {config.crop} does not lie within the {height}x{width} pictures of {config.id!r}: the largest is"
                f" [0, {height}, 0, {width}]"
            )
    return wrong


def _check_bounds(who: str, action: spaces.Box) -> None:
    low, high = action.low.astype(np.float64), action.high.astype(np.float64)
    exact = action.dtype in (np.float16, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        endless = ~(np.abs(low) < _UNBOUNDED) | ~(np.abs(high) < _UNBOUNDED)
        # what C decides travels as float32
        step = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
        empty = ~(high - low > (_NARROWEST if exact else np.maximum(_NARROWEST, _STEPS * step)))
    for wrong, words in ((endless, "no bound"), (empty, "no room for float32 between its bounds")):
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise UsageError(
                f"{who} has an action whose dimension {i} has {words} ({action.low[i]} to {action.high[i]}): wmloop drives"
                " by a bounded Box: give the environment one as its action_space, such as Box(-1, 1, (n,))"
            )


class Actions:
    """Hand actions of `spec` to an environment: clipped to its Box, in its dtype, each time an array of its own."""

    def __init__(self, space: spaces.Box) -> None:
        self.spec: ActionSpec = BoxActions(space.low, space.high)
        self.note = ""
        self._space = space
        self._whole = space.dtype is not None and space.dtype.kind in "iub"
        exact = space.dtype == np.float32
        self._low, self._high = (b if exact else b.astype(np.float64) for b in (space.low, space.high))
        if self._whole:
            self.note = f"its actions are whole numbers ({space.dtype}): what C decides is rounded to the nearest"

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """Return `action` (A,) as the environment takes it, in a new array.

        Raises:
            DivergedError: it holds NaN or infinity.
        """
        if not np.isfinite(action).all():
            raise DivergedError(f"was given the action {action}: every entry must be finite")
        clipped = np.clip(action, self._low, self._high, dtype=self._low.dtype)
        return (np.rint(clipped) if self._whole else clipped).astype(self._space.dtype)


class Pictures:
    """Read what an environment shows as (H, W, 3) uint8, whatever it holds the numbers in; refuse what is no such picture."""

    def __init__(self, space: spaces.Box) -> None:
        self.shape = space.shape
        self.note = ""
        self._space = space
        self._scale = _scale_of("the environment", space)
        #: Whether fractions were seen where 0 to 255 is declared, and nothing above 1.
        self.unscaled = False
        self._bright = space.dtype is None or space.dtype.kind != "f" or self._scale == 255
        if self._space.dtype != np.uint8:
            what = "are multiplied by 255 and rounded" if self._scale == 255 else "are rounded"
            self.note = f"its pictures are {space.dtype} in [0, {255 // self._scale}]: they {what}"
        elif self._scale != 1:
            self.note = "its pictures are 0 and 1: they are multiplied by 255"

    def __call__(self, picture: Any) -> np.ndarray:
        """Return the picture; it may share the environment's memory.

        Raises:
            EnvironmentFailedError: it is none, of another size or dtype than declared, or beyond its bounds.
        """
        declared = f"it declares pictures of shape {self.shape}, {self._space.dtype}"
        if picture is None:
            raise EnvironmentFailedError(
                f"showed nothing: the observation is None, and {declared} (if it draws only in a render mode: --set"
                " env.kwargs.render_mode=rgb_array)"
            )
        try:
            seen = np.asarray(picture)
        except Exception as error:
            raise EnvironmentFailedError(f"showed what is no array ({error}), and {declared}") from None
        if np.ma.is_masked(picture):
            raise EnvironmentFailedError(f"showed an array with masked values, and {declared}")
        if seen.shape != self.shape:
            raise EnvironmentFailedError(
                f"showed an array of shape {seen.shape}, and {declared}: all must have that size"
            )
        if seen.dtype == np.uint8 and self._space.dtype == np.uint8 and self._scale == 1:
            return seen
        kinds = "iub" if self._space.dtype is not None and self._space.dtype.kind in "iub" else "f"
        if seen.dtype.kind not in kinds:
            raise EnvironmentFailedError(f"showed an array of {seen.dtype}, and {declared}: return what is declared")
        low, high = float(seen.min()), float(seen.max())
        if not (low >= 0 and high * self._scale <= 255):
            raise EnvironmentFailedError(
                f"showed values from {low:g} to {high:g}, and its pictures are to lie in [0, {255 // self._scale}]"
            )
        if not self._bright:
            self._bright = high > 1
            self.unscaled = not self._bright and (self.unscaled or bool((seen % 1).any()))
        return np.rint(seen * np.float64(self._scale)).astype(np.uint8)


def _scale_of(who: str, space: spaces.Box) -> int:
    """Return what makes a picture's numbers 0 to 255: 1 or 255."""
    kind, low, high = (
        space.dtype.kind if space.dtype is not None else "?",
        float(space.low.min()),
        float(space.high.max()),
    )
    if low == 0 and high == 1 and kind in "fiub":
        return 255
    if space.dtype == np.uint8 or (low == 0 and high == 255 and kind in "fiu"):
        return 1
    raise UsageError(f"{who} shows {space.dtype} in [{low:g}, {high:g}], and wmloop looks at {_PICTURE}")
