"""How worker processes are started."""

from __future__ import annotations

import contextlib
import multiprocessing.util
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any

from wmloop import machine, scratch
from wmloop.config import EnvConfig
from wmloop.envs import processes
from wmloop.envs.making import CAR_RACING


def context_for(config: EnvConfig) -> Any:
    """Return multiprocessing as workers of this environment are to be started with it on this system."""
    _choose_folder()
    if sys.platform in ("win32", "darwin"):  # system libraries of macOS do not survive a fork
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    preload = ["wmloop.envs.worker"] + ["wmloop.envs.carracing"] * (config.id == CAR_RACING)
    context.set_forkserver_preload(preload)
    return context


def _choose_folder() -> None:
    """Let multiprocessing have its sockets in a folder that works, and everybody else the temporary files where they were."""
    before, tempfile.tempdir = tempfile.tempdir, str(scratch.temporary_folder())
    try:
        multiprocessing.util.get_temp_dir()  # which it keeps to from then on
    finally:
        tempfile.tempdir = before


def worker_cores() -> list[int]:
    """Return as many cores as this process may keep busy."""
    return machine.affinity()[: machine.cores()]


@contextlib.contextmanager
def clean_start() -> Iterator[None]:
    """Start processes with one BLAS thread each, and without running the user's main script in them.

    multiprocessing imports the main module again in each child, although nothing here lives in it; a script that
    imports torch, or lacks the `if __name__ == "__main__"` guard, would bring seconds or endless recursion.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    environment = {name: os.environ.get(name) for name in names}
    held = processes.hold()  # what is sent to all of the user's group is not for them
    main = sys.modules["__main__"]
    os.environ.update(dict.fromkeys(names, "1"))
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        processes.release(held)
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
