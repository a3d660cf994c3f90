"""Let one process write a run: a kernel lock, which dies with its holder, and a note of who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from wmloop.errors import RunLockedError, StorageError
from wmloop.store import atomic

LOCK = "lock"
HOLDER = "lock.json"


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the only right to write the folder `run` until the end of the `with`.

    The kernel frees it when the process ends in any way, `kill -9` included, so neither file can block anybody.

    Raises:
        RunLockedError: another process holds it; the message names its id and host.
        StorageError: the file system refuses, for example because the folder is read-only.
    """
    lock = FileLock(run / LOCK, timeout=0, is_singleton=False)
    with atomic.storage_errors("lock", run):
        try:
            lock.acquire()
        except Timeout:
            raise RunLockedError(
                f"the run {run.name!r} is being written by {_holder(run)}: wait for it, or stop it (Ctrl-C there saves "
                f"its work), then `wmloop resume {run.name}`"
            ) from None
    try:
        note = {"pid": os.getpid(), "host": socket.gethostname()}
        atomic.write_file(run / HOLDER, json.dumps(note).encode())
        yield
    finally:
        with contextlib.suppress(StorageError):
            atomic.remove_file(run / HOLDER)
        lock.release()


def holder(run: Path) -> str | None:
    """Return who writes the folder `run`, by the note it left, or None. Nothing is locked for it: readers stay out of the way.

    A writer that was killed on another host cannot be told from one at work.
    """
    try:
        note = json.loads((run / HOLDER).read_bytes())
        pid, host = int(note["pid"]), str(note["host"])[:200]
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    if host == socket.gethostname() and os.name == "posix":  # elsewhere signal 0 is no question
        try:
            os.kill(pid, 0)
        except PermissionError:  # it is somebody else's, and alive
            pass
        except (OSError, OverflowError):
            return None
    return f"process {pid} on {host}"


def _holder(run: Path) -> str:
    time.sleep(0.1)  # the holder writes its note just after it takes the lock
    try:
        note = json.loads((run / HOLDER).read_bytes())
        return f"process {int(note['pid'])} on {str(note['host'])[:200]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
