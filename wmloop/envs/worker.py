"""A worker process: a few copies of the environment, driven one after the other on one core."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs.pixels import IMAGE_SIZE, PixelEnv
from wmloop.errors import EnvironmentFailedError, WmloopError


def serve(
    config: EnvConfig, patience: int, copies: Sequence[int], pipe: Connection, pictures: Any, driven: Any, me: int,
    core: int | None = None,
) -> None:  # fmt: skip
    """Answer the pool's requests until it closes its end of `pipe` or dies.

    First sends {0: (action_low, action_high)}. A request is `("reset", starts)`, each start a (seed, decisions), answered
    by {}; or `("step", actions)`, answered by {copy: (reward, terminated, truncated, frames)}. Either has one entry per
    copy of this worker, None for one that is not asked.
    Observations go to `pictures`, shared by all workers. `driven[me]` names the copy at work, so that the pool can
    tell which one a dead or hung worker was driving. A fault is sent as the exception itself, and ends the worker.
    With `core` the worker stays there, where the system lets it.
    """
    if core is not None and hasattr(
        os, "sched_setaffinity"
    ):  # else the policy pushes it to and fro (docs/performance.md)
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {core})
    for signum in (signal.SIGINT, signal.SIGTERM):  # they may go to the whole group; only the parent decides
        signal.signal(signum, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        try:
            _serve(config, patience, copies, pipe, view_pictures(pictures), driven, me)
        except Exception as error:
            pipe.send(_failure(error, driven[me]))
    except (EOFError, OSError):
        pass  # the pool closed or its process died: nobody is left to tell


def view_pictures(memory: Any) -> np.ndarray:
    """Return shared memory as (N, 64, 64, 3) uint8."""
    return np.asarray(np.frombuffer(memory, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3))


def _serve(
    config: EnvConfig,
    patience: int,
    copies: Sequence[int],
    pipe: Connection,
    pictures: np.ndarray,
    driven: Any,
    me: int,
) -> None:
    envs = []
    for copy in copies:
        driven[me] = copy
        envs.append(PixelEnv(config))
    left = [0] * len(envs)  # decisions until the copy is stopped; 0 is idle
    vain = [0] * len(envs)  # decisions since the last positive reward
    pipe.send({0: (envs[0].action_low, envs[0].action_high)})
    while True:
        try:
            request, values = pipe.recv()
        except EOFError:
            return
        answers: dict[int, tuple[float, bool, bool, int]] = {}
        for i, (copy, value) in enumerate(zip(copies, values, strict=True)):
            if value is None:
                continue
            driven[me] = copy
            if request == "reset":
                (seed, left[i]), vain[i] = value, 0
                pictures[copy] = envs[i].reset(seed)
            elif left[i]:
                pictures[copy], reward, terminated, truncated, frames = envs[i].step(value)
                left[i] -= 1
                vain[i] = 0 if reward > 0 else vain[i] + 1
                truncated = truncated or (not terminated and (left[i] == 0 or vain[i] >= patience))
                if terminated or truncated:
                    left[i] = 0
                answers[copy] = (reward, terminated, truncated, frames)
            else:
                answers[copy] = (0.0, False, False, 0)
        pipe.send(answers)


def _failure(error: Exception, copy: int) -> WmloopError:
    if isinstance(error, WmloopError):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
    return EnvironmentFailedError(f"environment copy {copy} failed with {what}")


def _die_with_parent() -> None:
    # a worker stuck inside its environment never sees the closed pipe
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)
