"""Where the tasks of a study are performed: a seam for this machine, a Ray cluster and Slurm."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Protocol

from wmloop.errors import UsageError
from wmloop.study.task import Task

#: The exit code of a task whose process, or whose machine, was lost without a word.
LOST = -int(getattr(signal, "SIGKILL", signal.SIGTERM))


class NotNowError(UsageError):
    """Report a place that takes no task now, and may later; nothing was begun."""


class Work(Protocol):
    """A task under way: a process that performs it, here or elsewhere."""

    def code(self) -> int | None:
        """Return the exit code of the process, a signal's number below 0, LOST; None while it has not ended."""

    def is_queued(self) -> bool:
        """Tell whether it still waits for cores."""

    def stop(self) -> None:
        """Ask it to save and end."""

    def kill(self) -> None:
        """End it at once, where that can be done from here."""


class Place(Protocol):
    """Somewhere that performs tasks, each by `wmloop study FILE --task NAME` with its standard input held open.

    What a task comes to is read from its files, so the runs' folder has to be the same one there.
    """

    def free(self) -> int:
        """Return how many more tasks it takes now."""

    def begin(self, tasks: Sequence[Task]) -> Sequence[Work]:
        """Begin tasks, or put them into a queue; at most as many as are free.

        Raises:
            WmloopError: the place does not take them.
        """
