"""A worker process: a few copies of the environment, driven one after the other on one core.

Whatever an environment does happens here and ends with the worker: what it prints, its threads and processes, its signal
handlers, `sys.exit` and `os.chdir`.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from wmloop.config import EnvConfig
from wmloop.envs import processes
from wmloop.envs.answers import remember_folder
from wmloop.envs.bounded import BoundedEnv
from wmloop.envs.drawing import DrawingEnv
from wmloop.envs.examine import examine
from wmloop.envs.faults import where
from wmloop.envs.memory import SharedMemory
from wmloop.envs.output import redirect
from wmloop.envs.real import RealEnv
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError, WmloopError
from wmloop.spaces import ActionSpec, ObservationSpec

#: Seconds that the environments get to close themselves once nobody is left who could ask them anything.
GRACE = 2.0
_DONE = bytes(ForkingPickler.dumps(None))


class Facts(NamedTuple):
    """What a pool is told of its environment: its actions and observations, its speed, its time limit (see RealEnv)."""

    actions: ActionSpec
    observations: ObservationSpec
    frames_per_second: float
    frame_limit: int | None


class Work(NamedTuple):
    """What one worker does: which copies of what environment, and the memory by which it and the pool see each other.

    `me` is its number among the workers. With `trace` an exception is printed in full.
    """

    config: EnvConfig
    render: bool
    trace: bool
    max_unrewarded: int
    copies: Sequence[int]
    memory: SharedMemory
    me: int
    core: int | None
    mark: str


def serve(work: Work, pipe: Connection, output: Connection | None) -> None:
    """Answer the pool's requests until it closes its end of `pipe` or dies.

    First sends Facts. Then it is asked `("reset", copies, starts)`, a start a (seed, decisions) for each, or
    `("step", copies, None)`, whose actions are in the memory, and answers None once what came of it is there, too; or, of one
    copy, `("render", copies, asked)`, an observation to be drawn, or True for the present one, answered by a picture or None,
    or `("examine", copies, together)`, answered by notes. A fault is sent as the exception itself, and ends the worker. What is
    printed here goes to `output`.
    """
    if work.core is not None and hasattr(os, "sched_setaffinity"):  # else the policy pushes it to and fro
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {work.core})
    remember_folder()
    redirect(output)
    processes.lead(work.mark)
    multiprocessing.set_start_method(None, force=True)  # it may choose how its processes start, too
    # within the grace the main thread sees the closed pipe and closes its environments, unless it is stuck
    threading.Thread(target=processes.end_with_parent, args=(GRACE,), daemon=True).start()
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


class _GoneError(Exception):
    """Tell that the pool closed its pipe, or died."""


class _Crew:
    """The copies of one worker, and where each of them is."""

    def __init__(self, work: Work) -> None:
        self._work, self._pid = work, os.getpid()
        self._driven, self._steps = (np.frombuffer(of, np.int64) for of in (work.memory.driven, work.memory.steps))
        self._done = 0  # what `_steps` says
        self._copies: dict[int, BoundedEnv] = {}
        self._second: RealEnv | None = None  # made to be examined beside the first, or to draw
        self._at: BoundedEnv | None = None  # the copy at work

    def serve(self, pipe: Connection) -> None:
        work = self._work
        for copy in work.copies:
            self._driven[work.me] = copy
            self._copies[copy] = BoundedEnv(work.config, work.max_unrewarded, work.render)
            self._tick()
        first = self._copies[work.copies[0]].env
        self._actions, self._seen, self._told = work.memory.view(first.actions, first.observations)
        pipe.send(Facts(first.actions, first.observations, first.frames_per_second, first.frame_limit))
        do: dict[str, Callable[[Sequence[int], Any], Any]] = {
            "reset": self._reset, "step": self._step, "render": self._render, "examine": self._examine,
        }  # fmt: skip
        while True:
            try:
                request, copies, value = pipe.recv()
            except (EOFError, ConnectionError):
                raise _GoneError from None
            answer = do[request](copies, value)
            self._at = None
            self._tick()
            self._require_own()
            try:
                if answer is None:
                    pipe.send_bytes(_DONE)  # what `send(None)` sends
                else:
                    pipe.send(answer)
            except OSError:
                raise _GoneError from None

    def failure(self, error: BaseException) -> WmloopError:
        """Return a fault as the pool is to raise it, and print in full what the environment raised itself."""
        who = f"environment copy {self._driven[self._work.me]}"
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
        for env in [*(copy.env for copy in self._copies.values()), *([self._second] if self._second else [])]:
            try:
                env.close()
            except BaseException as error:
                with contextlib.suppress(Exception):
                    traceback.print_exception(error)

    def _each(self, copies: Sequence[int]) -> Iterator[tuple[int, BoundedEnv]]:
        """Yield each copy and its number in the pool, and note who is at work."""
        all_copies, driven, me = self._copies, self._driven, self._work.me
        for number in copies:
            driven[me] = number
            self._at = copy = all_copies[number]
            yield number, copy

    def _reset(self, copies: Sequence[int], starts: Sequence[tuple[int, int]]) -> None:
        for (number, copy), start in zip(self._each(copies), starts, strict=True):
            copy.reset(*start)
            self._require_own()
            self._seen[number] = copy.observation

    def _step(self, copies: Sequence[int], _: None) -> None:
        actions, seen, told = self._actions, self._seen, self._told
        for number, copy in self._each(copies):
            done = copy.step(actions[number])
            self._require_own()
            told[number] = done
            if done.frames:
                seen[number] = copy.observation

    def _render(self, copies: Sequence[int], asked: Any) -> np.ndarray | None:
        ((_, copy),) = self._each(copies)
        if not np.ndim(asked):
            return copy.env.render()
        if not isinstance(self._second, DrawingEnv):
            self._second = DrawingEnv(self._work.config)
        return self._second.draw(asked)

    def _examine(self, copies: Sequence[int], together: bool) -> list[str]:
        ((_, copy),) = self._each(copies)
        if together:
            try:
                self._second = RealEnv(self._work.config)
            except UsageError as error:
                raise UsageError(
                    f"{error}: the first instance could be made, this was a second one; if only one can exist at a time,"
                    " --set env.num_envs=1"
                ) from error

        def tick(seed: int, decision: int) -> None:
            copy.seed, copy.decisions = seed, decision
            self._tick()

        return examine(copy.env, self._work.config, self._second if together else None, tick)

    def _require_own(self) -> None:
        """Raise _GoneError in a child that an environment has forked and that came back here: the memory is the parent's."""
        if os.getpid() != self._pid:
            raise _GoneError

    def _tick(self) -> None:
        self._done += 1
        self._steps[self._work.me] = self._done
