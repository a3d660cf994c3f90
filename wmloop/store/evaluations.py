"""What `wmloop eval` found of a run's agents, kept with the run. Training never reads it; studies take scores from it."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wmloop.errors import StorageError, StoreCorruptError
from wmloop.store import atomic
from wmloop.store.files import list_folder, read_regular
from wmloop.store.jsontext import dump_json, finite, parse_json
from wmloop.store.layout import EVALUATIONS

_NAME = re.compile(r"eval-[0-9]{8}-[0-9]{6}-[0-9a-f]{8}\.json")


class Evaluation(NamedTuple):
    """One evaluation: its UTC time, the version that was scored and that one's hash, the seed of its episodes, their scores.

    `record` is all that was saved, these among it.
    """

    created: str
    version: str
    hash: str
    seed: int
    scores: list[float]
    record: dict[str, Any]


class Evaluations:
    """The evaluations of the run in the folder `path`: a small file each, of a name of its own, so that no lock is needed."""

    def __init__(self, path: Path) -> None:
        self._folder = path / EVALUATIONS

    def add(self, record: Mapping[str, Any]) -> None:
        """Save one, whole or not at all; raises StorageError."""
        atomic.make_folder(self._folder)
        now = datetime.datetime.now(datetime.UTC)
        path = self._folder / f"eval-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}.json"
        data = dump_json(dict(record), path.name)
        try:
            atomic.write_file(path, data)
        except atomic.UnknownOutcomeError:
            raise
        except StorageError:  # whoever takes the run's lock sweeps what looks half-written
            atomic.write_file(path, data)

    def all(self) -> list[Evaluation]:
        """Return them by time; what is no such record is passed over."""
        read = (self._read(self._folder / name) for name in list_folder(self._folder) if _NAME.fullmatch(name))
        return [evaluation for evaluation in read if evaluation]

    def sweep(self) -> None:
        """Remove what interrupted writes left; raises StorageError. For the run's writer only."""
        atomic.remove_strays(self._folder)

    def _read(self, path: Path) -> Evaluation | None:
        try:
            record = parse_json(read_regular(path), path)
        except (StorageError, StoreCorruptError):
            return None
        episodes = record.get("tracks") if isinstance(record, dict) else None
        if not isinstance(episodes, list) or not episodes:
            return None
        words = [record.get(name) for name in ("created", "version", "hash")]
        scores = [episode.get("score") if isinstance(episode, dict) else None for episode in episodes]
        numbers = [finite(value) for value in (record.get("seed"), *scores)]
        if not all(isinstance(word, str) for word in words) or None in numbers:
            return None
        seed, *found = (number for number in numbers if number is not None)
        created, version, digest = map(str, words)
        return Evaluation(created, version, digest, int(seed), found, record)
