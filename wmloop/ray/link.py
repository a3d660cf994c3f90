"""What a run has of Ray: a pipe to the process that speaks to it (ray.gateway), begun once and ended with this process."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing.util
import secrets
import shutil
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from wmloop import machine, scratch
from wmloop.config import EnvConfig
from wmloop.envs import processes
from wmloop.envs.starting import clean_start, context_for
from wmloop.errors import EnvironmentFailedError, UsageError
from wmloop.ray.address import cluster_address
from wmloop.ray.gateway import Place, serve
from wmloop.ray.private import SOCKET

#: Seconds in which Ray has to start here, or to be connected to, and an actor to start.
START_SECONDS = 180.0
_LOOK_SECONDS = 0.2
#: Seconds that a process has to end by itself, and those that it has to part from a cluster of others.
_GRACE, _PARTING = 0.5, 3.0
_NEXT = "whole waves are kept, and `wmloop resume` goes on after them; with --engine processes it does so without Ray"
_link: Link | None = None


class Link:
    """A process that is connected to the cluster of RAY_ADDRESS, or to one of its own on this machine's cores.

    Raises:
        UsageError: Ray is not installed, or RAY_ADDRESS is none that it can have.
        EnvironmentFailedError: Ray cannot be used.
    """

    def __init__(self, config: EnvConfig) -> None:
        require()
        address = cluster_address()
        context = context_for(config)
        self._mark = secrets.token_hex(4)
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._folder = scratch.temporary_folder(SOCKET) / f"ray-{self._mark}"
        self._folder.mkdir(mode=0o700)
        self._grace = _PARTING if address else _GRACE
        with clean_start():
            arguments = (theirs, Place(address, machine.cores(), str(self._folder)), self._mark)
            self._process = context.Process(target=serve, args=arguments, name="wmloop-ray", daemon=True)
            self._process.start()
        theirs.close()
        self.cpus, self.nodes = 0, 0
        try:
            slow = f"is RAY_ADDRESS={address} the right one?" if address else f"its processes start slowly; {_NEXT}"
            _, self.cpus, self.nodes = self.event(lambda: None, START_SECONDS, slow)
            if not self.cpus:
                raise EnvironmentFailedError(f"the Ray cluster {address} has no CPU: {_NEXT}")
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Tell whether it was ended."""
        return self._pipe.closed

    def ask(self, name: str, *arguments: Any) -> None:
        """Send a request (see gateway.serve)."""
        with contextlib.suppress(OSError):  # a dead one is reported where its answer is awaited
            self._pipe.send((name, *arguments))

    def event(self, tick: Callable[[], None], seconds: float | None = None, slow: str = "") -> tuple[Any, ...]:
        """Wait for what comes next and return it; `tick` is called while nothing comes, and may raise to give up.

        Raises:
            EnvironmentFailedError: the cluster is lost, or nothing comes within so many `seconds`, which `slow` explains.
            UsageError: a node cannot run wmloop.
        """
        if self.closed:
            raise EnvironmentFailedError("this connection to Ray is closed: make a new engine")
        begun = time.monotonic()
        while not self._pipe.poll(_LOOK_SECONDS):
            tick()
            if seconds is not None and time.monotonic() - begun > seconds:
                self.close()
                raise EnvironmentFailedError(f"Ray gave no answer for {seconds:g} s: {slow}")
        try:
            said: tuple[Any, ...] = self._pipe.recv()
        except (EOFError, OSError):
            said = ("lost", "the Ray cluster is lost: the process that is connected to it has ended")
        if said[0] == "lost":
            self.close()
            raise EnvironmentFailedError(f"{said[1]}; {_NEXT}")
        if said[0] == "refused":
            self.close()
            raise UsageError(said[1])
        return said

    def close(self) -> None:
        """End the connection, and a cluster of its own with all of its processes; twice is fine."""
        if self._pipe.closed:
            return
        self._pipe.close()
        self._process.join(self._grace)
        if self._process.pid is not None:
            processes.end_worker(self._process.pid, self._mark)
        self._process.join(_GRACE)
        shutil.rmtree(self._folder, ignore_errors=True)


def require() -> None:
    """Refuse where Ray is not installed, or cannot be connected to as it is asked for; it is not imported.

    Raises:
        UsageError: so it is.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("the engine 'ray' needs Ray, which is not installed: pip install 'wmloop[ray]'")
    cluster_address()


def link(config: EnvConfig) -> Link:
    """Return this process's connection to Ray; a first one, or one in the place of one that was lost, is begun.

    Raises:
        UsageError, EnvironmentFailedError: as Link does.
    """
    global _link
    if _link is None or _link.closed:
        _link = Link(config)
        multiprocessing.util.Finalize(_link, _link.close, exitpriority=10)
    return _link


def unlink() -> None:
    """End this process's connection to Ray, if it has one, and the actors with it; the next engine begins another."""
    if _link is not None:
        _link.close()
