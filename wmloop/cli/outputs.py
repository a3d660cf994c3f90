"""Files and folders that a command is asked to write: looked at before the work that fills them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wmloop.errors import StorageError, UsageError


def require_room(path: Path, option: str) -> None:
    """Refuse a file that could not be written; `option` says otherwise where.

    Raises:
        UsageError: its folder is not there.
        StorageError: the file system refuses.
    """
    with _refusals(path, option):
        if not path.parent.is_dir():
            raise UsageError(
                f"there is no folder {path.parent} for {path.name}: make it, or choose another one with {option}"
            )
        _try(path.parent)


@contextlib.contextmanager
def output_folder(path: Path, option: str) -> Iterator[None]:
    """Make a folder that is about to be written to, and take it away again where the work fails before it begins.

    Raises:
        UsageError: there is something else of that name.
        StorageError: the file system refuses.
    """
    with _refusals(path, option):
        made = not path.exists()
        if not made and not path.is_dir():
            raise UsageError(f"{path} is not a folder: choose where to write with {option}")
        path.mkdir(parents=True, exist_ok=True)
        _try(path)
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _try(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextlib.contextmanager
def _refusals(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path.absolute()}: {error.strerror or error}; choose another place with {option}"
        ) from None
