"""The run that was worked on last."""

from __future__ import annotations

from pathlib import Path

from wmloop.errors import StorageError, StoreCorruptError, WmloopError
from wmloop.store.names import list_runs
from wmloop.store.notes import note
from wmloop.store.store import Store


def latest_run(root: Path) -> str | None:
    """Return the name of the run in `root` with the latest activity, or None if there is no run.

    What is damaged or cannot be read is passed over and noted; if nothing else is there, that is the error.

    Raises:
        StoreCorruptError: every run is damaged.
        StorageError: the file system refuses.
    """
    fault: WmloopError | None = None
    for name in list_runs(root):
        try:
            Store.open(root / name).iterations()
        except (StoreCorruptError, StorageError) as error:
            note(f"passed over {root / name}", f"{error}; this run is skipped")
            fault = fault or error
        else:
            return name
    if fault:
        raise fault
    return None
