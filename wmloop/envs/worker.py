"""A worker process: a few copies of the environment, driven one after the other on one core.

Whatever an environment does happens here and ends with the worker: what it prints, its threads and processes, its signal
handlers, `sys.exit` and `os.chdir`.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs import processes
from wmloop.envs.answers import remember_folder
from wmloop.envs.bounded import BoundedEnv
from wmloop.envs.drawing import DrawingEnv
from wmloop.envs.examine import examine
from wmloop.envs.faults import where
from wmloop.envs.observations import LARGEST_BYTES
from wmloop.envs.real import RealEnv
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError, WmloopError
from wmloop.spaces import ActionSpec, ObservationSpec

#: Seconds that the environments get to close themselves once nobody is left who could ask them anything.
GRACE = 2.0


class Facts(NamedTuple):
    """What a pool is told of its environment: its actions and observations, its speed, its time limit (see RealEnv)."""

    actions: ActionSpec
    observations: ObservationSpec
    frames_per_second: float
    frame_limit: int | None


class Work(NamedTuple):
    """What one worker does: which copies of what environment, and the memory by which it and the pool see each other.

    `memory` is shared by all workers and has room for one observation a copy. `driven[me]` is the copy at work, so
    that the pool can tell which one a dead or hung worker was driving, and `steps[me]` counts what it has done, so that a slow
    worker is told from a hung one. With `trace` an exception is printed in full.
    """

    config: EnvConfig
    render: bool
    trace: bool
    max_unrewarded: int
    copies: Sequence[int]
    memory: Any
    driven: Any
    steps: Any
    me: int
    core: int | None
    mark: str


def serve(work: Work, pipe: Connection, output: Connection | None) -> None:
    """Answer the pool's requests until it closes its end of `pipe` or dies.

    First sends [Facts]. A request names copies of this worker, by their places in `work.copies`, and has a value for each:
    `("reset", places, starts)`, each start a (seed, decisions), answered by a None each; `("step", places, actions)`, by a
    (reward, terminated, truncated, frames, cut); `("render", places, asked)`, each asked an observation to be drawn, or True
    for the present one, by a picture or None; or `("examine", places, together)`, by notes. A fault is sent as the exception
    itself, and ends the worker. What is printed here goes to `output`.
    """
    if work.core is not None and hasattr(os, "sched_setaffinity"):  # else the policy pushes it to and fro
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {work.core})
    remember_folder()
    _redirect(output)
    processes.lead(work.mark)
    # an environment may have processes of its own, which multiprocessing forbids to those it calls daemons
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    multiprocessing.set_start_method(None, force=True)  # it may choose how its processes start, too
    threading.Thread(target=_die_with_parent, daemon=True).start()
    crew, me = _Crew(work), os.getpid()
    try:
        crew.serve(pipe)
    except _GoneError:
        pass
    except BaseException as error:  # also SystemExit, whoever raised it
        if os.getpid() == me:
            with contextlib.suppress(OSError, ValueError):
                pipe.send(crew.failure(error))
    finally:
        if os.getpid() != me:  # an environment has forked, and its child came back here
            os._exit(1)
        crew.close()
        processes.end_descendants()  # first, for at its exit multiprocessing waits for its children
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()  # an environment's own, which takes away what it made
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)  # threads that an environment left behind must not keep the process


def shared_memory(context: Any, num_envs: int) -> Any:
    """Return memory for an observation of each copy, whatever the environment is going to show."""
    return context.RawArray("B", num_envs * LARGEST_BYTES)


def view_observations(memory: Any, num_envs: int, observations: ObservationSpec) -> np.ndarray:
    """Return shared memory as observations (N, ...)."""
    shape = num_envs, *observations.shape
    return np.frombuffer(memory, observations.dtype, math.prod(shape)).reshape(shape)


class _GoneError(Exception):
    """Tell that the pool closed its pipe, or died."""


class _Crew:
    """The copies of one worker, and where each of them is."""

    def __init__(self, work: Work) -> None:
        self._work, self._pid = work, os.getpid()
        self._seen = np.zeros(0)
        self._copies: list[BoundedEnv] = []
        self._second: RealEnv | None = None  # made to be examined beside the first, or to draw
        self._at: BoundedEnv | None = None  # the copy at work

    def serve(self, pipe: Connection) -> None:
        work = self._work
        for copy in work.copies:
            work.driven[work.me] = copy
            self._copies.append(BoundedEnv(work.config, work.max_unrewarded, work.render))
            self._tick()
        first = self._copies[0].env
        self._seen = view_observations(work.memory, len(work.memory) // LARGEST_BYTES, first.observations)
        pipe.send([Facts(first.actions, first.observations, first.frames_per_second, first.frame_limit)])
        answer: dict[str, Callable[[int, Any], Any]] = {
            "reset": self._reset, "step": self._step, "render": self._render, "examine": self._examine,
        }  # fmt: skip
        while True:
            try:
                request, places, values = pipe.recv()
            except (EOFError, ConnectionError):
                raise _GoneError from None
            answers, do = [], answer[request]
            for i, value in zip(places, values, strict=True):
                work.driven[work.me] = work.copies[i]
                self._at = self._copies[i]
                answers.append(do(i, value))
                self._tick()
            self._at = None
            if os.getpid() != self._pid:
                raise _GoneError
            try:
                pipe.send(answers)
            except OSError:
                raise _GoneError from None

    def failure(self, error: BaseException) -> WmloopError:
        """Return a fault as the pool is to raise it, and print in full what the environment raised itself."""
        who = f"environment copy {self._work.driven[self._work.me]}"
        if self._at is not None and self._at.seed is not None:
            who += f" (seed {self._at.seed}, agent step {self._at.decisions})"
        if isinstance(error, UsageError):
            return error
        if isinstance(error, DivergedError | EnvironmentFailedError):
            return type(error)(f"{who} {error}")
        if self._work.trace:
            with contextlib.suppress(Exception):  # it may have closed its stderr
                traceback.print_exception(error)
        return EnvironmentFailedError(f"{who} failed with {where(error)}")

    def close(self) -> None:
        """Let every copy close itself, whatever the others do."""
        for env in [*(copy.env for copy in self._copies), *([self._second] if self._second else [])]:
            try:
                env.close()
            except BaseException as error:
                with contextlib.suppress(Exception):
                    traceback.print_exception(error)

    def _reset(self, i: int, start: tuple[int, int]) -> None:
        self._copies[i].reset(*start)
        self._seen[self._work.copies[i]] = self._copies[i].observation

    def _step(self, i: int, action: np.ndarray) -> tuple[object, ...]:
        copy = self._copies[i]
        done = copy.step(action)
        if done.frames:
            self._seen[self._work.copies[i]] = copy.observation
        return (*done[:4], int(done.cut))  # enums are slow to send

    def _render(self, i: int, asked: Any) -> np.ndarray | None:
        if not np.ndim(asked):
            return self._copies[i].env.render()
        if not isinstance(self._second, DrawingEnv):
            self._second = DrawingEnv(self._work.config)
        return self._second.draw(asked)

    def _examine(self, i: int, together: bool) -> list[str]:
        if together:
            try:
                self._second = RealEnv(self._work.config)
            except UsageError as error:
                raise UsageError(
                    f"{error}: the first instance could be made, this was a second one; if only one can exist at a time,"
                    " --set env.num_envs=1"
                ) from error

        def tick(seed: int, decision: int) -> None:
            self._copies[i].seed, self._copies[i].decisions = seed, decision
            self._tick()

        return examine(self._copies[i].env, self._work.config, self._second if together else None, tick)

    def _tick(self) -> None:
        self._work.steps[self._work.me] += 1


def _redirect(output: Connection | None) -> None:
    """Send what is printed here to `output`, also by programs started here, and let nothing be read from a terminal."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    to = nothing if output is None else output.fileno()
    for fd in (1, 2):
        os.dup2(to, fd)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(fd, "w", buffering=1, errors="replace", closefd=False))  # noqa: SIM115
    os.close(nothing)
    if output is not None:
        output.close()


def _die_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    threading.Event().wait(
        GRACE
    )  # the main thread sees the closed pipe and closes its environments, unless it is stuck
    processes.end_descendants()
    os._exit(1)
