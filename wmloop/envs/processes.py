"""The processes that an environment starts: none of them outlives it, whatever they do."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import psutil

from wmloop import machine, signals

_SET_CHILD_SUBREAPER = 36  # prctl(2)
#: Those that ask a process to end; a scheduler sends them to every process of a job.
_SIGNALS = tuple(signals.NAMES)
_held: list[set[int]] = []
_WAIT = 2.0  # seconds for killed processes to be gone
#: The environment variable by which the descendants of a worker are known, also after it has died.
MARK = "WMLOOP_WORKER"


def lead(mark: str) -> None:
    """Make this process the leader of all that an environment will start, which bears `mark`.

    It gets a session of its own, so that signals to the user's process group pass it by, and, on Linux, becomes the parent
    of descendants whose own parent has ended. A signal to end that is sent to every process of a machine is left to the
    process that owns this one; children begin with what these signals usually do.
    """
    os.environ[MARK] = mark
    release(set())
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):  # it leads one already
            os.setsid()
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_begin)
    for signum in _SIGNALS:
        signal.signal(signum, _pass)  # a signal that is ignored would be ignored by programs started here, too
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # an environment may have processes of its own, which multiprocessing forbids to those it calls daemons
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def end_with_parent(grace: float = 0.0) -> None:
    """Wait for the end of the process that began this one; `grace` seconds later end this one and its descendants."""
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    time.sleep(grace)
    end_descendants()
    os._exit(1)


def hold() -> set[int]:
    """Let signals that ask a process to end wait, also for children begun from now on; return what waited before."""
    if not hasattr(signal, "pthread_sigmask"):
        return set()
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS))


def release(held: set[int]) -> None:
    """Let only the signals `held` wait."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def end_descendants() -> None:
    """Kill all that this process, and what it started, has started; those that start meanwhile, too."""
    for _ in range(10):
        with contextlib.suppress(psutil.Error):
            if not (children := psutil.Process().children(recursive=True)):
                return
            _kill(children)


def end_worker(pid: int, mark: str) -> None:
    """Kill the process `pid`, its descendants, and what is left of those of a worker of that `mark` that has died."""
    killed = machine.end_tree(pid)
    _kill([*killed, *(process for process in psutil.process_iter() if _has(process, mark))])


def watch(pids: Sequence[int], mark: str, grace: float) -> None:
    """Wait, in a process of its own, for the end of the one that started it, then up to `grace` seconds, and kill workers left.

    A worker ends by itself, unless it is stuck in C code which lets no other thread of Python run.
    """
    lead(mark)
    workers = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            workers.append(psutil.Process(pid))
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    deadline = time.monotonic() + grace
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    for worker in workers:
        if worker.is_running():  # it is not another one of the same number
            end_worker(worker.pid, mark)
    os._exit(0)


def _kill(processes: Iterable[psutil.Process]) -> None:
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    if processes:
        psutil.wait_procs(processes, timeout=_WAIT)


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _hold() -> None:
    """Let signals wait: one that came to a child before it has its own handlers would be lost."""
    _held.append(hold())


def _let_go() -> None:
    release(_held.pop())


def _begin() -> None:
    for signum in _SIGNALS:
        if signal.getsignal(signum) is _pass:
            signal.signal(signum, signal.SIG_DFL)
    _let_go()


def _pass(signum: int, frame: FrameType | None) -> None:
    """Do nothing."""
