"""Make folders in the folder of runs that nobody takes for a run before they are whole, and that no kill leaves for good."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from wmloop.store import atomic
from wmloop.store.files import list_folder
from wmloop.store.lock import claim, unclaim

_PATTERN = re.compile(r"\.new-.+-[0-9a-f]{8}")
#: What nobody has a claim on may be a moment old, or its file system has no locks; a day later nobody is making it.
_ABANDONED_SECONDS = 86400.0


@contextlib.contextmanager
def private_folder(root: Path, name: str) -> Iterator[Path]:
    """Make a folder `.new-<name>-*` in `root`; it goes at the end of the `with` unless it has another name by then.

    Those that a kill left are swept away.

    Raises:
        StorageError: the file system refuses.
    """
    atomic.make_folder(root)
    _sweep(root)
    while True:
        folder = root / f".new-{name}-{secrets.token_hex(4)}"
        atomic.make_folder(folder)
        if claim(folder, fresh=True) is not False:  # else a sweep came between
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        unclaim(folder)


def _sweep(root: Path) -> None:
    """Remove the folders that nobody is making any more, as far as the file system lets us."""
    for folder in (root / name for name in list_folder(root) if _PATTERN.fullmatch(name)):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or not folder.is_dir():
                continue
            ours = claim(folder, fresh=False)
            if ours or (ours is None and time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS):
                shutil.rmtree(folder, ignore_errors=True)
            if ours:  # else it is another's, or of this process, which is making it
                unclaim(folder)
