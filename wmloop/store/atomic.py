"""Make changes to a disk whole or not at all: by the calls in disk.py."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wmloop.commands import command
from wmloop.errors import StorageError
from wmloop.store.disk import UNSUPPORTED, FileSystem
from wmloop.store.layout import HEADER
from wmloop.store.notes import note

#: Every file under construction starts with this, so that a crash's leftovers are known by name.
TEMP_PREFIX = ".tmp-"

_PATIENCE_SECONDS = 3.0


class UnknownOutcomeError(StorageError):
    """Report a rename that was done but not confirmed: after a power cut the old or the new state may be there.

    Nothing tries it again, because a failed fsync may have dropped the very pages a second one would report as safe.
    The process should end; the next one sees what the disk really holds and verifies it.
    """


#: The disk in use. Tests put a faulty one here.
disk = FileSystem()


def write_file(path: Path, data: bytes | bytearray | memoryview, durable: bool = True) -> None:
    """Write `data` to `path` so that after any crash `path` holds the old bytes or all of the new ones.

    On return the new bytes are on the disk under their name. The file's mode is the umask's. What is not `durable` is not
    waited for: readers still see the old bytes or all of the new ones, but a power cut may leave neither.

    Raises:
        StorageError: the old file, if any, is as it was.
        UnknownOutcomeError: the new file is in place, but the disk did not confirm its name.
    """
    temp = path.with_name(f"{TEMP_PREFIX}{path.name}-{secrets.token_hex(4)}")
    with storage_errors("write", path, len(data)):
        try:
            fd = disk.create(temp)
            try:
                _write_all(fd, data)
                if durable:
                    disk.fsync(fd)
            finally:
                disk.close(fd)
            _patiently(disk.replace, temp, path, seconds=_PATIENCE_SECONDS if durable else 0.0)
        except BaseException:  # also where somebody interrupts it: no lock ever sweeps a user's own folder
            with contextlib.suppress(OSError):
                disk.remove(temp)
            raise
    if durable:
        _confirm(path)


def publish_folder(draft: Path, final: Path, over_empty: bool = False) -> None:
    """Give the folder `draft` its final name: the one step that makes its content exist for readers.

    The files inside must have been written by `write_file`. `final` must not exist, or may be empty if `over_empty`.
    Where a file system cannot rename the folder it is its copy that gets the name, without hidden files.

    Raises:
        StorageError: nothing was published.
        UnknownOutcomeError: `final` is in place, but the disk did not confirm its name.
    """
    copied = False
    with storage_errors("publish", final):
        _sync_names(draft)
        if over_empty:
            with contextlib.suppress(FileNotFoundError):
                disk.remove_folder(final)
        # rename() would silently replace an empty folder of that name.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        try:
            _patiently(disk.rename_folder, draft, final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copied = True
            _publish_copy(draft, final)
    _confirm(final)
    if copied:  # not before, and what stays of it means nothing any more
        with contextlib.suppress(StorageError):
            remove_folder(draft)


def _publish_copy(draft: Path, final: Path) -> None:
    """Publish a copy of `draft`: overlayfs renames no folder that is, wholly or in part, of a layer below."""
    copy = final.with_name(f"{TEMP_PREFIX}{final.name}-{secrets.token_hex(4)}")
    try:
        _copy_folder(draft, copy)
        _patiently(disk.rename_folder, copy, final)
    except OSError:
        with contextlib.suppress(OSError):
            _remove_tree(copy)
        raise


def _copy_folder(source: Path, target: Path) -> None:
    disk.make_folder(target)
    for path in sorted(source.iterdir()):
        if path.is_symlink() or path.name.startswith("."):
            continue
        if path.is_dir():
            _copy_folder(path, target / path.name)
        elif path.is_file():
            _copy_file(path, target / path.name)
    _sync_names(target)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        fd = disk.create(target)
        try:
            while piece := file.read(1 << 20):
                _write_all(fd, piece)
            disk.fsync(fd)
        finally:
            disk.close(fd)


def make_folder(path: Path) -> None:
    """Make `path` and its missing parents, each durable in its parent; an existing folder is fine.

    Raises:
        StorageError: the file system refuses.
    """
    with storage_errors("make folder", path):
        if path.is_dir():
            return
    make_folder(path.parent)
    with storage_errors("make folder", path):
        try:
            disk.make_folder(path)
        except FileExistsError:
            if not path.is_dir():  # else somebody has just made it, which is as good
                raise
        _sync_names(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in the folder `path` durable, for example those a crash left unconfirmed; raises StorageError."""
    with storage_errors("sync", path):
        _sync_names(path)


def append_line(path: Path, line: bytes) -> None:
    """Append one line to a log, on a line of its own even if a crash tore the last one. Not fsynced.

    Raises:
        StorageError: the file system refuses; part of the line may be in the file.
    """
    with storage_errors("append to", path, len(line) + 1):
        fd = disk.open_append(path)
        try:
            size = os.lseek(fd, 0, os.SEEK_END)
            torn = False
            if size:
                os.lseek(fd, size - 1, os.SEEK_SET)
                torn = os.read(fd, 1) != b"\n"
            _write_all(fd, (b"\n" if torn else b"") + line + b"\n")
        finally:
            disk.close(fd)


def remove_file(path: Path) -> None:
    """Remove one file, which may already be gone; raises StorageError. Not fsynced: a crash may bring it back."""
    with storage_errors("remove", path), contextlib.suppress(FileNotFoundError):
        _patiently(disk.remove, path)


def remove_folder(path: Path) -> None:
    """Remove a folder and all that is in it, which may already be gone; raises StorageError. Not fsynced."""
    with storage_errors("remove", path):
        _remove_tree(path)


def remove_strays(folder: Path) -> None:
    """Remove what interrupted writes left in `folder`; raises StorageError. For its one writer only."""
    for path in sorted(folder.glob(f"{TEMP_PREFIX}*")):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(StorageError):  # a copy that was cut short; what stays of it is in nobody's way
                remove_folder(path)
        else:
            remove_file(path)


def require_space(path: Path, num_bytes: int) -> None:
    """Raise StorageError unless the file system of the folder `path` has `num_bytes` free, as far as it tells."""
    with storage_errors("measure the free space of", path):
        free = disk.free_bytes(path)
    if free is not None and free < num_bytes:
        raise StorageError(
            f"not enough space for {path}: it needs {num_bytes:,} bytes and {free:,} are free;"
            f" free space, then {_again(path)}"
        )


@contextlib.contextmanager
def storage_errors(action: str, path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError of the body into a one-line StorageError: what failed, where, and what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {action} {path}: {_explain(error, action, path, num_bytes)}") from error


def _write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    rest = memoryview(data)
    while rest:  # one write() takes at most 2 GiB, and less when the disk fills up
        rest = rest[disk.write(fd, rest) :]


def _remove_tree(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            for child in sorted(path.iterdir()):
                _remove_tree(child)
            _patiently(disk.remove_folder, path)
        else:
            _patiently(disk.remove, path)


def _patiently(call: Callable[..., None], *paths: Path, seconds: float = _PATIENCE_SECONDS) -> None:
    """Make a call; on Windows again, for some seconds, while an indexer or a virus scanner holds a file open."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call(*paths)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def _sync_names(folder: Path) -> None:
    """Make the names in `folder` durable; where the file system has no such call, note that they are not."""
    try:
        disk.fsync_folder(folder)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        note(
            "names",
            f"the file system of {folder} cannot sync folders to disk (fsync: {error.strerror or error}): after a power cut"
            " what was saved last may be gone; if only the program is killed or crashes, nothing is lost",
        )


def _confirm(path: Path) -> None:
    try:
        _sync_names(path.parent)
    except OSError as error:
        raise UnknownOutcomeError(
            f"{path} was written, but the disk did not confirm it ({error.strerror or error}): it may or may not "
            f"survive a power cut. Check the disk, then {_again(path)}, which verifies what is there"
        ) from error


def _explain(error: OSError, action: str, path: Path, num_bytes: int | None) -> str:
    needed = "" if num_bytes is None else f", {num_bytes:,} bytes needed"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left{needed}; free space, then {_again(path)}"
        case errno.EACCES | errno.EPERM if action == "read":
            return f"this user may not read it ({error.strerror}); make it readable"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"read-only for this user ({error.strerror}); make the folder writable or use another one"
        case errno.EMFILE | errno.ENFILE:
            return f"too many open files; raise the limit (`ulimit -n`), then {_again(path)}"
        case errno.EIO:
            return f"the disk reports an input/output error; check it, then {_again(path)}"
        case _:
            return f"{error.strerror or error}; fix that, then {_again(path)}"


def _again(path: Path) -> str:
    """Return what to do once a fault with `path` is mended: go on with the run it belongs to, if there is one yet."""
    run = next((folder for folder in (path, *path.parents) if os.path.exists(folder / HEADER)), None)  # noqa: PTH110
    return "try again" if run is None else f"`{command('resume', run)}`"
