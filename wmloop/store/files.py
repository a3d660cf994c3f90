"""Read what a run's folder holds and trust nothing: plain names, regular files, known sizes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from wmloop.errors import StoreCorruptError
from wmloop.store.atomic import storage_errors

#: What systems leave in any folder, of a name that a stage might have chosen.
_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


def is_file_name(name: str) -> bool:
    """Tell whether `name` may name a file of a version: letters, digits, `_.-`, no leading dot, no separator."""
    return _FILE_NAME.fullmatch(name) is not None


def is_litter(name: str) -> bool:
    """Tell whether `name` is that of a file which systems leave in any folder."""
    return name.startswith(".") or name.lower() in _LITTER


def is_foreign(path: Path) -> bool:
    """Tell whether no stage can have saved `path`, so that it means nothing: by its name, or as it is a folder."""
    if not is_file_name(path.name) or is_litter(path.name):
        return True
    with storage_errors("read", path):
        return path.is_dir() and not path.is_symlink()


def list_folder(path: Path) -> list[str]:
    """Return the names in a folder, sorted, or none if there is no such folder; raises StorageError."""
    with storage_errors("read", path):
        try:
            return sorted(entry.name for entry in path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def open_regular(path: Path) -> BinaryIO:
    """Open an existing regular file for reading.

    Raises:
        StoreCorruptError: it is missing, or a symlink, a pipe or anything else that is no regular file.
        StorageError: the file system refuses.
    """
    # O_NONBLOCK: opening a pipe would otherwise wait for its writer for ever.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with storage_errors("read", path):
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise StoreCorruptError(f"{path} is not a regular file")
            fd = os.open(path, flags)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreCorruptError(f"{path} is missing") from None
        return os.fdopen(fd, "rb")


def read_regular(path: Path, size: int | None = None) -> bytearray:
    """Return the bytes of a regular file; raises as `open_regular`, and StoreCorruptError if it is not `size` long."""
    with open_regular(path) as file:
        found = os.fstat(file.fileno()).st_size
        if size is not None and found != size:
            raise StoreCorruptError(f"{path} has {found:,} bytes, not {size:,}: it is truncated or overwritten")
        return read_exactly(file, found, path)


def read_exactly(file: BinaryIO, count: int, path: Path) -> bytearray:
    """Read the next `count` bytes into one writable buffer; raises StoreCorruptError when the file ends before."""
    data = bytearray(count)
    with storage_errors("read", path):
        done = file.readinto(data)  # type: ignore[attr-defined]
    if done != count:
        raise StoreCorruptError(f"{path} ends after {done:,} of {count:,} bytes")
    return data


def sha256(data: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a regular file, read in pieces; raises as `open_regular`."""
    digest, size = hashlib.sha256(), 0
    with open_regular(path) as file, storage_errors("read", path):
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
