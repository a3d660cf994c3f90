"""A Ray cluster as a place to perform tasks: an actor for each, on a node that has its cores free.

Ray is told what it has to know (ray.private) before this module is imported.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from wmloop import machine
from wmloop.errors import EnvironmentFailedError, UsageError
from wmloop.ray.faults import DEATHS, unfit
from wmloop.study.place import LOST
from wmloop.study.process import Process
from wmloop.study.share import Share
from wmloop.study.task import LOG, Task
from wmloop.study.words import counted

_DEATHS = tuple(getattr(ray.exceptions, name) for name in DEATHS)
_GONE = "the Ray cluster does not answer any more; what was done is saved, and the same command goes on"


class Actor:
    """A task that an actor performs: the actor has a process on its node, and both end together."""

    def __init__(self, kind: Any, command: Sequence[str], log: Path, share: Share, folder: Path) -> None:
        self._log = log
        self._actor = kind.remote(command, log, share, folder)
        self._begun, self._end = self._actor.code.remote(), self._actor.wait.remote()
        self._code: int | None = None

    def code(self) -> int | None:
        """Return the exit code of the process, LOST where it, or its node, is gone; None while it has not ended."""
        if self._code is None and _is_there(self._end):
            try:
                self._code = int(ray.get(self._end))
            except _DEATHS as error:
                self._code = LOST  # another actor may come to another node
                if (fault := unfit(error)) is not None:
                    with self._log.open("a") as file:
                        file.write(f"error: {fault}\n")
            ray.kill(self._actor)  # which gives its cores to the next
        return self._code

    def is_queued(self) -> bool:
        """Tell whether it waits for a node with free cores."""
        return not _is_there(self._begun)

    def stop(self) -> None:
        """Ask it to save and end; one that still waits is given up."""
        if self.is_queued():
            ray.kill(self._actor)
        else:
            self._actor.stop.remote()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ray.exceptions.RayError):
            self._actor.kill.remote()


class Cluster:
    """Performs tasks on a Ray cluster, as many at once as it has cores for."""

    def __init__(
        self, command: Callable[[Task], Sequence[str]], cores: int, gpus: int, address: str, folder: Path
    ) -> None:
        """Take the command that performs a task, what each has of its machine, and the address of the cluster.

        Without an address it is one of this machine alone, with its files in `folder`.

        Raises:
            UsageError: there is no cluster at the address, or no node of it has so much.
        """
        here = {} if address else {"num_cpus": machine.cores(), "_temp_dir": str(folder)}
        try:
            # "local" is one of its own: without an address Ray would join any that runs on this machine
            ray.init(
                address=address or "local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **here,
            )
        except Exception as error:  # Ray raises of every kind
            where = f"at RAY_ADDRESS={address}" if address else "on this machine"
            raise UsageError(f"Ray {where} cannot be used: {' '.join(str(error).split())[:500]}") from None
        require_room([node["Resources"] for node in ray.nodes() if node["Alive"]], cores, gpus)
        # one thread waits for the process, the other asks it
        self._kind = ray.remote(Process).options(num_cpus=cores, num_gpus=gpus, max_concurrency=2, max_restarts=0)
        self._command, self._share, self._folder = command, Share(cores), Path.cwd()

    def free(self) -> int:
        """Return that the cluster takes any number of tasks: it has them wait for cores."""
        return 2**31

    def begin(self, tasks: Sequence[Task]) -> list[Actor]:
        """Begin tasks, each on some node."""
        return [
            Actor(self._kind, self._command(task), (task.place / LOG).absolute(), self._share, self._folder)
            for task in tasks
        ]


def require_room(nodes: Sequence[Mapping[str, float]], cores: int, gpus: int) -> None:
    """Refuse a task that no node, of which each has such resources, could ever take.

    Raises:
        UsageError: it is one.
    """
    have = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    if not any(cpus >= cores and cards >= gpus for cpus, cards in have):
        wanted = counted(cores, "core") + (f" and {counted(gpus, 'GPU')}" if gpus else "")
        there = "; ".join(f"{counted(cpus, 'core')} and {counted(cards, 'GPU')}" for cpus, cards in sorted(set(have)))
        raise UsageError(
            f"no node of the Ray cluster has {wanted} for a run, its nodes have {there or 'nothing'}: give less by --cores"
            " and --gpus"
        )


def _is_there(what: Any) -> bool:
    """Tell whether an actor has answered, or is gone.

    Raises:
        EnvironmentFailedError: the cluster is gone.
    """
    try:
        return bool(ray.wait([what], timeout=0)[0])
    except (ray.exceptions.RaySystemError, ConnectionError, RuntimeError):
        raise EnvironmentFailedError(_GONE) from None
