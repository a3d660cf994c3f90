"""What is a request to end, and how a process answers it by default: by way of every `finally`."""

from __future__ import annotations

import atexit
import os
import signal
import time
from types import FrameType

#: The signals by which a scheduler may announce a time limit, where the system has them.
ANNOUNCING = tuple(name for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))
#: The signals that ask a process to end, by what people call them; SIGHUP is a terminal that is gone.
NAMES = {
    getattr(signal, name): "Ctrl-C" if name == "SIGINT" else name
    for name in ("SIGINT", "SIGTERM", "SIGHUP", *ANNOUNCING)
    if hasattr(signal, name)
}
#: One request may come as several signals: from `timeout` or `make` and, through the process group, once more.
SAME_SECONDS = 2.0


class Request:
    """A request to end: the first signal makes it, those of the next two seconds belong to it, a later one insists.

    An announcement never insists: a scheduler may send it to a process that it has asked to end before.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._since = 0.0

    def first(self, signum: int) -> bool:
        """Take in a signal and tell whether it made the request."""
        if self.signum is not None:
            return False
        self.signum, self._since = signum, time.monotonic()
        return True

    def insisted(self, signum: int) -> bool:
        """Tell whether a signal that comes now is no longer part of the request."""
        announces = signum in {getattr(signal, name) for name in ANNOUNCING}
        return self.signum is not None and not announces and time.monotonic() - self._since >= SAME_SECONDS


class _InterruptError(KeyboardInterrupt):
    """A KeyboardInterrupt, but no plain one: after one left `exec` (`python -m`), Python ends by SIGINT, handled or not."""


_request = Request()


def awaited() -> list[signal.Signals]:
    """Return the signals that ask this process to end; those that it was started to ignore (`nohup`, `trap`, `&`) do not."""
    return [s for s in NAMES if signal.getsignal(s) is not signal.SIG_IGN]


def install() -> None:
    """Answer each request to end, from now on, by leaving: what was borrowed is given back, also while modules load.

    The first process of a container, too, which without a handler would hear no such signal.
    """
    for signum in awaited():
        signal.signal(signum, leave)
    atexit.register(_pass_over_the_rest)


def leave(signum: int, frame: FrameType | None) -> None:
    """End this process, as a handler of signals; at once if it does not end in two seconds and is asked again.

    Raises:
        KeyboardInterrupt: at Ctrl-C.
        SystemExit: else, with 128 and the signal's number; libraries that pass over every Exception let it through.
    """
    if _request.first(signum):
        raise _InterruptError if signum == signal.SIGINT else SystemExit(128 + signum)
    if _request.insisted(signum):
        os._exit(128 + signum)


def _pass_over_the_rest() -> None:
    """Ignore what comes after a request while Python takes itself apart: its own handlers are gone by then."""
    if _request.signum is not None:
        for signum in awaited():
            signal.signal(signum, signal.SIG_IGN)


def adopt(request: Request) -> None:
    """Let `leave` answer what belongs to a request that somebody else has answered."""
    global _request
    _request = request
