"""The worker processes of a pool: asked by messages, listened to, and named where they die or hang."""

from __future__ import annotations

import contextlib
import secrets
import select
import time
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from wmloop.config import EnvConfig
from wmloop.envs import processes
from wmloop.envs.memory import SharedMemory
from wmloop.envs.output import Output, Sink
from wmloop.envs.starting import clean_start
from wmloop.envs.steps import UNLIMITED
from wmloop.envs.worker import GRACE, Work, serve
from wmloop.errors import EnvironmentFailedError

_GRACE = 0.5  # seconds that the last words of ended workers get to arrive
_LOOK = 0.5  # seconds between two looks at how long a worker has been waited for


class Workers:
    """Start one worker process for each range of copies, kept on its core if it has one; each answers with its Facts.

    `seeds` are those of the copies' episodes, by which errors name them. What environments print goes to `output` while workers
    are waited for. The other arguments are those of EnvPool.
    """

    def __init__(
        self, context: Any, config: EnvConfig, copies: Sequence[range], cores: Sequence[int], memory: SharedMemory,
        max_unrewarded: int | None, output: Sink | None, render: bool, trace: bool,
    ) -> None:  # fmt: skip
        self.seeds: list[int | None] = [None] * memory.num_envs
        self._memory, self._timeout = memory, config.worker_timeout
        # how far each was when looked at, and seconds since that changed
        self._waited = [((0, 0), 0.0)] * len(copies)
        self._mark = secrets.token_hex(8)
        self._processes: list[BaseProcess] = []
        self._watch: BaseProcess | None = None
        self._pipes: list[Connection] = []
        self._output = Output(context, output)
        try:
            with clean_start():
                for i, own in enumerate(copies):
                    mine, theirs = context.Pipe()
                    self._pipes.append(mine)
                    core = cores[i] if cores else None
                    work = Work(config, render, trace, max_unrewarded or UNLIMITED, own, memory, i, core, self._mark)
                    arguments = (work, theirs, self._output.theirs)
                    process = context.Process(target=serve, args=arguments, name=f"wmloop-env-{i}", daemon=True)
                    process.start()
                    self._processes.append(process)
                    theirs.close()
                pids = [process.pid for process in self._processes]
                self._watch = context.Process(target=processes.watch, args=(pids, self._mark, 2 * GRACE), daemon=True)
                self._watch.start()
            self._output.begin()
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Tell whether they were ended."""
        return not self._pipes

    def ask(self, worker: int, message: memoryview) -> None:
        """Send one a pickled request (see worker.serve); a dead one is reported where its answer is awaited."""
        with contextlib.suppress(OSError):
            self._pipes[worker].send_bytes(message)

    def answers(self, busy: Collection[int]) -> Iterator[tuple[int, Any]]:
        """Wait for a moment and yield who of the `busy` has answered, and what.

        Raises:
            EnvironmentFailedError: one has died, or did not get on within the timeout; or whatever one raised.
        """
        silent = {self._pipes[worker]: worker for worker in busy}
        begun = time.monotonic()
        ready = _ready(list(silent), _LOOK)
        waited = min(time.monotonic() - begun, _LOOK)  # what was stopped by Ctrl-Z and goes on has not waited meanwhile
        for pipe in ready:
            worker = silent.pop(pipe)
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                self._fail(worker, hung=False)
            if isinstance(answer, Exception):
                raise answer
            self._waited[worker] = ((-1, -1), 0.0)
            yield worker, answer
        for worker in sorted(silent.values()):
            at, before = (self._memory.driven[worker], self._memory.steps[worker]), self._waited[worker]
            self._waited[worker] = (at, before[1] + waited if at == before[0] else 0.0)
            if self._waited[worker][1] >= self._timeout:
                self._fail(worker, hung=True)

        self._output.tell()

    def close(self) -> None:
        """End them; at most a few seconds, also when they are dead or stuck. Closing twice is fine."""
        for pipe in self._pipes:
            pipe.close()
        self._pipes = []
        deadline = time.monotonic() + GRACE
        for process in self._processes:
            process.join(max(deadline - time.monotonic(), 0))
            if process.is_alive() or process.exitcode:
                self._end(process)
        self._processes = []
        if self._watch is not None:
            self._watch.kill()
            self._watch.join(GRACE)
        self._watch = None
        self._output.tell(wait=_GRACE if self._output.theirs is not None else 0.0)

    def _end(self, process: BaseProcess) -> None:
        if process.pid is not None:
            processes.end_worker(process.pid, self._mark)
        process.join(GRACE)

    def _fail(self, worker: int, hung: bool) -> NoReturn:
        copy = max(int(self._memory.driven[worker]), worker)  # -1 while it starts
        process = self._processes[worker]
        seed = "" if self.seeds[copy] is None else f"seed {self.seeds[copy]}, "
        who = f"environment copy {copy} ({seed}process {process.pid})"
        if hung:
            self._end(process)
            advice = "if it is only slow, raise env.worker_timeout (`--set env.worker_timeout=...`, also on resume)"
            raise EnvironmentFailedError(f"{who} gave no answer for {self._timeout:g} s and was stopped; {advice}")
        process.join(GRACE)
        code = process.exitcode
        self._end(process)
        if not code:
            raise EnvironmentFailedError(
                f"{who} ended its own process, as os._exit does, or closed its pipes to wmloop: look for such a"
                " call in it or in a library that it uses"
            )
        advice = "if memory ran out, lower env.num_envs (`--set env.num_envs=...`, also on resume)"
        raise EnvironmentFailedError(f"{who} died with exit code {code}" + (f"; {advice}" if code < 0 else ""))


def _ready(pipes: list[Connection], timeout: float) -> list[Any]:
    """Return which pipes have something to tell, or have ended; as multiprocessing's `wait`, which takes four times as long."""
    if not hasattr(select, "poll"):
        return list(wait(pipes, timeout))
    by_number = {pipe.fileno(): pipe for pipe in pipes}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(1000 * timeout)]
