"""Many copies of the real environment, driven side by side on all cores."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from wmloop import machine
from wmloop.config import EnvConfig
from wmloop.envs.memory import SharedMemory
from wmloop.envs.output import Sink
from wmloop.envs.starting import context_for, worker_cores
from wmloop.envs.steps import UNLIMITED, PoolStep
from wmloop.envs.workers import Workers
from wmloop.errors import DivergedError, EnvironmentFailedError
from wmloop.spaces import ActionSpec, ObservationSpec

_WORTH_MOVING = 1e-3  # seconds from one answer to the next, of which moving the thread takes a few hundredths


@dataclass(eq=False)
class _Request:
    """What some copies were asked: the workers that have not answered yet, and what the latest one answered."""

    copies: Any  # a range where they are to step, else a list
    workers: set[int]
    answer: Any = None


class _Part(NamedTuple):
    """The copies of one worker among others, and the message by which it is asked to step them."""

    worker: int
    copies: list[int]
    step: memoryview


class EnvPool:
    """Drive `num_envs` copies of one environment in parallel: `reset`, then `step` until all have ended.

    `send` and `receive` step a part of the copies without waiting, so that the caller can think about the others. Copies
    are dealt to `num_workers` processes, by default one per core. A copy whose episode has ended idles at no cost until it is
    reset: its `step` is its last observation, reward 0 and 0 frames. The same seeds and actions give the same episodes
    whatever `num_envs` is. With `max_unrewarded`, an episode without a positive reward for so many decisions is truncated.
    What environments print goes to `output`, line by line, while the pool is waited for. With `render`, `render` draws; with
    `trace`, what one raises is printed in full. After any error the pool is closed: make a new one.

    gymnasium's AsyncVectorEnv was measured and not taken: one process per copy reached 74% of the frames per second
    of two independent loops (16 copies, 2 cores), and it can wait for ever on a worker that dies while starting.

    Raises:
        UsageError: as RealEnv does.
        EnvironmentFailedError: a worker did not start.
    """

    actions: ActionSpec
    observations: ObservationSpec
    frames_per_second: float
    frame_limit: int | None

    def __init__(
        self, config: EnvConfig, num_envs: int, max_unrewarded: int | None = None, output: Sink | None = None,
        render: bool = False, trace: bool = True, num_workers: int | None = None,
    ) -> None:  # fmt: skip
        assert num_envs >= 1
        self.num_envs = num_envs
        context: Any = context_for(config)
        cores = worker_cores()
        # where each worker stays, if it does: of a part of the cores others might stay on the same
        own = num_workers is None and num_envs >= len(cores) == len(machine.affinity())
        num_workers = min(num_envs, num_workers or len(cores))
        self._cores = cores if own else []
        memory = SharedMemory.of(context, num_envs, num_workers)
        self._copies = [range(i, num_envs, num_workers) for i in range(num_workers)]
        self._asked: list[_Request] = []  # not received yet, oldest first
        self._known: dict[range, list[_Part]] = {}
        self._pinned = self._cores
        self._received, self._apart = 0.0, math.inf  # when the latest answer came, and how long after the one before
        self._workers = Workers(
            context, config, self._copies, self._cores, memory, max_unrewarded, output, render, trace
        )
        try:
            self._asked.append(_Request(range(num_envs), set(range(num_workers))))
            self.actions, self.observations, self.frames_per_second, self.frame_limit = self._answer().answer
            self._actions, self._seen, told = memory.view(self.actions, self.observations)
            self._came = PoolStep(self._seen, *(told[name] for name in PoolStep._fields[1:]))
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int | None], decisions: Sequence[int | None] | None = None) -> np.ndarray:
        """Begin an episode in every copy that has a seed and return all observations, (N, ...).

        A copy with None stays as it is: driving or idle. `decisions` bounds each new episode, which is truncated there.
        Steps that were sent and not received are waited for and dropped.

        Raises:
            EnvironmentFailedError: a worker died, or did not answer within the configured timeout.
        """
        assert len(seeds) == self.num_envs
        while self._asked:
            self._answer()
        limits = [limit or UNLIMITED for limit in decisions or [None] * self.num_envs]
        begun = [copy for copy, seed in enumerate(seeds) if seed is not None]
        for copy in begun:
            self._workers.seeds[copy] = seeds[copy]
        self._ask(
            begun,
            lambda part: ForkingPickler.dumps(("reset", part.copies, [(seeds[i], limits[i]) for i in part.copies])),
        )
        self._answer()
        return self._seen.copy()

    def step(self, actions: np.ndarray) -> PoolStep:
        """Take one decision in every copy; `actions` (N, ...) are brought within what the environment takes.

        Raises:
            DivergedError: an action, or what it was paid, is not finite.
            EnvironmentFailedError: a worker died, or did not answer within the timeout.
        """
        self.send(range(self.num_envs), actions)
        return self.receive()[1]

    def send(self, copies: range, actions: np.ndarray) -> None:
        """Let `copies` take one decision, `actions` (len(copies), ...), without waiting for it: `receive` does.

        What was sent to any of them before was received.

        Raises:
            DivergedError: an action is not finite.
        """
        actions = np.asarray(actions, self.actions.dtype)
        assert actions.shape == (len(copies), *self.actions.shape)
        assert all(request.copies != copies for request in self._asked)
        if actions.dtype.kind == "f" and not np.isfinite(actions).all():
            bad = int(np.argwhere(~np.isfinite(actions))[0, 0])
            self.close()
            raise DivergedError(
                f"the policy gave environment copy {copies[bad]} the action {actions[bad]}, which is not finite: a smaller"
                " controller.learning_rate, in a fork or a new run, may help"
            )
        self._actions[copies.start : copies.stop : copies.step] = actions
        self._ask(copies, lambda part: part.step)

    def receive(self) -> tuple[range, PoolStep]:
        """Wait until one `send` is done, whichever is first, and return its copies and what came of it.

        The calling thread waits, and stays, with the workers that were asked first (see `pin_thread`), unless answers come so
        fast that it would be moved all the time.

        Raises:
            DivergedError: what an action was paid is not finite.
            EnvironmentFailedError: a worker died, or did not answer within the timeout.
        """
        self.pin_thread(self._asked[0].copies if self._apart >= _WORTH_MOVING else range(self.num_envs))
        copies: range = self._answer().copies
        mine = slice(copies.start, copies.stop, copies.step)
        before, self._received = self._received, time.monotonic()
        self._apart = self._received - before
        return copies, PoolStep(*(part[mine].copy() for part in self._came))

    def render(self, observation: np.ndarray | None = None) -> np.ndarray | None:
        """Return the full picture of the first copy, or of an observation (see RemoteEnv); of a pool made with `render`."""
        picture: np.ndarray | None = self._answer_of("render", True if observation is None else observation)
        return picture

    def examine(self, num_envs: int) -> list[str]:
        """Let the first copy be driven for a moment and return what is worth knowing of `num_envs` such (see envs.examine).

        Raises:
            EnvironmentFailedError, DivergedError: what it returns is not as it declares.
        """
        notes: list[str] = self._answer_of("examine", num_envs > len(worker_cores()))
        return notes

    def pin_thread(self, copies: Sequence[int]) -> None:
        """Keep the calling thread on the cores of the workers of `copies`, which are free while it thinks about these.

        Elsewhere it would take turns with a worker that is driving. With all copies it may go anywhere again.
        """
        if not self._cores or not hasattr(os, "sched_setaffinity"):
            return
        cores = [self._cores[part.worker] for part in self._parts(copies)]
        if cores != self._pinned:
            self._pinned = cores
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, cores)

    def close(self) -> None:
        """End the workers; at most a few seconds, also when they are dead or stuck. Closing twice is fine."""
        self.pin_thread(range(self.num_envs))
        self._asked = []
        self._workers.close()

    def __enter__(self) -> EnvPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer_of(self, request: str, value: Any) -> Any:
        self._ask(range(1), lambda part: ForkingPickler.dumps((request, part.copies, value)))
        return self._answer().answer

    def _parts(self, copies: Sequence[int]) -> list[_Part]:
        """Return which worker has which of `copies`."""
        if isinstance(copies, range) and (known := self._known.get(copies)):
            return known
        dealt = dict[int, list[int]]()
        for copy in copies:
            dealt.setdefault(copy % len(self._copies), []).append(copy)
        parts = [_Part(worker, own, ForkingPickler.dumps(("step", own, None))) for worker, own in dealt.items()]
        if isinstance(copies, range):
            self._known[copies] = parts
        return parts

    def _ask(self, copies: Sequence[int], message: Callable[[_Part], memoryview]) -> None:
        if self._workers.closed:
            raise EnvironmentFailedError("this pool of environments is closed: make a new one")
        parts = self._parts(copies)
        self._asked.append(_Request(copies, {part.worker for part in parts}))
        try:
            for part in parts:
                self._workers.ask(part.worker, message(part))
        except BaseException:  # Ctrl-C: some workers were asked and some were not
            self.close()
            raise

    def _answer(self) -> _Request:
        """Return a request that all its workers have answered, the oldest such; wait until there is one."""
        assert self._asked, "nothing was sent"
        try:
            while not (done := [request for request in self._asked if not request.workers]):
                busy = {worker for request in self._asked for worker in request.workers}
                for worker, answer in self._workers.answers(busy):
                    request = next(request for request in self._asked if worker in request.workers)
                    request.workers.remove(worker)
                    request.answer = answer
        except BaseException:  # also Ctrl-C: answers still under way would be taken for those of the next request
            self.close()
            raise
        self._asked.remove(done[0])
        return done[0]
