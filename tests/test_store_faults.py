"""Crashes and refusals at every step of a commit: afterwards the old or the new is there, never another thing."""

from __future__ import annotations

import errno
import itertools
import os
import random
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmloop.errors import DraftUnusableError, StorageError, StoreCorruptError
from wmloop.store import Store, UnknownOutcomeError, Version, atomic
from wmloop.store.disk import FileSystem

CALLS = ("create", "write", "fsync", "close", "fsync_folder", "replace", "rename_folder", "make_folder", "remove")


def weights(seed: int) -> dict[str, np.ndarray]:
    return {"w": np.random.default_rng(seed).normal(size=(4, 8)).astype(np.float32), "n": np.array(seed)}


def write_version(store: Store, iteration: int, said: Callable[[str], None] = lambda _: None) -> Version:
    """Do what a stage does: go on from the draft, save, snapshot twice, commit."""
    parents = [version for version in [store.version(iteration - 1, "memory")] if version] if iteration else []
    draft = store.draft(iteration, "memory")
    if not draft.has("shard.bin"):
        draft.save_bytes("shard.bin", b"%d" % iteration * 100)
        said("shard")
    snapshot = draft.latest_snapshot()
    for done in range(snapshot[0] + 1 if snapshot else 1, 4):
        draft.snapshot(done, weights(iteration), {"done": done})
        said(f"snapshot {done}")
    draft.save_tensors("model.safetensors", weights(iteration))
    said("model")
    version = draft.commit(parents, {"loss": 0.5}, 1.0)
    said("commit")
    return version


def assert_whole(version: Version) -> None:
    assert version.bytes("shard.bin") == b"%d" % version.iteration * 100
    tensors = version.tensors("model.safetensors")
    expected = weights(version.iteration)
    assert tensors.keys() == expected.keys()
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)
    assert set(version.files) == {"shard.bin", "model.safetensors"}


class KilledError(BaseException):
    """End the work as kill -9 would: nothing that follows reaches the disk."""


class FaultyDisk(FileSystem):
    """A disk whose call number `at` fails with `fault`; a killed process makes no more calls.

    It counts fsyncs and skips them: a fault is not a power cut, and they are slow.
    """

    def __init__(self, at: int, fault: int | type[KilledError]) -> None:
        self.calls: list[str] = []
        self.at = at
        self.fault = fault
        self.fired = ""

    def __getattribute__(self, name: str) -> Any:
        call = super().__getattribute__(name)
        return self._guarded(name, call) if name in CALLS else call

    def fsync(self, fd: int) -> None:
        pass

    def fsync_folder(self, path: Path) -> None:
        pass

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any) -> Any:
            if self.fired and self.fault is KilledError:
                raise KilledError
            self.calls.append(name)
            if len(self.calls) - 1 != self.at:
                return call(*args)
            self.fired = name
            if name == "close":
                call(*args)
            if name == "write":  # the disk fills up in the middle
                call(args[0], args[1][: len(args[1]) // 2])
            if self.fault is KilledError:
                raise KilledError
            assert isinstance(self.fault, int)
            raise OSError(self.fault, os.strerror(self.fault))

        return guarded


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path, "one", "", {})
    write_version(store, 0)
    return store


def count_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    counting = FaultyDisk(-1, KilledError)
    with monkeypatch.context() as patch:
        scratch = Store.create(folder / "scratch", "one", "", {})
        write_version(scratch, 0)
        patch.setattr(atomic, "disk", counting)
        write_version(scratch, 1)
    assert {"create", "write", "fsync", "replace", "rename_folder", "fsync_folder", "remove"} <= set(counting.calls)
    return len(counting.calls)


@pytest.mark.parametrize("fault", [KilledError, errno.EIO, errno.ENOSPC], ids=["kill", "EIO", "ENOSPC"])
def test_a_fault_at_any_call_of_a_commit_leaves_the_old_or_the_new_and_the_next_try_succeeds(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int | type[KilledError]
) -> None:
    total = count_calls(tmp_path, monkeypatch)
    outcomes = []
    for at in range(total):
        faulty = FaultyDisk(at, fault)
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "disk", faulty)
            with pytest.raises(KilledError if fault is KilledError else StorageError) as caught:
                write_version(store, 1)
        assert faulty.fired
        if fault is not KilledError:
            # The one ambiguous moment has its own error: the name is there, the disk's word is not.
            renamed = faulty.fired == "fsync_folder" and faulty.calls[-2] in ("replace", "rename_folder")
            assert isinstance(caught.value, UnknownOutcomeError) == renamed
            if renamed:
                assert "may or may not survive a power cut" in str(caught.value)
        assert store.verify() == []
        found = store.version(1, "memory")
        outcomes.append(found is not None)
        if found is None:
            with monkeypatch.context() as patch:
                patch.setattr(atomic, "disk", FaultyDisk(-1, KilledError))
                with store.lock():  # sweeps, as the next process would
                    found = write_version(store, 1)
        assert_whole(found)
        assert store.version(0, "memory") is not None
        assert store.verify() == []
        shutil.rmtree(store.path / "iterations" / "0001")
    # Only the last call, the fsync after the rename, can fail with the version in place.
    assert outcomes == [False] * (total - 1) + [True]


def test_an_unconfirmed_rename_is_never_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultyDisk(count_calls(tmp_path, monkeypatch) - 1, errno.EIO)
    monkeypatch.setattr(atomic, "disk", faulty)
    with pytest.raises(UnknownOutcomeError, match=r"`wmloop resume one --runs \S+`, which verifies what is there"):
        write_version(store, 1)
    assert faulty.fired == "fsync_folder"
    assert faulty.calls.count("rename_folder") == 1
    assert len(faulty.calls) == faulty.at + 1
    with pytest.raises(StoreCorruptError, match="committed already"):
        write_version(store, 1)


def test_a_full_disk_costs_no_snapshot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullForManifests(FileSystem):
        fired = False

        def create(self, path: Path) -> int:
            if "manifest.json" in path.name:
                self.fired = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().create(path)

    full = FullForManifests()
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "disk", full)
        with pytest.raises(StorageError, match=r"manifest\.json: no space left"):
            write_version(store, 1)
    assert full.fired
    snapshot = store.draft(1, "memory").latest_snapshot()
    assert snapshot is not None
    assert snapshot[0] == 3


# --- power cuts: every state in which a disk may come back, by what was fsynced (ALICE, OSDI 2014)


@dataclass
class Inode:
    """A file's bytes or a folder's names, of which the disk holds for sure only what was synced."""

    data: bytes = b""
    synced: int = 0
    names: dict[str, Inode] = field(default_factory=dict)
    durable: dict[str, Inode] = field(default_factory=dict)
    pending: list[dict[str, Inode | None]] = field(default_factory=list)
    folder: bool = False


class RecordingDisk(FileSystem):
    """A disk that notes its calls, with paths from the run's folder, and the moments at which work was acknowledged."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[tuple[str, tuple[str, ...], Any]] = []
        self.files: dict[int, Path] = {}

    def note(self, call: str, path: Path, rest: Any = None) -> None:
        self.log.append((call, path.relative_to(self.root).parts, rest))

    def acknowledge(self, what: str) -> None:
        self.log.append(("acknowledge", (), what))

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self.files[fd] = path
        self.note("create", path)
        return fd

    def write(self, fd: int, data: memoryview) -> int:
        self.note("write", self.files[fd], bytes(data))
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        self.note("fsync", self.files[fd])

    def fsync_folder(self, path: Path) -> None:
        self.note("fsync_folder", path)

    def replace(self, old: Path, new: Path) -> None:
        super().replace(old, new)
        self.note("rename", old, new.name)

    def rename_folder(self, old: Path, new: Path) -> None:
        super().rename_folder(old, new)
        self.note("rename", old, new.name)

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.note("make_folder", path)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.note("remove", path)


Tree = frozenset[tuple[tuple[str, ...], bytes | None]]


def load_tree(root: Path) -> Inode:
    """Return a folder as inodes that are wholly on the disk."""
    if root.is_file():
        data = root.read_bytes()
        return Inode(data=data, synced=len(data))
    names = {path.name: load_tree(path) for path in root.iterdir()}
    return Inode(names=names, durable=dict(names), folder=True)


def replay(root: Inode, log: list[tuple[str, tuple[str, ...], Any]]) -> None:
    """Apply the noted calls to the inodes as the kernel would to its cache."""
    for call, parts, rest in log:
        node, parent = root, root
        for part in parts:
            parent, node = node, node.names.get(part, root)
        change: dict[str, Inode | None] = {}
        match call:
            case "create":
                change = {parts[-1]: Inode()}
            case "make_folder":
                change = {parts[-1]: Inode(folder=True)}
            case "rename":
                change = {parts[-1]: None, rest: node}
            case "remove":
                change = {parts[-1]: None}
            case "write":
                node.data += rest
            case "fsync":
                node.synced = len(node.data)
            case "fsync_folder":
                for done in node.pending:
                    apply(node.durable, done)
                node.pending.clear()
        if change:
            apply(parent.names, change)
            parent.pending.append(change)


def apply(names: dict[str, Inode], change: dict[str, Inode | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def inodes(root: Inode) -> Iterator[Inode]:
    seen = [root]
    for node in seen:  # grows while we walk it
        near = [*node.names.values(), *node.durable.values()]
        near += [target for change in node.pending for target in change.values() if target]
        seen += {id(other): other for other in near if not any(other is old for old in seen)}.values()
    yield from seen


def crash_states(root: Inode) -> Iterator[Tree]:
    """Yield each tree a power cut may leave: any subset of unsynced renames, and unsynced bytes gone, half or there."""
    loose = [(node, number) for node in inodes(root) for number in range(len(node.pending))]
    assert len(loose) <= 12, "too many unsynced names to try all subsets"
    for chosen in itertools.product((False, True), repeat=len(loose)):
        kept = {(id(node), number) for (node, number), keep in zip(loose, chosen, strict=True) if keep}
        for share in (0.0, 0.5, 1.0):
            yield frozenset(survivors(root, (), kept, share))


def survivors(
    node: Inode, path: tuple[str, ...], kept: set[tuple[int, int]], share: float
) -> Iterator[tuple[tuple[str, ...], bytes | None]]:
    if not node.folder:
        yield path, node.data[: node.synced + int(share * (len(node.data) - node.synced))]
        return
    yield path, None
    names = dict(node.durable)
    for number, change in enumerate(node.pending):
        if (id(node), number) in kept:
            apply(names, change)
    for name, child in names.items():
        yield from survivors(child, (*path, name), kept, share)


def broken_promise(tree: Tree, acknowledged: list[str], scratch: Path) -> str:
    """Put a tree on the real disk, open it, and return which promise it breaks, or nothing."""
    shutil.rmtree(scratch, ignore_errors=True)
    for path, data in sorted(tree, key=lambda item: item[0]):
        target = scratch.joinpath(*path)
        if data is None:
            target.mkdir()
        else:
            target.write_bytes(data)
    store = Store.open(scratch)
    if faults := store.verify():
        return f"half a version: {faults}"
    if store.version(0, "memory") is None:
        return "the old version is gone"
    found = store.version(1, "memory")
    if "commit" in acknowledged and found is None:
        return "the new version is gone although its commit returned"
    if found is not None:
        assert_whole(found)
        return ""
    draft = store.draft(1, "memory")
    saved = {"shard": "shard.bin", "model": "model.safetensors"}
    try:
        if any(not draft.has(file) for what, file in saved.items() if what in acknowledged):
            return "a file is gone although its save returned"
    except DraftUnusableError:
        return "a file is not whole although its save returned"
    snapshots = [int(what.split()[1]) for what in acknowledged if what.startswith("snapshot")]
    snapshot = draft.latest_snapshot()
    # The snapshots may go once the commit's rename is the only thing missing.
    if snapshots and not manifest_was_there(tree) and (snapshot is None or snapshot[0] < max(snapshots)):
        return "a snapshot is gone although it was saved"
    return "" if has_whole_shard(draft.path) else "a file under its final name is not whole"


def manifest_was_there(tree: Tree) -> bool:
    return any(path[-2:] == (".draft-memory", "manifest.json") for path, _ in tree)


def has_whole_shard(folder: Path) -> bool:
    shard = folder / "shard.bin"
    return not shard.exists() or shard.read_bytes() == b"1" * 100


def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RecordingDisk, Path]:
    """Return the calls of one commit, and a copy of the run as it was before."""
    store = Store.create(tmp_path, "one", "", {})
    write_version(store, 0)
    before = tmp_path / "before"
    shutil.copytree(store.path, before)
    recording = RecordingDisk(store.path)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "disk", recording)
        write_version(store, 1, recording.acknowledge)
    return recording, before


def first_broken_promise(
    log: list[tuple[str, tuple[str, ...], Any]], before: Path, scratch: Path, known: dict[Any, str]
) -> str:
    for length in range(len(log) + 1):
        root = load_tree(before)
        replay(root, log[:length])
        acknowledged = [rest for call, _, rest in log[:length] if call == "acknowledge"]
        for tree in crash_states(root):
            key = (tree, tuple(acknowledged))
            if key not in known:
                known[key] = broken_promise(tree, acknowledged, scratch)
            if known[key]:
                return f"after {length} calls: {known[key]}"
    return ""


def test_a_power_cut_at_any_call_breaks_no_promise_and_every_fsync_is_needed_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, before = record(tmp_path, monkeypatch)
    log, scratch = recording.log, tmp_path / "scratch"
    known: dict[Any, str] = {}
    assert first_broken_promise(log, before, scratch, known) == ""
    assert len(known) > 30  # states, so that the promise was put to the test
    # A store without any one of its fsyncs must be caught, or this test could not see the fault it is for.
    syncs = [number for number, (call, _, _) in enumerate(log) if call.startswith("fsync")]
    assert len(syncs) > 10
    missed = [
        log[number][:2]
        for number in syncs
        if not first_broken_promise(log[:number] + log[number + 1 :], before, scratch, known)
    ]
    assert missed == []


def test_a_manifest_written_first_would_be_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, before = record(tmp_path, monkeypatch)
    log = recording.log
    publish = next(n for n, (call, parts, _) in enumerate(log) if call == "rename" and parts[-1] == ".draft-memory")
    last_data = max(n for n, (call, parts, _) in enumerate(log) if call == "create" and "model" in parts[-1])
    too_early = [*log[:last_data], log[publish], *log[last_data:publish], *log[publish + 1 :]]
    assert "half a version" in first_broken_promise(too_early, before, tmp_path / "scratch", {})


# --- kill -9 of a real process


def write_for_ever(store: Store, pipe: int) -> None:
    """Commit one version after another, telling each; runs in a process that will be killed."""
    with store.lock():
        for iteration in itertools.count(len(store.versions())):
            write_version(store, iteration)
            os.write(pipe, b"%d\n" % iteration)


def start_writer(store: Store) -> tuple[int, int]:
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            write_for_ever(store, write)
        finally:
            os._exit(1)
    os.close(write)
    return process, read


def kill_writers(store: Store, kills: int, dice: random.Random) -> int:
    """Kill the writer so often and return how many kills came in the middle of a version."""
    committed, in_the_middle = 1, 0
    for kill in range(10 * kills):
        if kill >= kills and in_the_middle > kills // 4:  # on a busy machine some come before the writer has begun
            break
        process, pipe = start_writer(store)
        select.select([pipe], [], [], 60)  # it has begun
        time.sleep(dice.uniform(0.0, 0.08))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself before it was killed"
        with os.fdopen(pipe) as told:
            lines = told.read().split()
        committed = max([committed, *(int(line) + 1 for line in lines)])
        iterations = store.iterations()
        drafts = list(store.path.glob("iterations/*/.draft-memory"))
        in_the_middle += bool(drafts)
        for iteration in iterations[-3:]:
            found = store.version(iteration, "memory")
            assert (found is None) == (iteration >= committed) or iteration == committed
            if found is not None:
                assert_whole(found)
                assert found.faults() == []
                committed = max(committed, iteration + 1)
    assert in_the_middle > kills // 4, "too few kills came in the middle of a commit"
    versions = store.versions()
    assert [version.iteration for version in versions] == list(range(committed))
    assert store.verify() == []
    with store.lock():
        assert_whole(write_version(store, committed))
    return in_the_middle


@pytest.mark.parametrize("kills", [10, pytest.param(1000, marks=pytest.mark.faults)])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_kills_at_random_moments_lose_no_committed_version_and_show_no_half_one(
    store: Store, kills: int, figure: Callable[[str, str], None]
) -> None:
    in_the_middle = kill_writers(store, kills, random.Random(kills))
    figure(
        "kill -9 of the store's writer", f"{kills} kills, {in_the_middle} inside a version; 0 lost, 0 half ones seen"
    )


@pytest.mark.parametrize("reads", [50, pytest.param(1000, marks=pytest.mark.faults)])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_reader_beside_the_writer_never_sees_a_torn_version(
    store: Store, reads: int, figure: Callable[[str, str], None]
) -> None:
    process, pipe = start_writer(store)
    try:
        seen, done = set(), 0
        while done < reads or len(seen) <= 3:
            newest = store.iterations()[-2:]
            for version in filter(None, (store.version(iteration, "memory") for iteration in newest)):
                assert_whole(version)
                seen.add(version.iteration)
                done += 1
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(pipe)
    figure("readers during commits", f"{done} reads while {len(seen)} versions were committed, 0 torn")
