"""The system calls that change a disk: the only module that renames and fsyncs."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

#: What a file system answers that has no such call: FUSE, CIFS, 9p and shared folders of virtual machines, some of them.
UNSUPPORTED = {
    getattr(errno, name) for name in ("EINVAL", "EBADF", "ENOTSUP", "EOPNOTSUPP", "ENOSYS") if hasattr(errno, name)
}
_WINDOWS = os.name == "nt"


class FileSystem:
    """The system calls that change a disk, one method each, so that a test can make any of them fail.

    Every method raises OSError as the call does. Tests replace the module's `disk`.
    """

    def create(self, path: Path) -> int:
        """Open a new file for writing."""
        # O_EXCL: a temp name that exists is somebody else's. Mode 0666 leaves the choice to the umask.
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)

    def open_append(self, path: Path) -> int:
        """Open a file, new or not, for reading anywhere and writing at its end."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)

    def write(self, fd: int, data: memoryview) -> int:
        """Write some of `data` and return how many bytes."""
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        """Return when the file's bytes are on the disk."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close the file."""
        os.close(fd)

    def fsync_folder(self, path: Path) -> None:
        """Return when the names in the folder are on the disk."""
        if _WINDOWS:  # it has no handle to fsync here; NTFS journals its directories
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def replace(self, old: Path, new: Path) -> None:
        """Rename a file over another."""
        old.replace(new)

    def rename_folder(self, old: Path, new: Path) -> None:
        """Rename a folder."""
        old.rename(new)

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        path.mkdir()

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def free_bytes(self, path: Path) -> int | None:
        """Return the bytes this user may still write, or None where the file system does not tell."""
        try:
            usage = shutil.disk_usage(path)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return None
            raise
        return usage.free if usage.total else None
