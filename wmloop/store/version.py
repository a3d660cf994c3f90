"""Read a committed version: a folder whose manifest names every file, its size and its hash."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wmloop.commands import command
from wmloop.errors import StorageError, StoreCorruptError, UsageError
from wmloop.legacy import metrics_now
from wmloop.store.atomic import storage_errors
from wmloop.store.files import hash_file, is_file_name, is_foreign, list_folder, read_regular, sha256
from wmloop.store.jsontext import dump_json, finite, parse_json
from wmloop.store.tensors import decode

#: The number of the format in docs/store-format.md, in every run.toml and every manifest; older ones are read too.
FORMAT = 2
MANIFEST = "manifest.json"
#: Beside the manifest of a version that lost files to `Store.prune`: their names.
PRUNED = "pruned.json"

_STAGE = re.compile(r"[a-z][a-z0-9_\-]{0,31}")
_ITERATION = re.compile(r"[0-9]{4,9}")
_NAME = re.compile(rf"({_ITERATION.pattern})/({_STAGE.pattern})")
_HASH = re.compile(r"[0-9a-f]{64}")
_NO_CHECKSUM = "0" * 64


#: What is wrong with a file that a version does not have.
STRANGE = "is not named by the manifest"


class Fault(NamedTuple):
    """Name something wrong: in which version (`0003/memory`), in which file, and what."""

    version: str
    file: str
    problem: str


class FileRecord(NamedTuple):
    """Say what a manifest promises of one file: its bytes and their SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Version:
    """A committed version: read-only, made whole by one rename, every file hashed.

    `parents` maps the names of the versions it was made from to the hashes of their manifests; `hash` is that of its
    own. `seconds` is the work it took, `created` the UTC time of the commit (ISO 8601, for people only: clocks jump).
    Each read verifies the whole file's SHA-256 before it parses anything, and raises StoreCorruptError naming the file
    if it is not what was committed.

    `files` are those of the manifest that are there; those that were pruned since are in `pruned`, and reading one of them
    raises UsageError. Its manifest, and so its figures and its hash, stay.
    """

    iteration: int
    stage: str
    path: Path
    manifest: Mapping[str, Any] = field(repr=False)
    hash: str
    metrics: Mapping[str, float] = field(repr=False)
    parents: Mapping[str, str] = field(repr=False)
    files: Mapping[str, FileRecord] = field(repr=False)
    pruned: Mapping[str, FileRecord] = field(repr=False)
    created: str
    seconds: float

    @property
    def name(self) -> str:
        """Return the name by which others refer to it, `0003/memory`."""
        return version_name(self.iteration, self.stage)

    @property
    def num_bytes(self) -> int:
        """Return the size of its files together, without the manifest."""
        return sum(record.size for record in self.files.values())

    def tensors(self, file: str) -> dict[str, np.ndarray]:
        """Return the arrays of a tensor file."""
        return decode(self._read(file), self.path / file)[0]

    def json(self, file: str) -> Any:
        """Return the content of a JSON file."""
        return parse_json(self._read(file), self.path / file)

    def bytes(self, file: str) -> bytes:
        """Return the content of any file."""
        return bytes(self._read(file))

    def check(self) -> None:
        """Raise StoreCorruptError unless every file is there, regular and of its size; the hashes are not read."""
        for file, record in self.files.items():
            path = self.path / file
            with storage_errors("read", path):
                try:
                    status = path.lstat()
                except (FileNotFoundError, NotADirectoryError):
                    raise StoreCorruptError(f"{path} is missing") from None
            if not stat.S_ISREG(status.st_mode):
                raise StoreCorruptError(f"{path} is not a regular file")
            if status.st_size != record.size:
                raise StoreCorruptError(f"{path} has {status.st_size:,} bytes, not {record.size:,}: it is truncated")

    def faults(self) -> list[Fault]:
        """Read every byte and return what differs from the manifest, and what the manifest does not name."""
        faults = []
        for file, record in self.files.items():
            try:
                size, digest = hash_file(self.path / file)
            except (StoreCorruptError, StorageError) as error:
                faults.append(Fault(self.name, file, str(error)))
                continue
            if size != record.size:
                faults.append(Fault(self.name, file, f"has {size:,} bytes, not {record.size:,}"))
            elif digest != record.sha256:
                faults.append(Fault(self.name, file, "its bytes are not those that were committed"))
        for file in self._strangers():
            if not is_foreign(self.path / file):
                faults.append(Fault(self.name, file, STRANGE))
        return faults

    def foreign(self) -> list[str]:
        """Return the names in its folder that are none of a version's and do no harm, such as `.DS_Store`."""
        return [name for name in self._strangers() if is_foreign(self.path / name)]

    def _strangers(self) -> list[str]:
        known = {*self.files, *self.pruned, MANIFEST, PRUNED}
        return [name for name in list_folder(self.path) if name not in known]

    def _read(self, file: str) -> bytearray:
        if file in self.pruned:
            raise UsageError(
                f"{file} of {self.name} was pruned, only its metrics are kept:"
                f" `{command('log', self.path.parents[2])}` lists what is there"
            )
        if file not in self.files:
            raise StoreCorruptError(f"{self.path} has no file {file!r}: it has {', '.join(self.files) or 'none'}")
        data = read_regular(self.path / file, self.files[file].size)
        if sha256(data) != self.files[file].sha256:
            raise StoreCorruptError(f"{self.path / file} is damaged: its bytes are not those that were committed")
        return data


def version_name(iteration: int, stage: str) -> str:
    """Return `0003/memory`; raises ValueError for what cannot be a version's place."""
    if not 0 <= iteration < 10**9 or not is_stage_name(stage):
        raise ValueError(f"iteration {iteration!r} and stage {stage!r} are not valid for a stage output")
    return f"{iteration:04d}/{stage}"


def is_stage_name(name: str) -> bool:
    """Tell whether `name` may name a stage: lower case letters, digits, `_-`, at most 32."""
    return _STAGE.fullmatch(name) is not None


def is_iteration_name(name: str) -> bool:
    """Tell whether a folder of this name holds an iteration: its number with at least four digits."""
    return _ITERATION.fullmatch(name) is not None and name == f"{int(name):04d}"


def seal(manifest: Mapping[str, Any], name: str) -> bytes:
    """Return a manifest file: `manifest` and a `checksum`, the SHA-256 of the same bytes with zeros in its place.

    Raises:
        DivergedError: a number is not finite; `name` is in the message.
    """
    data = dump_json({"checksum": _NO_CHECKSUM, **manifest}, name)
    return data.replace(_NO_CHECKSUM.encode(), sha256(data).encode(), 1)


def load_version(folder: Path, iteration: int, stage: str) -> Version:
    """Read the manifest of the committed folder of (iteration, stage), and what was pruned; its files are not looked at.

    Raises:
        StoreCorruptError: no folder, a symlink, or a manifest that is missing, damaged, newer or of another place.
    """
    with storage_errors("read", folder):
        if folder.is_symlink() or not folder.is_dir():
            raise StoreCorruptError(f"{folder} is not a folder")
    path = folder / MANIFEST
    data = read_regular(path)
    manifest = parse_json(data, path)
    if not isinstance(manifest, dict):
        raise StoreCorruptError(f"{path} is not a manifest")
    check_format(manifest.get("format"), path)
    checksum = str(manifest.get("checksum"))
    if sha256(data.replace(checksum.encode(errors="replace"), _NO_CHECKSUM.encode(), 1)) != checksum:
        raise StoreCorruptError(f"{path} is damaged: its bytes are not those that were committed")
    if (manifest.get("iteration"), manifest.get("stage")) != (iteration, stage):
        raise StoreCorruptError(f"{path} belongs to {manifest.get('iteration')}/{manifest.get('stage')}, not here")
    try:
        files = _files(manifest["files"])
        gone = _pruned(folder)
        return Version(
            iteration=iteration,
            stage=stage,
            path=folder,
            manifest=manifest,
            hash=sha256(data),
            metrics=metrics_now({name: _finite(value) for name, value in manifest["metrics"].items()}),
            parents={
                _match(_NAME, name, "the name of a stage output"): _match(_HASH, digest, "a SHA-256")
                for name, digest in manifest["parents"].items()
            },
            files={file: record for file, record in files.items() if file not in gone},
            pruned={file: files[file] for file in gone},
            created=str(manifest["created"]),
            seconds=_finite(manifest["seconds"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StoreCorruptError(f"{path} is not a whole manifest: {error!r}") from None


def check_format(number: Any, path: Path) -> None:
    """Raise StoreCorruptError naming `path` unless `number` is the format this wmloop reads."""
    if type(number) is not int or number < 1:
        raise StoreCorruptError(f"{path} names no store format: it was not written by wmloop")
    if number > FORMAT:
        raise StoreCorruptError(
            f"{path} has store format {number}, and this wmloop reads formats up to {FORMAT}: upgrade wmloop to open it"
        )


def _files(table: Mapping[str, Any]) -> dict[str, FileRecord]:
    files = {}
    for name, record in table.items():
        if not is_file_name(name) or name in (MANIFEST, PRUNED):
            raise ValueError(f"{name!r} is no file name")
        if type(record["size"]) is not int or record["size"] < 0:
            raise ValueError(f"{name!r} has no size")
        files[name] = FileRecord(record["size"], _match(_HASH, record["sha256"], "a SHA-256"))
    return files


def _pruned(folder: Path) -> list[str]:
    """Return what `Store.prune` noted beside the manifest."""
    path = folder / PRUNED
    with storage_errors("read", path):
        if not os.path.lexists(path):
            return []
    names = parse_json(read_regular(path), path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} does not list file names")
    return names


def _match(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not {what}")
    return text


def _finite(value: Any) -> float:
    if (number := finite(value)) is None:
        raise ValueError(f"{value!r} is no finite number")
    return number
