"""What a run tells people: its log, what its environment printed, its latest pictures. Nothing decides by what is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wmloop.errors import StorageError, StoreCorruptError
from wmloop.store import atomic
from wmloop.store.files import open_regular
from wmloop.store.jsontext import dump_line
from wmloop.store.layout import EVENTS, OUTPUT, PICTURES
from wmloop.store.tensors import encode, read

_MOST_OUTPUT = 4 << 20


class Journal:
    """The log of a run in the folder `path`; whoever writes holds the run's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one record to the log for people and plots; raises StorageError. Nothing decides by what is in it."""
        atomic.append_line(self._path / EVENTS, dump_line(dict(record)))

    def append_output(self, line: str) -> None:
        """Append a line that an environment printed, unless there are 4 MiB of them; raises StorageError."""
        path = self._path / OUTPUT
        if not path.exists() or path.stat().st_size < _MOST_OUTPUT:
            atomic.append_line(path, line.encode())

    def save_pictures(self, pictures: Mapping[str, np.ndarray]) -> None:
        """Leave the latest pictures, by kind, for those who watch; raises StorageError. Nothing decides by what is in them."""
        atomic.write_file(self._path / PICTURES, encode(pictures), durable=False)

    def pictures(self) -> dict[str, np.ndarray]:
        """Return the pictures (H, W, 3) uint8 that were left last, by kind; none where there are none, or no such."""
        try:
            arrays, _ = read(self._path / PICTURES)
        except (StorageError, StoreCorruptError):
            return {}
        return {
            kind: a for kind, a in arrays.items() if a.dtype == np.uint8 and a.ndim == 3 and a.shape[2] == 3 and a.size
        }

    def events(self, place: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the log's records in order, from byte `place` on, and where to go on from.

        Lines torn by a crash are skipped; one that is being written has to wait.
        """
        records: list[dict[str, Any]] = []
        if not (self._path / EVENTS).exists():
            return records, place
        with open_regular(self._path / EVENTS) as file:
            file.seek(place)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                place += len(line)
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict):
                    records.append(record)
        return records, place
