"""A folder of this process alone for sockets and shared memory, wherever this machine has a place for it."""

from __future__ import annotations

import contextlib
import errno
import functools
import multiprocessing.util
import os
import re
import secrets
import shutil
import socket
import sys
from pathlib import Path

from wmloop.errors import StorageError

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

#: A folder for sockets has to have so many bytes free: shared memory goes there where /dev/shm has no room for it.
_ROOM = 16 << 20
#: As long a name as multiprocessing gives its sockets in a folder.
_SOCKET = "pymp-12345678-listener-12345678"
_FOLDER = re.compile(r"wmloop-\d+-[0-9a-f]{4}")
_TRIES = 8
#: The folders that this process has locked.
_held: dict[Path, int] = {}


@functools.cache
def temporary_folder(longest: str = _SOCKET) -> Path:
    """Return a folder of this process alone, for sockets and shared memory; it goes when the process ends.

    A socket in it may have as long a path below it as `longest` is.

    The folders beside it of processes that were killed are removed.

    Raises:
        StorageError: there is no place for it.
    """
    faults = []
    for place in temporary_places():
        try:
            folder = _new_folder(place, longest)
        except OSError as error:
            faults.append(f"{place} {_in_words(error)}")
        else:
            # After multiprocessing has removed its own folder in it, which it does at the priority of -100.
            multiprocessing.util.Finalize(None, _remove, (folder,), exitpriority=-200)
            _sweep(place)
            return folder
    raise StorageError(
        f"there is no folder for sockets and shared memory: {', '.join(faults)}; set TMPDIR to a writable folder with a"
        " short path on a disk of this machine"
    )


def temporary_places() -> list[Path]:
    """Return where to try to have that folder, the first choice first: what the user says, then what systems have."""
    said = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    usual = ["/tmp", "/var/tmp", os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"] if os.name == "posix" else []
    places = [Path(place).absolute() for place in (*said, *usual) if place]
    with contextlib.suppress(OSError):  # the current folder may be gone
        places.append(Path.cwd())
    return list(dict.fromkeys(places))


def temporary_fault(place: Path) -> str:
    """Return why the folder cannot be in `place`, "" if it can."""
    try:
        _remove(_new_folder(place, _SOCKET))
    except OSError as error:
        return _in_words(error)
    return ""


def _new_folder(place: Path, longest: str) -> Path:
    """Make a folder in `place`, hold it, and try whether a socket can be in it whose path below it is as long as `longest`.

    Raises:
        OSError: it cannot be there.
    """
    disk = shutil.disk_usage(place)
    if disk.total and disk.free < _ROOM:  # a file system that says 0 of 0 does not know
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for _ in range(_TRIES):
        folder = place / f"wmloop-{os.getpid()}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if _hold(folder):
                break
    else:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    if os.name == "posix":  # elsewhere its sockets have no place among the files
        path = folder / longest.replace("/", "-")
        try:
            with socket.socket(socket.AF_UNIX) as trial:
                trial.bind(str(path))
        except OSError:
            _remove(folder)
            raise
        path.unlink()
    return folder


def _in_words(error: OSError) -> str:
    if error.errno is None:  # Python's own "AF_UNIX path too long"
        return "has too long a path for sockets"
    return f"cannot be used ({error.strerror})"


def _hold(folder: Path) -> bool:
    """Lock a folder until this process ends in any way, and return whether it is there and nobody else has it.

    systemd, which removes what is old from /tmp, leaves a locked folder and all in it alone, too.
    """
    if fcntl is None:
        return True
    fd = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    except OSError:  # a file system without locks, where then nobody sweeps
        os.close(fd)
        return True
    _held[folder] = fd
    return folder.exists()


def _remove(folder: Path) -> None:
    """Remove a folder that is held, and let go of it."""
    shutil.rmtree(folder, ignore_errors=True)
    if (fd := _held.pop(folder, None)) is not None:
        os.close(fd)


def _sweep(place: Path) -> None:
    """Remove the folders in `place` of this user whose processes are no more."""
    with contextlib.suppress(OSError):
        for folder in place.iterdir():
            if _FOLDER.fullmatch(folder.name) and folder not in _held:
                with contextlib.suppress(OSError):  # another user's
                    if _hold(folder) and folder in _held and os.fstat(_held[folder]).st_uid == os.geteuid():
                        _remove(folder)
                    elif folder in _held:
                        os.close(_held.pop(folder))
