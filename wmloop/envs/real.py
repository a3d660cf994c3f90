"""One real environment as wmloop sees it: observations of one kind in, actions of one kind out, a decision at a time."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import gymnasium
import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.answers import LARGEST_REWARD, not_unpacked, place_of, read_rendering, read_reset, read_step
from wmloop.envs.fitting import fit
from wmloop.envs.making import drawn_space, make
from wmloop.errors import DivergedError, EnvironmentFailedError

_FRAMES_PER_SECOND = 30.0  # of an environment that does not say


class RealEnv:
    """Drive one environment by decisions: repeat the action, sum the rewards, look once.

    It takes `actions` and shows `observations`, which is what the environment takes and shows, cast (see envs.actions and
    envs.observations). With `render_mode="rgb_array"` `render` returns the full picture.
    `frames_per_second` is the speed it is meant to be seen at, `repeat` the frames of a decision, `frame_limit` its own time
    limit in frames, or None, and `notes` says what is cast on the way. An episode has `config.episode_frames` frames at most,
    or as many as the environment lets it have.

    Raises:
        UsageError: the id is unknown, or the environment or the settings do not fit: see envs.fitting.
    """

    def __init__(self, config: EnvConfig, render_mode: str | None = None) -> None:
        self._env, self._observe = make(config, render_mode)
        try:
            drawn = drawn_space(config, self._env) if config.pixels else None
            self._act, self._see = fit(config, self._env, drawn)
            self._space = self._env.action_space
        except BaseException:
            self._env.close()
            raise
        self._pixels = config.pixels
        if config.pixels:
            self._observe = lambda: read_rendering(self._env.render())
        self._read = self._see.read
        self.actions, self.observations = self._act.spec, self._see.spec
        self.notes = [note for note in (self._act.note, *self._see.notes) if note]
        self.frames_per_second, self.frame_limit = _speed(self._env), _limit(self._env)
        own = config.most_frames if self.frame_limit is None else self.frame_limit
        self.repeat, self._most = config.action_repeat, config.episode_frames or own
        self._frames = 0
        self.capped = False  # whether it was truncated here, and not by itself
        self._shown: Any = None  # by the environment itself
        self._seen: np.ndarray | None = None  # of it, one of `observations`

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode of `seed` and return its first observation, one of `observations`.

        Raises:
            EnvironmentFailedError: what `reset` returns is no observation as declared.
        """
        self._frames = 0
        try:
            self._shown = read_reset(self._env.reset(seed=seed))
            if self._env.action_space != self._space:
                raise EnvironmentFailedError(
                    f"has other actions after its reset, {self._env.action_space}, than {self._space}"
                )
            return self._look(ended=False)
        except EnvironmentFailedError as error:
            raise type(error)(f"{error}{place_of(self._env, 'reset')}") from None

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, int]:
        """Hold `action`, one of `actions`, for up to `action_repeat` frames and return what came of it.

        Numbers are clipped to their bounds, and each frame gets an array of its own. Returns (obs, reward, terminated,
        truncated, frames): reward summed over the frames driven, of which there are fewer than `action_repeat` only where
        the episode ended.

        Raises:
            DivergedError: the action is none, or holds NaN or infinity, or the reward does.
            EnvironmentFailedError: what `step` returns is not as declared.
        """
        given = self._act(action)
        total, frames, terminated, truncated = 0.0, 0, False, False
        try:
            while frames < self.repeat and not (terminated or truncated):
                frames += 1
                # some scale their action in place
                answer = self._env.step(given if frames == self.repeat else given.copy())
                self._shown, reward, terminated, truncated = read_step(answer)
                total += reward
                self.capped = not (terminated or truncated) and self._frames + frames >= self._most
                truncated = truncated or self.capped
            self._frames += frames
            if not -LARGEST_REWARD <= total <= LARGEST_REWARD:
                raise DivergedError(f"returned rewards whose sum is {total}: nothing can be learnt from it")
            return self._look(ended=terminated or truncated), total, terminated, truncated, frames
        except (EnvironmentFailedError, DivergedError) as error:
            raise type(error)(f"{error}{place_of(self._env, 'step')}") from None
        except (TypeError, ValueError) as error:
            if (told := not_unpacked(error)) is None:
                raise
            raise type(told)(f"{told}{place_of(self._env, 'step')}") from error

    @property
    def unscaled(self) -> bool:
        """Tell whether it declares pictures in [0, 255] and shows them in [0, 1]."""
        return self._see.unscaled

    def render(self) -> np.ndarray | None:
        """Return the full picture for people, (H, W, 3) uint8, or None where there is none.

        Where the environment draws none, it is that of the latest observation, if that has one.
        """
        picture = None
        if getattr(self._env, "render_mode", None):
            with contextlib.suppress(Exception):  # many a one cannot
                picture = read_rendering(self._env.render())
        if picture is not None:
            return picture
        seen = self._see.picture(self._observe() if self._observe else self._shown)
        return None if seen is None else seen.copy()

    def close(self) -> None:
        """Free the environment's window and memory."""
        self._env.close()

    def look(self, observation: Any) -> np.ndarray:
        """Return what is learnt from, one of `observations`, of an observation as the environment gives it.

        With env.pixels, the environment is one that gives its pictures.

        Raises:
            EnvironmentFailedError: it is none as declared.
        """
        return self._see(read_rendering(observation) if self._pixels else observation)

    def in_range(self, action: np.ndarray) -> Any:
        """Return one of `actions` as the environment takes it: clipped to its bounds, in its own dtype and shape.

        Raises:
            DivergedError: it is none, or holds NaN or infinity.
        """
        return self._act(action)

    def _look(self, ended: bool) -> np.ndarray:
        shown = self._observe() if self._observe else self._shown
        seen = self._seen = self._read(shown, self._seen if ended else None)
        return seen


def _speed(env: Any) -> float:
    try:
        speed = float(env.metadata.get("render_fps") or _FRAMES_PER_SECOND)
    except (AttributeError, TypeError, ValueError):
        return _FRAMES_PER_SECOND
    return speed if 0 < speed < math.inf else _FRAMES_PER_SECOND


def _limit(env: Any) -> int | None:
    limits = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(int(env._max_episode_steps))
        env = env.env
    return min(limits, default=None)
