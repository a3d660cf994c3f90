"""The process that speaks to Ray: it alone of a run connects to a cluster, and what happens to Ray there ends with it.

A lost cluster ends the processes that are connected to it, in its own time; their signals and threads are Ray's, too. So the
run is another process (ray.link), which sees no more of all that than a closed pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from wmloop.envs import processes
from wmloop.envs.faults import first_line
from wmloop.envs.output import redirect
from wmloop.ray.faults import DEATHS, unfit
from wmloop.ray.private import SILENT, admitted, private

#: Seconds between two looks at whether the pipe was closed or the cluster is there, and looks in vain after which it is not.
_LOOK, _CONNECT, _VAIN = 0.2, 2.0, 5
#: How often a share is driven again after its actor has died, and how often an actor is tried to be made.
_TRIES = 20
#: What Ray says where this node's own part of it is gone.
_ORPHANED = "owner has died"
#: How Ray is asked to let its actors be as important as the run that waits for them, beside what it is asked anyway.
_ASKED = {**SILENT, "RAY_worker_niceness": "0"}


class Place(NamedTuple):
    """Where Ray is: at an address, or, without one, here, with so many CPUs, its files in a folder."""

    address: str
    cpus: int
    folder: str


class _Seat:
    """An Actor (ray.actor), which is imported where it is: this process needs no torch."""

    def __init__(self) -> None:
        from wmloop.ray.actor import Actor

        self._actor = Actor()

    def open(self, *arguments: Any) -> bytes:
        return self._actor.open(*arguments)

    def drive(self, *arguments: Any) -> Iterator[bytes]:
        yield from self._actor.drive(*arguments)

    def close(self) -> None:
        self._actor.close()


class _LostError(Exception):
    """Tell that the cluster cannot be used any more, and why."""


class _RefusedError(Exception):
    """Tell what is wrong with a node."""


def serve(pipe: Connection, place: Place, mark: str) -> None:
    """Connect to Ray and do what is asked until the other end of `pipe` is closed.

    First sends ("ready", CPUs of the cluster, its nodes). Asked ("open", actors, arguments of Actor.open), sends ("opened",
    answer) for each actor, from which on it drives. Asked ("drive", task, shares, seconds), sends ("told", share, answer) for
    what Actor.drive yields, ("died", share, why) where it is driven again, and ("done",) after the last; it waits so many
    seconds for an actor in the place of a dead one. Asked ("close",), lets the actors close their environments. Where Ray
    cannot be used any more, ("lost", why) is its last word, and ("refused", why) where a node cannot run wmloop.
    """
    redirect(None)
    processes.lead(mark)
    threading.Thread(target=processes.end_with_parent, daemon=True).start()
    os.environ.update(_ASKED)
    connected = False
    try:
        team = _Team(pipe, _connected(place, mark))
        connected = True
        team.serve()
    except (EOFError, OSError):  # nobody asks any more
        pass
    except _RefusedError as error:
        _last_word(pipe, "refused", str(error))
    except _LostError as error:
        _last_word(pipe, "lost", f"the Ray cluster is lost: {error}" if connected else str(error))
    except BaseException as error:
        _last_word(pipe, "lost", f"Ray failed: {type(error).__name__}: {first_line(error)}")
    finally:
        with contextlib.suppress(BaseException):
            import ray

            threading.Thread(target=ray.shutdown, daemon=True).start()  # it may wait for what is gone
            deadline = time.monotonic() + _CONNECT
            while ray.is_initialized() and time.monotonic() < deadline:
                time.sleep(0.05)
        processes.end_descendants()
        os._exit(0)


def _connected(place: Place, mark: str) -> str:
    """Connect, and return the address of the cluster's control service.

    Raises:
        _LostError: that cannot be.
    """
    # what a new one's processes leave goes with its folder
    os.environ.update(admitted() if place.address else {"TMPDIR": place.folder} | private())
    try:
        import ray  # which reads the environment now
    except ImportError as error:
        raise _LostError(f"Ray cannot be imported: {error}") from error
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    here: dict[str, Any] = {"num_cpus": place.cpus, "include_dashboard": False, "_temp_dir": place.folder}
    try:
        ray.init(
            place.address or "local", namespace=f"wmloop-{mark}", log_to_driver=False, configure_logging=False,
            **({} if place.address else here),
        )  # fmt: skip
    except Exception as error:
        where = f"at {place.address} (RAY_ADDRESS)" if place.address else "on this machine"
        # Ray tells of a token that is missing in the error that led to this one
        asks = "authentication" in f"{error} {error.__cause__}".lower()
        token = " (it asks for a token, which $RAY_AUTH_TOKEN or ~/.ray/auth_token has to hold)" if asks else ""
        raise _LostError(f"Ray {where} cannot be used: {first_line(error)}{token}") from error
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    return str(ray.get_runtime_context().gcs_address)


class _Team:
    """The actors of this run, and which of them has what to do."""

    def __init__(self, pipe: Connection, address: str) -> None:
        import ray

        self._ray, self._pipe = ray, pipe
        self._kind = ray.remote(_Seat)
        self._deaths = tuple(getattr(ray.exceptions, name) for name in DEATHS)
        self._arguments: Sequence[Any] = ()
        self._actors: list[Any] = []
        self._opening: dict[Any, Any] = {}  # what is awaited of those that are not ready, and who it is
        self._idle: list[Any] = []
        self._vain = 0
        threading.Thread(target=_watch, args=(address, pipe), daemon=True).start()

    def serve(self) -> None:
        """Do what is asked, one after the other, until nobody asks."""
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._pipe.send(("ready", int(self._ray.cluster_resources().get("CPU", 0)), len(nodes)))
        do: dict[str, Callable[..., None]] = {"open": self._open, "drive": self._drive, "close": self._close}
        while True:
            name, *arguments = self._pipe.recv()
            do[name](*arguments)

    def _open(self, count: int, *arguments: Any) -> None:
        self._arguments = arguments
        self._actors += [self._new() for _ in range(count - len(self._actors))]
        self._idle = []
        self._opening = {actor.open.remote(*arguments): actor for actor in self._actors[:count]}
        while not self._idle:
            self._require_asked()
            for ref in self._ready(self._opening):
                self._take_in(ref)

    def _drive(self, task: bytes, shares: Sequence[Sequence[int]], seconds: float) -> None:
        put, driven = self._ray.put(task), time.monotonic()
        waiting, busy = deque(range(len(shares))), dict[Any, tuple[Any, int]]()
        deaths = [0] * len(shares)
        while waiting or busy:
            while waiting and self._idle:
                actor, share = self._idle.pop(), waiting.popleft()
                busy[actor.drive.remote(put, shares[share])] = actor, share
            self._require_asked()
            driven = time.monotonic() if busy else driven
            if time.monotonic() - driven > seconds:
                raise _LostError(f"for {seconds:g} s no actor was ready in the place of those that died (no free CPU?)")
            for ref in self._ready([*busy, *self._opening]):
                if ref in self._opening:
                    self._take_in(ref)
                    continue
                actor, share = busy[ref]
                try:
                    self._pipe.send(("told", share, self._ray.get(next(ref))))
                except StopIteration:
                    del busy[ref]
                    self._idle.append(actor)
                except self._deaths as error:
                    del busy[ref]
                    deaths[share] += 1
                    self._replace(actor, error)
                    if deaths[share] >= _TRIES:
                        raise _LostError(
                            f"actors died {_TRIES} times while they drove the same episodes (the last: {first_line(error)});"
                            " if memory ran out, lower env.num_envs (`--set env.num_envs=...`, also on resume)"
                        ) from error
                    waiting.append(share)
                    self._pipe.send(("died", share, first_line(error)))
        self._pipe.send(("done",))

    def _close(self) -> None:
        for actor in self._actors:
            actor.close.remote()
        self._idle, self._opening = [], {}

    def _ready(self, refs: Any) -> list[Any]:
        return self._ray.wait(list(refs), num_returns=1, timeout=_LOOK)[0] if refs else []

    def _require_asked(self) -> None:
        """End where nobody asks any more: while something is done nothing else is asked."""
        if self._pipe.poll():
            raise EOFError

    def _take_in(self, ref: Any) -> None:
        """Let an actor that has opened its environments drive."""
        actor = self._opening.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._deaths as error:
            if (fault := unfit(error)) is not None:
                raise _RefusedError(fault) from error
            self._vain += 1
            if self._vain >= _TRIES:
                raise _LostError(f"actors die as they start (the last: {first_line(error)})") from error
            self._replace(actor, error)
            return
        self._vain = 0
        self._idle.append(actor)
        self._pipe.send(("opened", answer))

    def _new(self) -> Any:
        return self._kind.options(num_cpus=1, max_restarts=0).remote()

    def _replace(self, dead: Any, error: BaseException) -> None:
        """Begin another actor in the place of a dead one, wherever there is a CPU for it."""
        if _ORPHANED in str(error):
            raise _LostError("the part of Ray on this machine has ended") from error
        with contextlib.suppress(Exception):
            self._ray.kill(dead)  # it may only have been out of reach, and would keep its CPU
        time.sleep(_LOOK)  # what is dying has time to be known as dead
        self._actors[self._actors.index(dead)] = actor = self._new()
        self._opening[actor.open.remote(*self._arguments)] = actor


def _watch(address: str, pipe: Connection) -> None:
    """End this process once nobody answers at the address of the cluster's control service."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")  # around an address of IPv6
    vain = 0
    while vain < _VAIN:
        time.sleep(_LOOK * 5)
        try:
            socket.create_connection((host, int(port)), timeout=_CONNECT).close()
            vain = 0
        except OSError:
            vain += 1
    _last_word(pipe, "lost", f"the Ray cluster is lost: nothing answers at {address} any more")
    processes.end_descendants()
    os._exit(0)


def _last_word(pipe: Connection, *word: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        pipe.send(word)
