"""Build one version in private: files and snapshots that survive a crash, then one commit that publishes."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmloop import __version__
from wmloop.errors import DivergedError, DraftUnusableError, StoreCorruptError, WmloopError
from wmloop.store import atomic
from wmloop.store.files import hash_file, is_file_name, is_foreign, is_litter, list_folder, read_regular
from wmloop.store.jsontext import dump_json, dump_line, parse_json
from wmloop.store.tensors import SUFFIX, Tensors, check, encode, read
from wmloop.store.version import FORMAT, MANIFEST, PRUNED, Version, load_version, seal, version_name

KEPT_SNAPSHOTS = 2
#: A folder in which a stage builds its version: this and the stage's name.
DRAFT_PREFIX = ".draft-"
#: How long earlier attempts at the stage have worked.
_WORK = "work.json"
_SNAPSHOT = re.compile(r"snapshot-([0-9]{12})\.safetensors")


class Draft:
    """The private folder in which a stage builds its version; readers never see it.

    Opening it takes up what an interrupted attempt left: the files it saved and its snapshots. Each save is durable
    and whole on its own, and saving a name again replaces it. Only the holder of the run's lock may have a draft.
    What is in the folder that no stage can have saved, such as `.DS_Store`, is passed over and never committed.

    Raises, from every method that writes:
        StorageError: the file system refuses; everything saved before is still there.
    """

    def __init__(self, iteration_folder: Path, iteration: int, stage: str) -> None:
        self.name = version_name(iteration, stage)
        self.iteration = iteration
        self.stage = stage
        self.path = iteration_folder / f"{DRAFT_PREFIX}{stage}"
        self._final = iteration_folder / stage
        self._saved: set[str] = set()  # by this attempt
        self._begun, self._before = time.monotonic(), worked(iteration_folder, stage)
        atomic.make_folder(self.path)
        atomic.remove_strays(self.path)
        # A commit that died before its rename left a manifest of files that may now change.
        atomic.remove_file(self.path / MANIFEST)

    @property
    def run(self) -> Path:
        """Return the run's folder."""
        return self.path.parents[2]

    @property
    def seconds(self) -> float:
        """Return how long the stage has worked, in all attempts whose end was noted."""
        return self._before + time.monotonic() - self._begun

    def note_work(self) -> None:
        """Note how long the stage has worked up to now, for an attempt that goes on from here."""
        atomic.write_file(self.path / _WORK, dump_json({"seconds": self.seconds}, _WORK), durable=False)

    def require_space(self, num_bytes: int) -> None:
        """Raise StorageError unless the disk has room for `num_bytes` in this draft, what is saved already among them."""
        saved = 0
        for name in list_folder(self.path):
            with contextlib.suppress(OSError):  # a file of somebody else's may be gone by now
                saved += (self.path / name).lstat().st_size
        atomic.require_space(self.path, max(0, num_bytes - saved))

    def save_tensors(self, file: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Save arrays; raises ValueError as `tensors.encode` does."""
        self.save_bytes(file, encode(tensors))

    def save_json(self, file: str, value: Any) -> None:
        """Save a JSON value; raises DivergedError when a number in it is not finite."""
        self.save_bytes(file, dump_json(value, f"{self.name}/{file}"))

    def save_bytes(self, file: str, data: bytes) -> None:
        """Save any bytes, and note the work so far: a kill takes neither."""
        atomic.write_file(self._place(file), data)
        self._saved.add(file)
        self.note_work()

    def has(self, file: str) -> bool:
        """Tell whether `file` was saved, in this attempt or an earlier one.

        Raises:
            DraftUnusableError: it is a tensor file of an earlier attempt, and its structure is damaged.
        """
        path = self._place(file)
        if not os.path.lexists(path) or is_foreign(path):
            return False
        if path.suffix == SUFFIX and file not in self._saved:
            with _unusable():
                check(path)
        return True

    def files(self) -> list[str]:
        """Return the names saved so far, sorted; snapshots are not among them."""
        return [n for n in list_folder(self.path) if not _is_reserved(n) and not is_foreign(self.path / n)]

    def tensors(self, file: str) -> Tensors:
        """Return the arrays of a saved tensor file; raises DraftUnusableError when its structure is damaged."""
        with _unusable():
            return read(self._place(file))[0]

    def json(self, file: str) -> Any:
        """Return the value of a saved JSON file; raises DraftUnusableError when it is damaged."""
        with _unusable():
            return parse_json(read_regular(self._place(file)), self.path / file)

    def discard(self) -> None:
        """Remove the files and the snapshots saved so far, of earlier attempts too, so that the stage begins anew."""
        for path in [*(self.path / file for file in self.files()), *(path for _, path in self._snapshots())]:
            atomic.remove_file(path)
        self._saved.clear()

    def snapshot(self, done: int, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Save the stage's whole state after `done` units of work, so that an interruption goes on from here.

        `state` is any JSON table. The newest two snapshots are kept, the older one against a damaged newer one; any
        with more `done` belongs to work that was given up, and goes.
        """
        if not 0 <= done < 10**12:
            raise ValueError(
                f"progress (done) must be a whole number of work units (gradient steps, frames ...), not {done!r}"
            )
        text = dump_line(dict(state)).decode()
        notes = {"state": text, "sha256": _digest(done, tensors, text)}
        atomic.write_file(self.path / f"snapshot-{done:012d}.safetensors", encode(tensors, notes))
        self.note_work()
        older = 0
        for number, path in self._snapshots():
            older += number <= done
            if number > done or older > KEPT_SNAPSHOTS:
                atomic.remove_file(path)

    def latest_snapshot(self) -> tuple[int, Tensors, dict[str, Any]] | None:
        """Return (done, tensors, state) of the newest snapshot that is undamaged, or None.

        Raises:
            StorageError: the file system refuses to read; that is no reason to start the stage anew.
        """
        for done, path in self._snapshots():
            try:
                tensors, notes = read(path)
                if notes.get("sha256") != _digest(done, tensors, notes.get("state", "")):
                    continue
                state = parse_json(notes["state"].encode(), path)
            except StoreCorruptError:
                continue
            return done, tensors, state
        return None

    def commit(
        self,
        parents: Sequence[Version],
        metrics: Mapping[str, float],
        seconds: float,
        facts: Mapping[str, Any] | None = None,
    ) -> Version:
        """Publish the draft as the version of its place, made from `parents` in `seconds` of work, and return it.

        The manifest is written last, then the snapshots go, then one rename makes the version exist.

        Raises:
            DivergedError: a metric is not finite; nothing was published.
            StoreCorruptError: the place is taken already.
            DraftUnusableError: a saved file is no regular file any more.
            StorageError: nothing was published, and the draft is still there.
            UnknownOutcomeError: published, but the disk did not confirm it; nothing tries again.
        """
        if os.path.lexists(self._final):
            raise StoreCorruptError(f"{self._final} is committed already, and committed stage outputs never change")
        numbers = {name: _number(f"{self.name}: {name}", value) for name, value in metrics.items()}
        atomic.remove_strays(self.path)
        files = {}
        for file in self.files():
            with _unusable():
                size, digest = hash_file(self.path / file)
            files[file] = {"size": size, "sha256": digest}
        manifest = {
            "format": FORMAT,
            "wmloop": __version__,
            "iteration": self.iteration,
            "stage": self.stage,
            "created": utc_now(),
            "seconds": _number(f"{self.name}: seconds", seconds),
            "parents": {parent.name: parent.hash for parent in parents},
            "files": files,
            "metrics": numbers,
            "facts": dict(facts or {}),
        }
        atomic.write_file(self.path / MANIFEST, seal(manifest, f"{self.name}/{MANIFEST}"))
        for _, path in self._snapshots():  # not before: a full disk must cost the manifest, never the snapshots
            atomic.remove_file(path)
        atomic.remove_file(self.path / _WORK)
        atomic.publish_folder(self.path, self._final)
        return load_version(self._final, self.iteration, self.stage)

    def _place(self, file: str) -> Path:
        if not is_file_name(file) or _is_reserved(file) or is_litter(file):
            raise ValueError(f"{file!r} cannot name a file of a stage output: letters, digits, `_.-`, at most 100")
        return self.path / file

    def _snapshots(self) -> list[tuple[int, Path]]:
        """Return (done, path) of each snapshot, newest first."""
        matches = [match for match in map(_SNAPSHOT.fullmatch, list_folder(self.path)) if match]
        return sorted(((int(match[1]), self.path / match[0]) for match in matches), reverse=True)


def worked(iteration_folder: Path, stage: str) -> float:
    """Return how many seconds interrupted attempts at a stage have worked: 0 where that is not noted, or damaged."""
    path = iteration_folder / f"{DRAFT_PREFIX}{stage}" / _WORK
    with contextlib.suppress(OSError, WmloopError, KeyError, TypeError, ValueError):  # it is only a time
        return max(0.0, _number(_WORK, parse_json(read_regular(path), path)["seconds"]))
    return 0.0


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def _unusable() -> Iterator[None]:
    """Tell damage in a draft from damage in what is committed."""
    try:
        yield
    except StoreCorruptError as error:
        raise DraftUnusableError(str(error)) from error


def _is_reserved(file: str) -> bool:
    return file in (MANIFEST, PRUNED, _WORK) or file.startswith("snapshot-")


def _digest(done: int, tensors: Mapping[str, np.ndarray], state: str) -> str:
    """Hash what a snapshot says, not how: a flipped bit in a name, a shape or the state must not pass either."""
    digest = hashlib.sha256(f"{done} {len(state)} {state}".encode())
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        digest.update(f"\n{name} {array.dtype.newbyteorder('<').str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _number(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise DivergedError(f"{name} is {number}, so nothing was committed; a lower learning rate may help")
    return number
