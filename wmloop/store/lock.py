"""Let one process write a run: a kernel lock, which dies with its holder, and a note of who holds it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmloop.commands import command
from wmloop.errors import RunLockedError, StorageError
from wmloop.machine import born
from wmloop.store import atomic
from wmloop.store.disk import UNSUPPORTED
from wmloop.store.notes import note

if sys.platform == "win32":
    import msvcrt

    _RENAMES_OPEN = False  # no folder with an open file in it has its name changed

    def _lock(fd: int, shared: bool) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    _RENAMES_OPEN = True

    def _lock(fd: int, shared: bool) -> None:
        fcntl.flock(fd, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


LOCK = "lock"
HOLDER = "lock.json"

_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}
_NO_LOCKS = {*UNSUPPORTED, errno.ENOLCK}
#: A reader who asks may hold the lock for an instant, and a holder writes its note just after it has it.
_RETRY_SECONDS = 0.2
#: Two processes that begin at once where there are no locks have seen each other's notes after this.
_SETTLE_SECONDS = 0.1

#: The files that this process has locked, by the folder they lock.
_held: dict[Path, int] = {}


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the only right to write the folder `run` until the end of the `with`.

    The kernel frees it when the process ends in any way, `kill -9` included, so neither file can block anybody. Where the
    file system has no locks, a live process of this machine that left its note is refused, which is noted.

    Raises:
        RunLockedError: another process holds it; the message names its id and host.
        StorageError: the file system refuses, for example because the folder is read-only.
    """
    with atomic.storage_errors("lock", run):
        locked = _acquire(run)
    if locked is None and _is_alive(_read_note(run)):
        locked = False
    if locked is False:
        raise _refusal(run)
    place, own = run.resolve(), _own_note()
    try:
        atomic.write_file(run / HOLDER, json.dumps(own).encode())
        if locked is None:
            time.sleep(_SETTLE_SECONDS)
            if _read_note(run) != own:
                raise _refusal(run)
            note(
                "locks",
                f"the file system of {run} has no file locks: a second process that writes this run is refused only on"
                " this machine, and not reliably",
            )
        yield
    finally:
        # Not a child that was forked meanwhile; and without locks the note may be somebody else's by now.
        if place in _held or (locked is None and own["pid"] == os.getpid() and _read_note(run) == own):
            with contextlib.suppress(StorageError):
                atomic.remove_file(run / HOLDER)
        _release(place)


def holder(run: Path) -> str | None:
    """Return who writes the folder `run` now, or None: the kernel is asked whether, and the note only says who.

    Where it cannot be asked, a live process of this machine that left its note counts.
    """
    locked = run.resolve() in _held
    if not locked:
        try:
            fd = os.open(run / LOCK, _FLAGS | os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError:
            taken = None
        else:
            with _closing(fd):
                taken = _take(fd, shared=True)
        locked = _is_alive(_read_note(run)) if taken is None else not taken
    return _name(_read_note(run)) if locked else None


def claim(folder: Path, fresh: bool) -> bool | None:
    """Lock a folder that is not a run yet, until `unclaim`; False where somebody has it, None where nobody can tell.

    A `fresh` one is given its lock; it keeps it under another name.
    """
    if not _RENAMES_OPEN:
        return None
    try:
        return _acquire(folder, 0.0, os.O_CREAT if fresh else 0)
    except OSError:  # the file system refuses, which whoever goes on will be told
        return None


def unclaim(folder: Path) -> None:
    """Give up the claim on a folder, which may have another name by now or be gone."""
    _release(folder.resolve())


_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def _acquire(folder: Path, seconds: float = _RETRY_SECONDS, create: int = os.O_CREAT) -> bool | None:
    """Lock a folder for this process and return True; False where another has it, None where there are no locks.

    Raises:
        OSError: the file system refuses.
    """
    place = folder.resolve()
    deadline = time.monotonic() + seconds
    while place not in _held:
        fd = os.open(folder / LOCK, _FLAGS | os.O_RDWR | create, 0o666)
        taken: bool | None = False
        try:
            taken = _take(fd)
            if taken and os.fstat(fd).st_nlink:  # a lock on a file that was removed keeps nobody out
                _held[place] = fd
                return True
        finally:
            if place not in _held:
                os.close(fd)
        if taken is None:
            return None
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return False


def _release(place: Path) -> None:
    fd = _held.pop(place, None)
    if fd is not None:
        with _closing(fd):
            pass


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[None]:
    """Unlock and close a file at the end of the `with`."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _unlock(fd)  # closing is not enough where a child has the file, too
        os.close(fd)


def _take(fd: int, shared: bool = False) -> bool | None:
    """Lock an open file if nobody else has it, and return whether; None where the file system has no locks.

    Raises:
        OSError: the file system refuses for another reason.
    """
    try:
        _lock(fd, shared)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _forget() -> None:
    """Close, in a child that was forked, what its parent has locked, so that it does not outlive the parent."""
    for fd in _held.values():
        os.close(fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _own_note() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": born(os.getpid())}


def _read_note(run: Path) -> dict[str, Any]:
    """Return the note that a holder left, or an empty one."""
    try:
        found = json.loads((run / HOLDER).read_bytes())
        left = {"pid": int(found["pid"]), "host": str(found["host"])[:200], "started": found.get("started")}
        return left if left["pid"] > 0 else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _is_alive(left: dict[str, Any]) -> bool:
    """Tell whether a note is that of a process which still runs on this machine."""
    if not left or left["host"] != socket.gethostname() or os.name != "posix":  # elsewhere signal 0 is no question
        return False
    if left["started"] is not None and born(os.getpid()) is not None:
        return left["started"] == born(left["pid"])
    try:
        os.kill(left["pid"], 0)
    except PermissionError:  # it is somebody else's, and alive
        return True
    except (OSError, OverflowError):
        return False
    return True


def _name(left: dict[str, Any]) -> str:
    return f"process {left['pid']} on {left['host']}" if left else "another process"


def _refusal(run: Path) -> RunLockedError:
    return RunLockedError(
        f"the run {run.name!r} is being written by {_name(_read_note(run))}: `{command('watch', run)}` shows it. Wait for "
        f"it, or stop it: Ctrl-C there saves its work, and `{command('resume', run)}` goes on with it"
    )
