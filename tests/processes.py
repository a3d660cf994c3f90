"""Processes of wmloop that need not import torch first: each is forked from one that has imported everything.

What a process does from its first line on, and how it ends, is its own: it has its own session, streams, environment
and exit status, and is not the test's child, but may be killed like one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, NoReturn

import psutil

from wmloop.store.disk import FileSystem

ROOT = Path(__file__).parent.parent


def workers() -> list[BaseProcess]:
    """Return the workers of the pool that this process has made last, in their order."""
    every = [process for process in multiprocessing.active_children() if process.name.startswith("wmloop-env-")]
    every.sort(key=lambda process: (psutil.Process(process.pid).create_time(), process.name))
    first = max(place for place, process in enumerate(every) if process.name == "wmloop-env-0")
    return every[first:]


def await_snapshot(process: Process | subprocess.Popen[str], run: Path, stage: str) -> None:
    """Wait until a process that has just begun saves a snapshot of a stage of iteration 0: it is inside that then."""
    draft = run / "iterations" / "0000" / f".draft-{stage}"
    before = {path.name for path in draft.glob("snapshot-*")}
    while not {path.name for path in draft.glob("snapshot-*")} - before:
        assert process.poll() is None, f"it ended before it was inside {stage}"
        time.sleep(0.005)


class Process:
    """A command of wmloop in a process of its own; what the tests need of subprocess.Popen."""

    def __init__(
        self, arguments: Sequence[object], environment: Mapping[str, str], merged: bool = False, folder: Path = ROOT
    ) -> None:
        """Begin the command in a folder; `merged` sends its standard error where its standard output goes."""
        self.returncode: int | None = None
        out, err, status = os.pipe(), os.pipe(), os.pipe()
        request = {
            "argv": ["wmloop", *map(str, arguments)],
            "environment": dict(environment),
            "folder": str(folder),
        }
        given = [out[1], out[1] if merged else err[1], status[1]]
        socket.send_fds(_nursery(), [json.dumps(request).encode() + b"\n"], given)
        for fd in (out[1], err[1], status[1]):
            os.close(fd)
        self.stdout: IO[str] = os.fdopen(out[0], encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(err[0], encoding="utf-8")
        self._status = os.fdopen(status[0], encoding="utf-8")
        self.pid = int(self._status.readline())
        self._readers: list[threading.Thread] = []
        self._read = ["", ""]

    def poll(self) -> int | None:
        """Return the exit status, negative after a signal, or None while the process lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        if self.returncode is None:
            if not wait([self._status.fileno()], timeout):
                raise subprocess.TimeoutExpired("wmloop", timeout or 0.0)
            self.returncode = os.waitstatus_to_exitcode(int(self._status.readline()))
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send a signal to the process, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their ends and wait; after a timeout it may be called again, and nothing is lost."""
        if not self._readers:
            self._readers = [threading.Thread(target=self._drain, args=(place,), daemon=True) for place in (0, 1)]
            for reader in self._readers:
                reader.start()
        self.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        self._close()
        return self._read[0], self._read[1]

    def _drain(self, place: int) -> None:
        stream = (self.stdout, self.stderr)[place]
        if not stream.closed:
            self._read[place] = stream.read()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._close()

    def _close(self) -> None:
        for stream in (self.stdout, self.stderr, self._status):
            stream.close()


@functools.cache
def _nursery() -> socket.socket:
    """Start the process that all others are forked from, and return where it takes orders."""
    ours, theirs = socket.socketpair()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.processes", str(theirs.fileno())],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True,
    )  # fmt: skip
    theirs.close()
    atexit.register(process.wait, 10)
    atexit.register(ours.close)
    return ours


def _serve(orders: socket.socket) -> None:
    """Fork a process for every order, until nobody can give any."""
    for module in ("wmloop.cli", "wmloop.device", "wmloop.loop", "wmloop.tracking", "wmloop.view", "torch._dynamo"):
        importlib.import_module(module)  # the last is what the first optimiser of a process waits for
    FileSystem.fsync = FileSystem.fsync_folder = lambda *_: None  # no test cuts the power
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the commands
    while True:
        order, fds, _, _ = socket.recv_fds(orders, 1 << 20, 3)
        while order and not order.endswith(b"\n"):
            order += orders.recv(1 << 20)
        if not order:
            return
        assert threading.active_count() == 1, "a fork copies no other thread"
        if os.fork() == 0:
            orders.close()
            _attend(json.loads(order), fds)
        for fd in fds:
            os.close(fd)


def _attend(order: dict[str, object], fds: list[int]) -> NoReturn:
    """Fork the command, tell its number and then its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, status = fds
    child = os.fork()
    if child:
        os.write(status, f"{child}\n".encode())
        for fd in (out, err):
            os.close(fd)
        os.write(status, f"{os.waitpid(child, 0)[1]}\n".encode())
        os._exit(0)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    for fd in fds:
        os.close(fd)
    sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", buffering=1, encoding="utf-8")
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    sys.argv = order["argv"]  # type: ignore[assignment]
    os.chdir(order["folder"])  # type: ignore[arg-type]
    sys.path[1:1] = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # as a new interpreter would
    from wmloop.__main__ import main

    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        _leave(end.code)
    _leave(0)


def _leave(code: int) -> NoReturn:
    """End as an interpreter does, but take no module apart: half a second goes into copies of what is shared with others."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
