"""Signals that stop a run, or break it off."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

from wmloop import signals


class Stop:
    """Turn a request to end (`signals.NAMES`) into a wish, which `stop()` tells, and one that comes later still into an end.

    Signals are read by a thread, from the pipe that Python writes them to as they arrive. So they are answered at once,
    even while the main thread is deep inside a long computation.
    """

    def __init__(self, first: Callable[[int], None], second: Callable[[int], None]) -> None:
        """Call `first(signum)` at a request, from another thread, and `second(signum)` when it is made again; then exit."""
        self._request = signals.Request()
        self._first, self._second = first, second
        self._asked = threading.Event()

    @property
    def signum(self) -> int | None:
        """Return the signal that asked the run to stop, if one did."""
        return self._request.signum

    def __call__(self) -> bool:
        """Tell whether the run is to stop."""
        return self.signum is not None

    def within(self, seconds: float) -> bool:
        """Tell whether the run is to stop, if need be after waiting for a signal that is under way."""
        return self._asked.wait(seconds)

    def expect(self, signum: int) -> None:
        """Take a signal that torchrun is about to send as answered: so the error is printed before this process ends."""
        self._request.first(signum)

    def __enter__(self) -> Stop:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {signum: signal.signal(signum, _do_nothing) for signum in signals.awaited()}
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signals.adopt(self._request)  # before anybody else answers signals: one more may belong to a request
        for signum, handler in self._old.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._writer.close()
        self._thread.join()
        self._reader.close()

    def _listen(self) -> None:
        while data := self._reader.recv(64):
            for signum in data:
                if signum not in self._old:
                    continue
                first = self._request.first(signum)
                self._asked.set()
                if first or self._request.insisted(signum):
                    with contextlib.suppress(Exception):  # whatever ails the view, the wish counts
                        (self._first if first else self._second)(signum)
                    if not first:
                        os._exit(128 + signum)


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """Keep Python from raising: the thread of Stop reads the signal."""
