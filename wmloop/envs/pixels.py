"""One real environment as wmloop sees it: small pictures in, bounded actions out, a decision at a time."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import gymnasium
import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.answers import place_of, read_rendering, read_reset, read_step, unpacked
from wmloop.envs.making import make
from wmloop.envs.spaces import Actions, Pictures, check_spaces
from wmloop.errors import DivergedError, EnvironmentFailedError
from wmloop.spaces import Pixels

#: Every picture wmloop learns from (Ha & Schmidhuber 2018).
OBSERVATIONS = Pixels(64, 64)

_FRAMES_PER_SECOND = 30.0  # of an environment that does not say


class PixelEnv:
    """Drive one environment by decisions: repeat the action, sum the rewards, look once, shrink the picture.

    It takes `actions` and shows `observations`. With `render_mode="rgb_array"` `render` returns the full picture.
    `frames_per_second` is the speed it is meant to be seen at, `frame_limit` its own time limit in frames, or None, and
    `notes` says what is cast on the way. An episode has `config.episode_frames` frames at most, or as many
    as the environment lets it have.

    Raises:
        UsageError: the id is unknown, or the environment or the settings do not fit: see spaces.check_spaces.
    """

    def __init__(self, config: EnvConfig, render_mode: str | None = None) -> None:
        self._env, self._observe = make(config, render_mode)
        try:
            seen, action = check_spaces(config, self._env)
            self._space, self._act, self._see = action, Actions(action), Pictures(seen)
            self._shrink = BoxFilter(self._see.shape, config.crop, OBSERVATIONS)
        except BaseException:
            self._env.close()
            raise
        self.actions, self.observations = self._act.spec, OBSERVATIONS
        self.notes = [note for note in (self._act.note, self._see.note) if note]
        self.frames_per_second, self.frame_limit = _speed(self._env), _limit(self._env)
        own = config.most_frames if self.frame_limit is None else self.frame_limit
        self._repeat, self._most = config.action_repeat, config.episode_frames or own
        self._frames = 0
        self.capped = False  # whether it was truncated here, and not by itself
        self._picture: Any = None

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode of `seed` and return its first observation, one of `observations`.

        Raises:
            EnvironmentFailedError: what `reset` returns is no observation as declared.
        """
        self._frames = 0
        try:
            self._picture = read_reset(self._env.reset(seed=seed))
            if self._env.action_space != self._space:
                raise EnvironmentFailedError(
                    f"has other actions after its reset, {self._env.action_space}, than {self._space}"
                )
            return self._look()
        except EnvironmentFailedError as error:
            raise type(error)(f"{error}{place_of(self._env, 'reset')}") from None

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, int]:
        """Hold `action` (A,) for up to `action_repeat` frames and return what came of it.

        The action is clipped to the Box, and each frame gets an array of its own. Returns (obs, reward, terminated,
        truncated, frames): reward summed over the frames driven, of which there are fewer than `action_repeat` only where
        the episode ended.

        Raises:
            DivergedError: the action holds NaN or infinity, or the reward does.
            EnvironmentFailedError: what `step` returns is not as declared.
        """
        given = self._act(action)
        total, frames, terminated, truncated = 0.0, 0, False, False
        try:
            while frames < self._repeat and not (terminated or truncated):
                with unpacked():
                    answer = self._env.step(given.copy())  # some scale their action in place
                self._picture, reward, terminated, truncated = read_step(answer)
                total += reward
                frames += 1
                self.capped = not (terminated or truncated) and self._frames + frames >= self._most
                truncated = truncated or self.capped
            self._frames += frames
            if not math.isfinite(np.float32(total)):
                raise DivergedError(f"returned rewards whose sum is {total}: nothing can be learnt from it")
            return self._look(), total, terminated, truncated, frames
        except (EnvironmentFailedError, DivergedError) as error:
            raise type(error)(f"{error}{place_of(self._env, 'step')}") from None

    @property
    def unscaled(self) -> bool:
        """Tell whether it declares pictures in [0, 255] and shows them in [0, 1]."""
        return self._see.unscaled

    def render(self) -> np.ndarray:
        """Return the full picture for people, (H, W, 3) uint8: the latest observation where the environment draws none."""
        picture = None
        if getattr(self._env, "render_mode", None):
            with contextlib.suppress(Exception):  # many a one cannot
                picture = read_rendering(self._env.render())
        return self._see(self._observe() if self._observe else self._picture).copy() if picture is None else picture

    def close(self) -> None:
        """Free the environment's window and memory."""
        self._env.close()

    def look(self, observation: Any) -> np.ndarray:
        """Return what is learnt from, (64, 64, 3) uint8, of an observation as the environment gives it.

        Raises:
            EnvironmentFailedError: it is none as declared.
        """
        return self._shrink(self._see(observation))

    def in_range(self, action: np.ndarray) -> np.ndarray:
        """Return an action (A,) as the environment takes it: clipped to its bounds, in its own dtype.

        Raises:
            DivergedError: it holds NaN or infinity.
        """
        return self._act(action)

    def _look(self) -> np.ndarray:
        return self.look(self._observe() if self._observe else self._picture)


class BoxFilter:
    """Shrink (or enlarge) the cropped part of an RGB picture to the size of `made` by exact area averages.

    Each output pixel is the mean of the input area it covers, parts of pixels counted in part, rounded to nearest.
    `crop` is (top, bottom, left, right). The weights are whole numbers and the sums stay below 2**24 (2**53 for
    large pictures), so the result is exact and the same on every machine, whatever its BLAS does.
    """

    def __init__(self, shape: tuple[int, ...], crop: tuple[int, int, int, int] | None, made: Pixels) -> None:
        top, bottom, left, right = crop or (0, shape[0], 0, shape[1])
        self._window = slice(top, bottom), slice(left, right)
        height, width = bottom - top, right - left
        self._area, self._made = height * width, made
        self._dtype = np.float32 if 255 * self._area < 2**24 else np.float64
        self._rows: np.ndarray = _overlaps(height, made.height).astype(self._dtype)  # (h, H)
        # one product over (W, channel) pairs is faster than a small one per row
        self._columns: np.ndarray = np.kron(_overlaps(width, made.width).T, np.eye(3)).astype(self._dtype)  # (3W, 3w)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return the version (h, w, 3) uint8 of `picture` (H, W, 3) uint8."""
        part = picture[self._window].astype(self._dtype)
        sums: np.ndarray = self._rows @ part.reshape(len(part), -1) @ self._columns
        nearest: np.ndarray = (2 * sums.astype(np.int64) + self._area) // (2 * self._area)
        return nearest.astype(np.uint8).reshape(self._made.shape)


def _overlaps(size: int, made: int) -> np.ndarray:
    """Return how much of input pixel j output pixel i covers, (made, size), in parts of an input pixel, `made` to a whole."""
    out = np.arange(made)[:, None] * size
    pixel = np.arange(size)[None, :] * made
    shared: np.ndarray = np.minimum(out + size, pixel + made) - np.maximum(out, pixel)
    return shared.clip(min=0)


def _speed(env: Any) -> float:
    try:
        speed = float(env.metadata.get("render_fps") or _FRAMES_PER_SECOND)
    except (AttributeError, TypeError, ValueError):
        return _FRAMES_PER_SECOND
    return speed if 0 < speed < math.inf else _FRAMES_PER_SECOND


def _limit(env: Any) -> int | None:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None
