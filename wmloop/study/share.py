"""What one task has of a machine: cores and GPUs that no other task of the study has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wmloop.machine import GRANT


class Share(NamedTuple):
    """`size` cores, kept on those numbered `cores` where these are known, and the GPUs that CUDA calls `gpus`.

    None of GPUs: whoever begins the process decides which it sees.
    """

    size: int
    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that tell a process its share."""
        told = {GRANT: str(self.size)}
        return told if self.gpus is None else told | {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Let what this thread begins within the `with` run on these cores alone, where the system can."""
        if not self.cores or not hasattr(os, "sched_setaffinity"):
            yield
            return
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, self.cores)
            yield
        finally:
            os.sched_setaffinity(0, before)


def deal(cores: Sequence[int], count: int, each: int, gpus: Sequence[str] = (), gpus_each: int = 0) -> list[Share]:
    """Return as many equal shares as there can be, `each` cores a share, and `gpus_each` GPUs; what is left over is idle.

    Of the `cores` that a process may run on it may keep `count` busy. Where that is less, nobody knows which: no share is
    kept on its cores then.
    """
    among = count // each
    if gpus_each:
        among = min(among, len(gpus) // gpus_each)
    known = len(cores) == count
    return [
        Share(
            each,
            tuple(cores[place * each : (place + 1) * each]) if known else (),
            tuple(gpus[place * gpus_each : (place + 1) * gpus_each]) if gpus_each else None,
        )
        for place in range(among)
    ]
