"""Hold a run: a folder of committed versions, found by looking, written by one process at a time."""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmloop.errors import StorageError, StoreCorruptError
from wmloop.store import atomic
from wmloop.store.creation import make_run
from wmloop.store.draft import DRAFT_PREFIX, Draft, worked
from wmloop.store.evaluations import Evaluations
from wmloop.store.files import list_folder, read_regular, sha256
from wmloop.store.journal import Journal
from wmloop.store.jsontext import dump_json, parse_table
from wmloop.store.layout import CONFIG, FACTS, HEADER, ITERATIONS
from wmloop.store.lock import holder, run_lock
from wmloop.store.names import missing_run, name_on_disk, no_run
from wmloop.store.remedy import remedy
from wmloop.store.version import (
    FORMAT,
    MANIFEST,
    PRUNED,
    Fault,
    Version,
    check_format,
    is_iteration_name,
    is_stage_name,
    load_version,
    version_name,
)


class Store:
    """One run on disk. Reading needs no lock; whoever drafts or commits holds `lock()`."""

    def __init__(self, path: Path, config_text: str, facts: Mapping[str, Any], created: str) -> None:
        self.path = path
        self.config_text = config_text
        self.facts = facts
        self.created = created
        self.journal = Journal(path)
        self.evaluations = Evaluations(path)

    @property
    def name(self) -> str:
        """Return the run's name, that of its folder."""
        return self.path.name

    @classmethod
    def create(
        cls, root: Path, name: str, config_toml: str, facts: Mapping[str, Any], versions: Sequence[Version] = ()
    ) -> Store:
        """Make the run `name` in `root`, whole or not at all, and open it; an empty folder of that name becomes it.

        `facts` is any JSON table about how it began (command line, git revision, library versions). Copies of
        `versions`, of another run, are what it begins with; their manifests, and so their hashes, stay the same.

        Raises:
            UsageError: the name does not do, or is taken.
            StoreCorruptError: a version is damaged; there is no such run.
            StorageError: the file system refuses; there is no such run.
        """
        return cls.open(make_run(root, name, config_toml, facts, versions))

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the run in the folder `path` for reading, and for writing under `lock()`.

        Raises:
            UsageError: there is no such run; near names are listed. Or the folder is a study's.
            StoreCorruptError: the folder is no run, is of a newer format, or its settings are damaged.
        """
        path = path.absolute()
        if not os.path.lexists(path):
            raise missing_run(path)
        with atomic.storage_errors("read", path):
            path = name_on_disk(path)
            if not (path / HEADER).is_file():
                raise no_run(path)
        try:
            header = tomllib.loads(read_regular(path / HEADER).decode())
        except (ValueError, RecursionError) as error:
            raise StoreCorruptError(f"{path / HEADER} is damaged: {error}") from None
        table = header.get("wmloop")
        table = table if isinstance(table, dict) else {}
        check_format(table.get("format"), path / HEADER)
        config, facts = read_regular(path / CONFIG), read_regular(path / FACTS)
        for file, data, wanted in ((CONFIG, config, "config_sha256"), (FACTS, facts, "facts_sha256")):
            if sha256(data) != table.get(wanted):
                other = (
                    "; other settings are given to `wmloop resume` or `wmloop fork` by --set" if file == CONFIG else ""
                )
                raise StoreCorruptError(
                    f"{path / file} was changed after the run wrote it, so the run is refused: undo the change{other}"
                )
        text = config.decode(errors="replace")  # what no wmloop wrote is refused by what reads the settings
        return cls(path, text, parse_table(facts, path / FACTS), str(table.get("created", "")))

    def holder(self) -> str | None:
        """Return which process writes this run now, or None (see lock.holder)."""
        return holder(self.path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the only right to write this run; what a crashed writer left half-written is swept away.

        Raises:
            RunLockedError: another process writes it; the message names the process and its host.
            StorageError: the file system refuses.
        """
        with run_lock(self.path):
            atomic.remove_strays(self.path)
            self.evaluations.sweep()
            iterations = self.path / ITERATIONS
            if iterations.is_dir():
                for folder in map(self._folder, self.iterations()):
                    self._sweep(folder)
                # The last process may have ended between a rename and its fsync: what we build on must stay.
                for number in self.iterations()[-1:]:
                    atomic.sync_folder(self._folder(number))
                atomic.sync_folder(iterations)
            self._migrate()
            yield

    def version(self, iteration: int, stage: str) -> Version | None:
        """Return the committed version of (iteration, stage), or None if there is none or its files are not whole.

        Whole means: a manifest of this format and place, every file regular and of its size. Hashes are verified when a
        file is read, and by `verify`.
        """
        folder = self.path / ITERATIONS / version_name(iteration, stage)
        try:
            version = load_version(folder, iteration, stage)
            while True:
                try:
                    version.check()
                    return version
                except StoreCorruptError:
                    again = load_version(folder, iteration, stage)
                    if again.pruned.keys() == version.pruned.keys():
                        return None
                    version = again  # it was pruned between our two looks
        except StoreCorruptError:
            return None

    def versions(self) -> list[Version]:
        """Return every whole version, by iteration, and within one each after those it was made from."""
        found = [self.version(number, stage) for number in self.iterations() for stage in self._stages(number)]
        versions = {version.name: version for version in found if version}

        def depth(version: Version) -> int:
            # No clock, and no circle either: nobody can write a manifest that holds its own hash.
            near = [versions[name] for name, digest in version.parents.items() if _is(versions.get(name), digest)]
            return 1 + max((depth(parent) for parent in near if parent.iteration == version.iteration), default=0)

        return sorted(versions.values(), key=lambda version: (version.iteration, depth(version), version.name))

    def iterations(self) -> list[int]:
        """Return the numbers of the iterations that were begun, in order; a link is none, for it may leave the run."""
        paths = [
            self.path / ITERATIONS / name for name in list_folder(self.path / ITERATIONS) if is_iteration_name(name)
        ]
        with atomic.storage_errors("read", self.path / ITERATIONS):
            return sorted(int(path.name) for path in paths if path.is_dir() and not path.is_symlink())

    def worked(self, iteration: int, stage: str) -> float:
        """Return how many seconds interrupted attempts at (iteration, stage) have worked."""
        return worked((self.path / ITERATIONS / version_name(iteration, stage)).parent, stage)

    def draft(self, iteration: int, stage: str) -> Draft:
        """Return the private folder for the version of (iteration, stage), with all that an interrupted attempt saved.

        Raises:
            StoreCorruptError: the version exists already, or exists and is damaged (the message says how).
            StorageError: the file system refuses.
        """
        folder = self.path / ITERATIONS / version_name(iteration, stage)
        if folder.parent.is_symlink():
            raise StoreCorruptError(f"{folder.parent} is a link, which is not followed: put the folder itself there")
        if os.path.lexists(folder):
            try:
                load_version(folder, iteration, stage).check()
            except StoreCorruptError as error:
                told = remedy(
                    self.path, self.versions(), [version_name(iteration, stage)], self.facts.get("forked_from")
                )
                raise StoreCorruptError(f"{error}: {told}") from None
            raise StoreCorruptError(f"{folder} is committed already, and committed stage outputs never change")
        return Draft(self._folder(iteration), iteration, stage)

    def prune(self, version: Version, files: Iterable[str]) -> int:
        """Remove `files` of a version for good, to free their bytes, and return how many; its manifest stays.

        Their names are noted first, durably. So a version that was pruned is never taken for a damaged one, and the next
        `lock()` finishes what a crash cut short.

        Raises:
            StorageError: the file system refuses; what it did not remove yet goes with the next `lock()`.
        """
        files = [file for file in files if file in version.files]
        if files:
            note = version.path / PRUNED
            atomic.write_file(note, dump_json(sorted([*version.pruned, *files]), f"{version.name}/{PRUNED}"))
            for file in files:
                atomic.remove_file(version.path / file)
        return sum(version.files[file].size for file in files)

    def verify(self, tick: Callable[[int, int], None] = lambda done, total: None) -> list[Fault]:
        """Read every committed byte and return everything wrong: manifests, files, strangers, parents.

        A fork may have left parents in the run that it is of, as its facts then tell.
        `tick(done, total)` is called with the versions that were read.
        """
        faults: list[Fault] = []
        versions: dict[str, Version] = {}
        origin = self.facts.get("forked_from")
        left = origin.get("left", []) if isinstance(origin, Mapping) else []
        for number in self.iterations():
            for stage in self._stages(number):
                name = version_name(number, stage)
                try:
                    versions[name] = load_version(self._folder(number) / stage, number, stage)
                except StoreCorruptError as error:
                    faults.append(Fault(name, MANIFEST, str(error)))
        for number, (name, version) in enumerate(versions.items()):
            tick(number, len(versions))
            found = version.faults()
            if found and (again := self._pruned_since(version)):
                found = again.faults()
            faults += found
            for parent, digest in version.parents.items():
                if parent not in versions and parent not in left:
                    faults.append(Fault(name, MANIFEST, f"{parent}, which it was made from, is missing"))
                elif parent in versions and versions[parent].hash != digest:
                    faults.append(Fault(name, MANIFEST, f"{parent} is not the one that it was made from"))
        return faults

    def _pruned_since(self, version: Version) -> Version | None:
        """Return a version anew if a process has pruned files of it since it was read."""
        with contextlib.suppress(StoreCorruptError):
            again = load_version(version.path, version.iteration, version.stage)
            if again.pruned.keys() != version.pruned.keys():
                return again
        return None

    def foreign(self) -> list[str]:
        """Return, by version, the files and folders that are none of the run's and do no harm, such as `.DS_Store`."""
        return [f"{version.name}/{name}" for version in self.versions() for name in version.foreign()]

    def _migrate(self) -> None:
        """Bring a run of an older format up to this one, so that older programs refuse it by name from now on.

        From 1 to 2 only `pruned.json` came in: whatever is there can stay, and the number in run.toml says the rest.
        """
        path = self.path / HEADER
        text = read_regular(path).decode()
        number = tomllib.loads(text)["wmloop"]["format"]
        if number < FORMAT:
            atomic.write_file(path, re.sub(r"(?m)^format = [0-9]+$", f"format = {FORMAT}", text, count=1).encode())

    def _sweep(self, iteration_folder: Path) -> None:
        """Remove what interrupted writes, commits and prunings that were cut short left in an iteration."""
        atomic.remove_strays(iteration_folder)
        for draft in iteration_folder.glob(f"{DRAFT_PREFIX}*"):
            stage = draft.name.removeprefix(DRAFT_PREFIX)
            if is_stage_name(stage) and self.version(int(iteration_folder.name), stage):  # it was published as a copy
                with contextlib.suppress(StorageError):
                    atomic.remove_folder(draft)
        for stray in iteration_folder.glob(f"*/{atomic.TEMP_PREFIX}*"):
            if not stray.parent.is_symlink():
                atomic.remove_file(stray)
        for pruned in iteration_folder.glob(f"*/{PRUNED}"):
            with contextlib.suppress(
                StoreCorruptError, ValueError
            ):  # what is damaged or no version is not ours to touch
                version = load_version(pruned.parent, int(iteration_folder.name), pruned.parent.name)
                for file in version.pruned:
                    atomic.remove_file(version.path / file)

    def _folder(self, iteration: int) -> Path:
        return self.path / ITERATIONS / f"{iteration:04d}"

    def _stages(self, iteration: int) -> list[str]:
        return [name for name in list_folder(self._folder(iteration)) if is_stage_name(name)]


def _is(version: Version | None, digest: str) -> bool:
    return version is not None and version.hash == digest
