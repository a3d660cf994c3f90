"""One environment in a process of its own, to play in and to be looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.engine import ENGINES, Envs, engine, make_envs
from wmloop.envs.examine import IRREPRODUCIBLE
from wmloop.envs.faults import where
from wmloop.envs.output import Sink
from wmloop.envs.pool import EnvPool
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError, WmloopError
from wmloop.spaces import ActionSpec, ObservationSpec, Vector

_DECISIONS = 8


class RemoteEnv:
    """Drive one environment as RealEnv does, in a worker; it renders full pictures.

    Raises:
        UsageError, EnvironmentFailedError: as EnvPool does.
    """

    def __init__(self, config: EnvConfig, output: Sink | None = None) -> None:
        self._pool = EnvPool(config, 1, output=output, render=True)
        self.actions, self.observations = self._pool.actions, self._pool.observations
        self.frames_per_second = self._pool.frames_per_second
        self._draws = isinstance(self.observations, Vector)

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode of `seed` and return its first observation."""
        return np.asarray(self._pool.reset([seed])[0])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, int]:
        """Take one decision; returns (obs, reward, terminated, truncated, frames)."""
        step = self._pool.step(action[None])
        return (
            step.obs[0],
            float(step.reward[0]),
            bool(step.terminated[0]),
            bool(step.truncated[0]),
            int(step.frames[0]),
        )

    def render(self) -> np.ndarray | None:
        """Return the full picture, (H, W, 3) uint8, or None where there is none (see RealEnv)."""
        return self._pool.render()

    def draw(self, observation: np.ndarray) -> np.ndarray | None:
        """Return the full picture of another observation, or None: only some environments draw one (see DrawingEnv).

        A copy of the environment beside the one that is driven draws it.
        """
        picture = self._pool.render(observation) if self._draws else None
        self._draws = picture is not None
        return picture

    def close(self) -> None:
        """End the worker."""
        self._pool.close()


class Checked(NamedTuple):
    """What was found of an environment: what its user should know, its own limit in frames, its actions and observations."""

    notes: list[str]
    frame_limit: int | None
    actions: ActionSpec
    observations: ObservationSpec


def check_environment(config: EnvConfig, output: Sink | None = None) -> Checked:
    """Make the environment once, drive it for a moment, and return what was found.

    Raises:
        UsageError: its engine is unknown, it does not fit, fails, or does not do what it declares; the message says what
            would fit.
        EnvironmentFailedError: it hangs, or its process dies.
    """
    engine(config.engine)
    try:
        with EnvPool(config, min(2, config.num_envs), output=output, trace=False) as pool:
            notes = pool.examine(config.num_envs)
            if IRREPRODUCIBLE not in notes and not _alike(pool):
                notes.append(IRREPRODUCIBLE)
            lines = [" ".join(note.split()) for note in notes]  # a space may have several in its name
            found = Checked(lines, pool.frame_limit, pool.actions, pool.observations)
    except UsageError:
        raise
    except (DivergedError, EnvironmentFailedError) as error:
        raise UsageError(f"the environment {config.id!r} cannot be used: {error}") from error
    if config.engine not in ENGINES.own and IRREPRODUCIBLE not in notes:
        _require_same_episode(config, output)
    return found


def _require_same_episode(config: EnvConfig, output: Sink | None) -> None:
    """Refuse an engine from elsewhere that does not drive the episode that ours drives.

    Raises:
        UsageError: it differs in what is told, or it fails.
    """
    try:
        with make_envs(config, 2, output=output) as theirs, EnvPool(config, 2, output=output, trace=False) as ours:
            for what, seen, wanted in zip(
                ("an observation", "a reward", "terminated or truncated"), _first(theirs), _first(ours), strict=True
            ):
                if seen.shape != wanted.shape or (seen != wanted).any():
                    raise UsageError(
                        f"the engine {config.engine!r} gives another episode than the engine 'processes': for the same seed and"
                        f" actions the first {_DECISIONS} agent steps differ in {what}"
                    )
    except WmloopError:
        raise
    except Exception as error:
        raise UsageError(f"the engine {config.engine!r} fails: {where(error)}") from error


def _first(envs: Envs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the observations, rewards and ends of the first decisions of two seeds."""
    rng, copies = np.random.default_rng(0), range(envs.num_envs)
    seen, rewards, ends = [envs.reset([1, 2], [_DECISIONS // 2, None])], [], []
    for _ in range(_DECISIONS):
        envs.send(copies, np.stack([envs.actions.sample(rng) for _ in copies]))
        _, step = envs.receive()
        seen.append(step.obs)
        rewards.append(step.reward)
        ends.append(np.stack([step.terminated, step.truncated, step.frames > 0]))
    return np.stack(seen), np.stack(rewards), np.stack(ends)


def _alike(pool: EnvPool) -> bool:
    """Tell whether all copies of a pool drive the same episode of a seed: each may have a process of its own."""
    rng, begun = np.random.default_rng(0), pool.reset([1] * pool.num_envs)
    if (begun != begun[0]).any():
        return False
    for _ in range(_DECISIONS):
        action = pool.actions.sample(rng)
        step = pool.step(np.stack([action] * pool.num_envs))
        if any((told != told[0]).any() for told in step):
            return False
    return True
