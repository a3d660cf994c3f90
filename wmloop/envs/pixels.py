"""One real environment as wmloop sees it: small pictures in, bounded actions out, a decision at a time."""

from __future__ import annotations

import difflib
import math
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from wmloop.config import EnvConfig
from wmloop.errors import DivergedError, UsageError

#: Side of every picture wmloop learns from (Ha & Schmidhuber 2018).
IMAGE_SIZE = 64

CAR_RACING = "CarRacing-v3"

_FRAMES_PER_SECOND = 30.0  # of an environment that does not say


class PixelEnv:
    """Drive one environment by decisions: repeat the action, sum the rewards, look once, shrink the picture.

    `action_low` and `action_high` are (A,) float32. `render_mode="rgb_array"` lets `render` return the full picture,
    and "human" opens the environment's own window. `frames_per_second` is the speed it is meant to be seen at.

    Raises:
        UsageError: the id is unknown, or the environment or the settings do not fit: see `_check`.
    """

    def __init__(self, config: EnvConfig, render_mode: str | None = None) -> None:
        self._env = _make(config, render_mode)
        try:
            _check(config, self._env.observation_space, self._env.action_space)
        except UsageError:
            self._env.close()
            raise
        action_space = self._env.action_space
        assert isinstance(action_space, spaces.Box)
        assert self._env.observation_space.shape is not None
        self.action_low = action_space.low.astype(np.float32)
        self.action_high = action_space.high.astype(np.float32)
        self.frames_per_second = float(self._env.metadata.get("render_fps") or _FRAMES_PER_SECOND)
        self._repeat = config.action_repeat
        self._shrink = BoxFilter(self._env.observation_space.shape, config.crop)
        self._observe = getattr(self._env.unwrapped, "observe", None)  # CarRacing draws only when asked

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode of `seed` and return its first observation, (64, 64, 3) uint8."""
        picture, _ = self._env.reset(seed=seed)
        return self._shrink(self._observe() if self._observe else picture)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, int]:
        """Hold `action` (A,) for up to `action_repeat` frames and return what came of it.

        The action is clipped to the Box. Returns (obs, reward, terminated, truncated, frames): reward summed over the
        frames driven, of which there are fewer than `action_repeat` only where the episode ended.

        Raises:
            DivergedError: the action holds NaN or infinity, or the reward does.
        """
        if not np.isfinite(action).all():
            raise DivergedError(f"the environment was given the action {action}: every entry must be finite")
        action = np.clip(action, self.action_low, self.action_high, dtype=np.float32)
        total, frames, terminated, truncated = 0.0, 0, False, False
        picture: Any = None
        while frames < self._repeat and not (terminated or truncated):
            picture, reward, terminated, truncated, _ = self._env.step(action)
            total += float(reward)
            frames += 1
        if not math.isfinite(total):
            raise DivergedError(f"the environment returned the reward {total}; nothing can be learnt from it")
        obs = self._shrink(self._observe() if self._observe else picture)
        return obs, total, bool(terminated), bool(truncated), frames

    def render(self) -> np.ndarray:
        """Return the full picture for people, (H, W, 3) uint8; needs `render_mode="rgb_array"`."""
        return np.asarray(self._env.render())

    def close(self) -> None:
        """Free the environment's window and memory."""
        self._env.close()


class BoxFilter:
    """Shrink (or enlarge) the cropped part of a picture to 64x64 by exact area averages.

    Each output pixel is the mean of the input area it covers, parts of pixels counted in part, rounded to nearest.
    `crop` is (top, bottom, left, right). The weights are whole numbers and the sums stay below 2**24 (2**53 for
    large pictures), so the result is exact and the same on every machine, whatever its BLAS does.
    """

    def __init__(self, shape: tuple[int, ...], crop: tuple[int, int, int, int] | None) -> None:
        top, bottom, left, right = crop or (0, shape[0], 0, shape[1])
        self._window = slice(top, bottom), slice(left, right)
        height, width = bottom - top, right - left
        self._area = height * width
        self._dtype = np.float32 if 255 * self._area < 2**24 else np.float64
        self._rows: np.ndarray = _overlaps(height).astype(self._dtype)  # (64, H)
        # one product over (W, channel) pairs is faster than a small one per row
        self._columns: np.ndarray = np.kron(_overlaps(width).T, np.eye(3)).astype(self._dtype)  # (3W, 3*64)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return the (64, 64, 3) uint8 version of `picture` (H, W, 3) uint8."""
        part = picture[self._window].astype(self._dtype)
        sums: np.ndarray = self._rows @ part.reshape(len(part), -1) @ self._columns
        nearest: np.ndarray = (2 * sums.astype(np.int64) + self._area) // (2 * self._area)
        return nearest.astype(np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 3)


def _overlaps(size: int) -> np.ndarray:
    """Return how much of input pixel j output pixel i covers, (64, size), in 64ths of an input pixel."""
    out = np.arange(IMAGE_SIZE)[:, None] * size
    pixel = np.arange(size)[None, :] * IMAGE_SIZE
    shared: np.ndarray = np.minimum(out + size, pixel + IMAGE_SIZE) - np.maximum(out, pixel)
    return shared.clip(min=0)


def _make(config: EnvConfig, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    try:
        if config.id == CAR_RACING:
            return _make_car_racing(dict(config.kwargs), render_mode)
        kwargs: dict[str, Any] = dict(config.kwargs)
        with warnings.catch_warnings(action="ignore"):  # what matters of them is raised, in wmloop's words
            return gymnasium.make(config.id, render_mode=render_mode, disable_env_checker=True, **kwargs)
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv, ModuleNotFoundError) as error:
        name = config.id.rpartition(":")[2]
        near = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `gymnasium.pprint_registry()` for the names"
        raise UsageError(f"there is no environment {config.id!r} ({_first_line(error)}); {hint}") from error
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(f"the environment {config.id!r} needs a package: {_first_line(error)}") from error
    except (TypeError, gymnasium.error.Error) as error:
        raise UsageError(f"the environment {config.id!r} cannot be made: {_first_line(error)}") from error


def _make_car_racing(kwargs: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
    # pygame and Box2D load only where they are driven
    from wmloop.envs.carracing import OnDemandCarRacing

    spec = gymnasium.spec(CAR_RACING)
    limit = kwargs.pop("max_episode_steps", spec.max_episode_steps)
    env = OnDemandCarRacing(render_mode=render_mode, lazy=True, **{**spec.kwargs, **kwargs})
    env.spec = spec
    return gymnasium.wrappers.TimeLimit(env, int(limit)) if limit else env


def _check(config: EnvConfig, seen: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
    name = config.id
    if not isinstance(action, spaces.Box) or len(action.shape) != 1 or not action.is_bounded():
        raise UsageError(f"{name!r} has the actions {action}, and wmloop drives by a bounded Box of one dimension")
    if not isinstance(seen, spaces.Box) or seen.dtype != np.uint8 or len(seen.shape) != 3 or seen.shape[2] != 3:
        raise UsageError(f"{name!r} shows {seen}, and wmloop looks at RGB pictures: a uint8 Box of shape (H, W, 3)")
    size = action.shape[0]
    for key in ("mean", "scale", "boost"):
        length = len(getattr(config.driving, key))
        if length != size:
            raise UsageError(f"env.driving.{key} has {length} entries, and {name!r} has {size} action dimensions")
    if any(not 0 <= dimension < size for dimension in config.mirror):
        raise UsageError(f"env.mirror names {config.mirror}, and {name!r} has the action dimensions 0 to {size - 1}")
    if config.crop is not None:
        top, bottom, left, right = config.crop
        height, width, _ = seen.shape
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise UsageError(f"env.crop {config.crop} does not lie within the {height}x{width} pictures of {name!r}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
