"""What Gymnasium knows of an environment, whether wmloop can drive it or not."""

from __future__ import annotations

import contextlib
import math
import secrets
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from wmloop.config import EnvConfig
from wmloop.envs import processes
from wmloop.envs.answers import remember_folder
from wmloop.envs.faults import where
from wmloop.envs.fitting import fit
from wmloop.envs.making import drawn_space, make
from wmloop.envs.output import redirect
from wmloop.envs.starting import clean_start, context_for
from wmloop.errors import EnvironmentFailedError, UsageError, WmloopError
from wmloop.spaces import ActionSpec, ObservationSpec

#: Of so many numbers the bounds of each are told, where they differ.
_EACH = 4


class Known(NamedTuple):
    """An environment as Gymnasium describes it: its whole id, its spaces in words, and numbers of its spec.

    The id has the newest version where it was named without one. A number is None where the spec does not say it. `misfit`
    says why wmloop cannot run it with the settings that it was made with, as a run that begins does; where it can, `spaces`
    are its actions and observations.
    """

    id: str
    observations: str
    actions: str
    max_episode_steps: int | None
    reward_threshold: float | None
    misfit: str | None = None
    spaces: tuple[ActionSpec, ObservationSpec] | None = None


def known(config: EnvConfig) -> Known:
    """Make an environment once, in a process of its own that ends with it, and return what is known of it.

    Raises:
        UsageError: it cannot be made.
        EnvironmentFailedError: it hangs, or its process dies.
    """
    context, mark = context_for(config), secrets.token_hex(8)
    mine, theirs = context.Pipe(duplex=False)
    with clean_start():
        process = context.Process(target=_tell, args=(config, theirs, mark), daemon=True)
        process.start()
    theirs.close()
    try:
        if not mine.poll(config.worker_timeout):
            raise EnvironmentFailedError(
                f"the environment {config.id!r} was not made within {config.worker_timeout:g} s (env.worker_timeout)"
            )
        told = mine.recv()
    except (EOFError, ConnectionError):
        raise EnvironmentFailedError(f"the environment {config.id!r} ended its process as it was made") from None
    finally:
        mine.close()
        processes.end_worker(process.pid, mark)
        process.join()
    if isinstance(told, WmloopError):
        raise told
    return Known(*told)


def _tell(config: EnvConfig, pipe: Connection, mark: str) -> None:
    """Send what is known of an environment, or why it cannot be made; what it prints goes nowhere."""
    remember_folder()
    redirect(None)
    processes.lead(mark)
    try:
        env, _ = make(config)
        pipe.send(tuple(_fitted(config, env, _described(config.id, env))))
        with contextlib.suppress(Exception):
            env.close()
    except WmloopError as error:
        pipe.send(error)
    except BaseException as error:
        pipe.send(UsageError(f"the environment {config.id!r} cannot be described: {where(error)}"))


def _described(asked: str, env: Any) -> Known:
    spec, (module, colon, _) = env.spec, asked.rpartition(":")
    threshold = None if spec is None or spec.reward_threshold is None else float(spec.reward_threshold)
    return Known(
        asked if spec is None else f"{module}{colon}{spec.id}",
        in_words(env.observation_space),
        in_words(env.action_space),
        None if spec is None or spec.max_episode_steps is None else int(spec.max_episode_steps),
        threshold if threshold is not None and math.isfinite(threshold) else None,
    )


def _fitted(config: EnvConfig, env: Any, told: Known) -> Known:
    try:
        actions, observations = fit(config, env, drawn_space(config, env) if config.pixels else None)
    except UsageError as error:
        return told._replace(misfit=str(error))
    return told._replace(spaces=(actions.spec, observations.spec))


def in_words(space: spaces.Space[Any]) -> str:
    """Return a space in a few words, on one line."""
    match space:
        case spaces.Dict():
            return "a dictionary of " + ", ".join(f"{name}: {in_words(part)}" for name, part in space.items())
        case spaces.Box(shape=(_, _, (1 | 3))):
            return f"pictures {' by '.join(map(str, space.shape))} ({space.dtype})"
        case spaces.Box(shape=(size,)):
            low, high = np.min(space.low), np.max(space.high)
            finite = np.isfinite([low, high]).all() and max(-low, high) < np.finfo(np.float16).max
            if finite and size <= _EACH and (np.ptp(space.low) or np.ptp(space.high)):
                return f"{size} numbers from {space.low.tolist()} to {space.high.tolist()}"
            return f"{size} number{'s' * (size != 1)}" + (f" from {low:g} to {high:g}" if finite else "")
        case spaces.Discrete():
            return f"one of {space.n}"
    return type(space).__name__ if space.shape is None else f"{type(space).__name__} {space.shape}"
