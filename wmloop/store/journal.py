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
#: What a track is made of.
_TRACK = "vectors", "actions"
_NOTHING = np.zeros(())


class Journal:
    """The log of a run in the folder `path`. Who appends events holds the run's lock; what environments print needs none."""

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

    def save_pictures(
        self, pictures: Mapping[str, np.ndarray], tracks: Mapping[str, tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """Leave the latest pictures and tracks, by kind, for those who watch; raises StorageError.

        A track is vectors (T+1, n) and actions (T, ...), see events.Track. Nothing decides by what is in them.
        """
        parts = {f"{kind}.{part}": a for kind, track in tracks.items() for part, a in zip(_TRACK, track, strict=True)}
        atomic.write_file(self._path / PICTURES, encode({**pictures, **parts}), durable=False)

    def pictures(self) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Return the pictures (H, W, 3) uint8 and the tracks that were left last, by kind; none where there are no such."""
        try:
            arrays, _ = read(self._path / PICTURES)
        except (StorageError, StoreCorruptError):
            return {}, {}
        pictures = {
            kind: a for kind, a in arrays.items() if a.dtype == np.uint8 and a.ndim == 3 and a.shape[2] == 3 and a.size
        }
        tracks = {}
        for kind in {name.rpartition(".")[0] for name in arrays}:
            vectors, actions = (arrays.get(f"{kind}.{part}", _NOTHING) for part in _TRACK)
            if vectors.ndim == 2 and actions.ndim in (1, 2) and len(vectors) == len(actions) + 1:
                tracks[kind] = vectors, actions
        return pictures, tracks

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
