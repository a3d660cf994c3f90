"""Runs, versions and drafts: what is committed is whole, what is not is invisible, what is damaged is named."""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmloop.errors import DivergedError, DraftUnusableError, StorageError, StoreCorruptError, UsageError
from wmloop.store import FORMAT, Store, Version, atomic, latest_run, list_runs, new_run_name
from wmloop.store.disk import FileSystem

WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "step": np.array(7)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "runs", "one", "seed = 1\n", {"argv": ["wmloop", "start"], "git": {"dirty": True}})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def commit(
    store: Store, iteration: int = 0, stage: str = "vision", parents: tuple[Version, ...] = (), **metrics: float
) -> Version:
    draft = store.draft(iteration, stage)
    draft.save_tensors("model.safetensors", WEIGHTS)
    draft.save_json("config.json", {"latent": 32, "range": (0.5, np.float32(1.5))})
    draft.save_bytes("curve.png", b"\x89PNG")
    return draft.commit(parents, metrics, 1.5, {"steps": 10})


class Refusing(FileSystem):
    """A disk on which one kind of call fails every time."""

    def __init__(self, call: str, number: int) -> None:
        self.fired = 0

        def refuse(*_: Any) -> Any:
            self.fired += 1
            raise OSError(number, os.strerror(number))

        setattr(self, call, refuse)


# --- runs


def test_a_run_opens_as_it_was_created(store: Store) -> None:
    again = Store.open(store.path)
    assert (again.name, again.config_text, again.created) == ("one", "seed = 1\n", store.created)
    assert again.facts == {"argv": ["wmloop", "start"], "git": {"dirty": True}}
    assert not again.iterations()
    assert not again.versions()
    assert not again.verify()
    assert again.journal.events() == ([], 0)


def test_a_run_is_never_overwritten(store: Store) -> None:
    with pytest.raises(UsageError, match=r"`wmloop resume one --runs \S+`.* another name"):
        Store.create(store.path.parent, "one", "seed = 2\n", {})
    assert Store.open(store.path).config_text == "seed = 1\n"


def test_two_creators_of_one_name_get_one_run_and_one_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Racing(FileSystem):
        fired = False

        def rename_folder(self, old: Path, new: Path) -> None:
            self.fired = True
            monkeypatch.setattr(atomic, "disk", FileSystem())
            Store.create(tmp_path, "one", "first = 1\n", {})
            super().rename_folder(old, new)

    racing = Racing()
    monkeypatch.setattr(atomic, "disk", racing)
    with pytest.raises(UsageError, match=r"there is a run 'one' in .* already"):
        Store.create(tmp_path, "one", "second = 1\n", {})
    assert racing.fired
    assert Store.open(tmp_path / "one").config_text == "first = 1\n"
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".a", "-a", "a b", "a\n", "ä", "x" * 65, "a\\b"])
def test_a_name_that_is_no_plain_word_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        Store.create(tmp_path / "runs", name, "", {})
    assert names(tmp_path) == []


def test_new_names_are_valid_and_differ(tmp_path: Path) -> None:
    names = {new_run_name() for _ in range(20)}
    assert len(names) > 15
    Store.create(tmp_path, names.pop(), "", {})


def test_runs_are_listed_by_their_latest_activity(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []
    assert latest_run(tmp_path) is None
    stores = {name: Store.create(tmp_path, name, "", {}) for name in ("a", "b", "c")}
    (tmp_path / "notes").mkdir()
    (tmp_path / ".new-d-1234").mkdir()
    (tmp_path / ".new-d-1234" / "run.toml").write_text("half made")
    for age, name in enumerate(("c", "a", "b")):
        for path in (tmp_path / name / "run.toml", tmp_path / name):
            os.utime(path, (1000 - age, 1000 - age))
    assert list_runs(tmp_path) == ["c", "a", "b"]
    stores["a"].journal.append({"event": "now"})
    assert list_runs(tmp_path) == ["a", "c", "b"]
    os.utime(tmp_path / "a" / "events.jsonl", (1, 1))
    commit(stores["b"])
    assert list_runs(tmp_path) == ["b", "c", "a"]
    assert latest_run(tmp_path) == "b"


def test_a_missing_run_names_the_near_ones_or_all(store: Store) -> None:
    root = store.path.parent
    Store.create(root, "20261122-laptop", "", {})
    with pytest.raises(UsageError, match=r"no run '20261122-laptob'.*did you mean '20261122-laptop'"):
        Store.open(root / "20261122-laptob")
    with pytest.raises(UsageError, match="latest first: 20261122-laptop, one"):
        Store.open(root / "zzz")
    with pytest.raises(UsageError, match=r"no runs yet; `wmloop start --runs \S+` begins one.*play demo"):
        Store.open(root / "elsewhere" / "zzz")


def test_a_study_s_folder_is_no_run_and_one_of_its_runs_is_named(tmp_path: Path) -> None:
    Store.create(tmp_path / "compared", "a-1", "", {})
    (tmp_path / "compared" / "tasks" / "a-1").mkdir(parents=True)
    with pytest.raises(
        UsageError, match=r"compared is the folder of a study: name one of its runs, such as \S+compared\Wa-1"
    ):
        Store.open(tmp_path / "compared")


def test_a_foreign_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(StoreCorruptError, match="photos is not a run of wmloop"):
        Store.open(tmp_path / "photos")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("format = 2", "format = 3", r"run\.toml has store format 3, .* up to 2: upgrade wmloop"),
        ("format = 2", "format = '1'", "names no store format"),
        ("[wmloop]", "[other]", "names no store format"),
        ("format = 2", "format = ", r"run\.toml is damaged"),
    ],
)
def test_a_run_of_another_format_is_refused(store: Store, old: str, new: str, reason: str) -> None:
    header = store.path / "run.toml"
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))
    with pytest.raises(StoreCorruptError, match=reason):
        Store.open(store.path)


@pytest.mark.parametrize("file", ["config.toml", "facts.json"])
def test_settings_that_changed_after_the_run_began_are_refused(store: Store, file: str) -> None:
    path = store.path / file
    path.write_text(path.read_text().replace("t", "T").replace("seed", "sead"))
    with pytest.raises(StoreCorruptError, match=f"{file} was changed after the run wrote it"):
        Store.open(store.path)


def test_facts_that_are_no_table_are_refused_though_their_hash_is_right(store: Store) -> None:
    facts, header = store.path / "facts.json", store.path / "run.toml"
    before = hashlib.sha256(facts.read_bytes()).hexdigest()
    facts.write_text("[]")
    header.write_text(header.read_text().replace(before, hashlib.sha256(b"[]").hexdigest()))
    with pytest.raises(StoreCorruptError, match=r"facts\.json is damaged: it is no table"):
        Store.open(store.path)


# --- versions


def test_a_committed_version_gives_back_everything(store: Store) -> None:
    parent = commit(store, 0, "rollout")
    made = commit(store, 0, "vision", (parent,), loss=0.25, steps=3)
    found = Store.open(store.path).version(0, "vision")
    assert found == made
    assert (found.name, found.iteration, found.stage, found.seconds) == ("0000/vision", 0, "vision", 1.5)
    assert found.metrics == {"loss": 0.25, "steps": 3.0}
    assert found.parents == {"0000/rollout": parent.hash}
    assert found.manifest["facts"] == {"steps": 10}
    assert found.num_bytes == sum(path.stat().st_size for path in found.path.iterdir() if path.name != "manifest.json")
    tensors = found.tensors("model.safetensors")
    assert tensors["w"].tolist() == WEIGHTS["w"].tolist()
    assert found.json("config.json") == {"latent": 32, "range": [0.5, 1.5]}
    assert found.bytes("curve.png") == b"\x89PNG"
    assert store.verify() == []


def test_a_version_never_changes(store: Store) -> None:
    draft = store.draft(0, "vision")
    made = commit(store)
    with pytest.raises(StoreCorruptError, match="committed already, and committed stage outputs never change"):
        store.draft(0, "vision")
    atomic.make_folder(draft.path)
    with pytest.raises(StoreCorruptError, match="committed already, and committed stage outputs never change"):
        draft.commit([], {}, 0.0)
    assert store.version(0, "vision") == made


def test_versions_come_in_the_order_in_which_they_were_made_whatever_the_clock_said(store: Store) -> None:
    last = commit(store, 0, "zebra")
    for stage in ("middle", "alpha"):
        last = commit(store, 0, stage, (last,))
    later = commit(store, 10000, "rollout", (last,))
    commit(store, 2, "rollout", (last,))
    assert [version.name for version in store.versions()] == [
        "0000/zebra",
        "0000/middle",
        "0000/alpha",
        "0002/rollout",
        "10000/rollout",
    ]
    assert store.iterations() == [0, 2, 10000]
    assert later.name == "10000/rollout"


def test_a_reader_never_sees_a_draft(store: Store) -> None:
    draft = store.draft(0, "vision")
    draft.save_tensors("model.safetensors", WEIGHTS)
    draft.snapshot(5, WEIGHTS, {})
    assert store.version(0, "vision") is None
    assert not store.versions()
    assert not store.verify()
    with pytest.raises(ValueError, match="are not valid for a stage output"):
        store.version(0, ".draft-vision")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
def test_a_metric_that_is_not_finite_is_never_committed(store: Store, value: float) -> None:
    with pytest.raises(DivergedError, match=r"0000/vision: loss is -?(nan|inf)"):
        commit(store, loss=value)
    assert store.version(0, "vision") is None
    with pytest.raises(DivergedError, match=r"0000/vision/stats\.json would hold"):
        store.draft(0, "vision").save_json("stats.json", {"mean": value})
    with pytest.raises(DivergedError, match=r"manifest\.json would hold"):
        store.draft(0, "vision").commit([], {}, 0.0, {"mean": value})
    assert store.version(0, "vision") is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", "manifest.json", ".hidden", "snapshot-1", "x" * 101, "a\n"])
def test_a_file_name_that_could_leave_the_version_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        store.draft(0, "vision").save_bytes(name, b"")


def test_a_commit_refuses_a_link_in_the_place_of_a_file(store: Store) -> None:
    draft = store.draft(0, "vision")
    (draft.path / "link").symlink_to("/etc/passwd")
    with pytest.raises(DraftUnusableError, match="link is not a regular file"):
        draft.commit([], {}, 0.0)
    assert store.version(0, "vision") is None


# --- damage


def files_of(version: Version) -> list[Path]:
    return sorted(path for path in version.path.iterdir())


def detect(store: Store, version: Version, file: str) -> None:
    """Assert that `verify` names the file, and that reading it is refused by its name."""
    assert {fault.file for fault in store.verify() if fault.version == version.name} == {file}
    if file == "manifest.json":
        assert store.version(version.iteration, version.stage) is None
        return
    with pytest.raises(StoreCorruptError, match=file):
        version.bytes(file)
    if file.endswith(".safetensors"):
        with pytest.raises(StoreCorruptError, match=file):
            version.tensors(file)


def test_every_flipped_bit_is_detected(store: Store) -> None:
    version = commit(store, loss=0.5)
    dice, flips = random.Random(0), 0
    for path in files_of(version):
        data = path.read_bytes()
        for place in dice.sample(range(len(data) * 8), min(64, len(data) * 8)):
            bad = bytearray(data)
            bad[place // 8] ^= 1 << place % 8
            path.write_bytes(bad)
            detect(store, version, path.name)
            flips += 1
        path.write_bytes(data)
    assert flips >= 3 * 64
    assert store.verify() == []


def test_every_truncation_and_growth_is_detected_without_reading_the_file(store: Store) -> None:
    version = commit(store, loss=0.5)
    for path in files_of(version):
        data = path.read_bytes()
        for length in {0, 1, 7, 8, len(data) // 2, len(data) - 1, len(data) + 1} - {len(data)}:
            path.write_bytes((data + b" ")[:length])
            detect(store, version, path.name)
            assert store.version(0, "vision") is None
        path.unlink()
        detect(store, version, path.name)
        assert store.version(0, "vision") is None
        path.write_bytes(data)
    assert store.version(0, "vision") == version


def test_a_zeroed_page_is_detected(store: Store) -> None:
    draft = store.draft(0, "vision")
    draft.save_tensors("model.safetensors", {"w": np.ones(5000)})
    version = draft.commit([], {}, 0.0)
    path = version.path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)
    assert store.version(0, "vision") == version  # its size is right: only the hash can tell
    detect(store, version, "model.safetensors")


def test_links_and_strangers_in_a_version_are_faults(store: Store) -> None:
    version = commit(store)
    (version.path / "stray.txt").write_text("?")
    assert [(fault.file, fault.problem) for fault in store.verify()] == [("stray.txt", "is not named by the manifest")]
    (version.path / "stray.txt").unlink()
    copy = store.path / "copy"
    (version.path / "curve.png").rename(copy)
    (version.path / "curve.png").symlink_to(copy)
    assert store.version(0, "vision") is None
    detect(store, version, "curve.png")


def test_a_linked_version_is_no_version(store: Store) -> None:
    version = commit(store)
    version.path.rename(store.path / "elsewhere")
    version.path.symlink_to(store.path / "elsewhere")
    assert store.version(0, "vision") is None
    assert "is not a folder" in store.verify()[0].problem


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 3}, "has store format 3"),
        ({"format": None}, "names no store format"),
        ({"stage": "memory"}, "belongs to 0/memory"),
        ({"iteration": 4}, "belongs to 4/vision"),
        ({"files": {"../../config.toml": {"size": 9, "sha256": "0" * 64}}}, "is no file name"),
        ({"files": {"/etc/passwd": {"size": 9, "sha256": "0" * 64}}}, "is no file name"),
        ({"files": {"a": {"size": -1, "sha256": "0" * 64}}}, "has no size"),
        ({"files": {"a": {"size": 1, "sha256": "x"}}}, "is not a SHA-256"),
        ({"files": []}, "not a whole manifest"),
        ({"seconds": 10**400}, "not a whole manifest"),
        ({"parents": {"../0000": "0" * 64}}, "is not the name of a stage output"),
        ({"metrics": {"loss": "low"}}, "no finite number"),
        ({"seconds": True}, "no finite number"),
    ],
)
def test_a_forged_manifest_is_refused(store: Store, change: dict[str, Any], reason: str) -> None:
    from wmloop.store.version import seal

    version = commit(store)
    manifest = {key: value for key, value in version.manifest.items() if key != "checksum"} | change
    (version.path / "manifest.json").write_bytes(seal(manifest, "forged"))
    assert store.version(0, "vision") is None
    (fault,) = store.verify()
    assert fault.file == "manifest.json"
    assert reason in fault.problem


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "../..", "/etc/passwd", "model.safetensors", "0000/rollout", "0" * 64, "a" * 5000]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["size", "sha256", "../x", "config.json", "loss", "0000/vision"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def hostile_manifest(data: st.DataObject, manifest: dict[str, Any]) -> bytes:
    """Return bytes that a stranger may have put in the place of a manifest, most of them with a checksum that fits."""
    from wmloop.store.version import seal

    forged = {key: value for key, value in manifest.items() if key != "checksum"}
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from([*forged, "files", "files", "parents", "extra"]))
        if key == "files" and data.draw(st.booleans()):
            name = data.draw(
                st.sampled_from(["model.safetensors", "../model.safetensors", "manifest.json", "pruned.json"])
            )
            forged["files"] = {**manifest["files"], name: data.draw(ANYTHING)}
        else:
            forged[key] = data.draw(ANYTHING)
    sealed = bytearray(seal(forged, "forged"))
    if data.draw(st.booleans()) and data.draw(st.booleans()):
        sealed[data.draw(st.integers(0, len(sealed) - 1))] = data.draw(st.integers(0, 255))
    return bytes(sealed)


def everything_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_all_of(version: Version) -> None:
    for file in [*version.files, "manifest.json", "../../../config.toml"]:
        for read in (version.bytes, version.json, version.tensors):
            with contextlib.suppress(StoreCorruptError, UsageError):
                read(file)


@pytest.mark.parametrize(
    "count", [pytest.param(150, id="150"), pytest.param(5000, id="5000", marks=pytest.mark.faults)]
)
def test_no_manifest_makes_a_reader_do_anything_but_read_or_refuse(
    tmp_path_factory: pytest.TempPathFactory, count: int, figure: Any
) -> None:
    root = tmp_path_factory.mktemp("hostile")
    store = Store.create(root, "one", "seed = 1\n", {})
    true = commit(store)
    whole = true.manifest
    before, refused = everything_below(root), 0

    @settings(max_examples=count, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        nonlocal refused
        place = true.path / "manifest.json"
        place.write_bytes(hostile_manifest(data, whole))
        version = store.version(0, "vision")
        refused += version is None
        store.verify()
        store.versions()
        if version is not None:
            read_all_of(version)
        place.write_bytes(before[place])
        assert everything_below(root) == before

    check()
    assert refused > count // 4
    figure("hostile manifests", f"{count} cases, {refused} refused, the others read as they say; nothing else touched")


def test_a_table_that_has_a_name_twice_is_refused(tmp_path: Path) -> None:
    from wmloop.store.jsontext import parse_json

    with pytest.raises(StoreCorruptError, match="twice"):
        parse_json(b'{"files": {"a": 1, "a": 2}}', tmp_path / "x.json")


def test_a_parent_that_is_gone_or_another_is_a_fault(store: Store) -> None:
    parent = commit(store, 0, "rollout")
    child = commit(store, 0, "vision", (parent,))
    parent.path.rename(store.path / "gone")
    assert [fault.problem for fault in store.verify()] == ["0000/rollout, which it was made from, is missing"]
    commit(store, 0, "rollout", other=1.0)
    assert [(fault.version, fault.problem) for fault in store.verify()] == [
        (child.name, "0000/rollout is not the one that it was made from")
    ]


def test_an_iteration_that_is_a_link_is_named(store: Store, tmp_path: Path) -> None:
    commit(store)
    folder = store.path / "iterations" / "0000"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreCorruptError, match="0000 is a link, which is not followed"):
        store.draft(0, "vision")


def test_a_damaged_version_is_not_silently_made_anew(store: Store) -> None:
    version = commit(store)
    (version.path / "curve.png").write_bytes(b"")
    assert store.version(0, "vision") is None
    with pytest.raises(
        StoreCorruptError,
        match=r"curve\.png has 0 bytes, not 4.*move 0000/vision elsewhere, .*`wmloop resume one --runs \S+`",
    ):
        store.draft(0, "vision")


# --- drafts


def test_an_interrupted_stage_finds_its_files_and_its_newest_snapshot(store: Store) -> None:
    draft = store.draft(1, "memory")
    draft.save_tensors("shard.safetensors", WEIGHTS)
    draft.save_json("seen.json", [1, 2])
    for done in (10, 20, 30):
        draft.snapshot(done, {"w": WEIGHTS["w"] * done}, {"best": done / 10, "order": list(range(done))})
    again = store.draft(1, "memory")
    assert again.files() == ["seen.json", "shard.safetensors"]
    assert again.has("seen.json")
    assert not again.has("other.json")
    assert again.json("seen.json") == [1, 2]
    assert again.tensors("shard.safetensors")["w"].tolist() == WEIGHTS["w"].tolist()
    snapshot = again.latest_snapshot()
    assert snapshot is not None
    assert (snapshot[0], snapshot[2]) == (30, {"best": 3.0, "order": list(range(30))})
    assert snapshot[1]["w"].tolist() == (WEIGHTS["w"] * 30).tolist()
    assert len([name for name in names(draft.path) if name.startswith("snapshot-")]) == 2
    version = again.commit([], {}, 0.0)
    assert names(version.path) == ["manifest.json", "seen.json", "shard.safetensors"]


def test_a_damaged_newest_snapshot_falls_back_to_the_one_before(store: Store) -> None:
    draft = store.draft(0, "memory")
    draft.snapshot(1, WEIGHTS, {"at": "one"})
    draft.snapshot(2, WEIGHTS, {"at": "two"})
    path = draft.path / "snapshot-000000000002.safetensors"
    data, dice = path.read_bytes(), random.Random(1)
    detected = 0
    for place in dice.sample(range(len(data) * 8), 200):
        bad = bytearray(data)
        bad[place // 8] ^= 1 << place % 8
        path.write_bytes(bad)
        snapshot = draft.latest_snapshot()
        assert snapshot is not None
        # A flip in the header's padding or spelling may change nothing that the snapshot says.
        if snapshot[2] == {"at": "one"}:
            detected += 1
        else:
            assert snapshot[2] == {"at": "two"}
            assert all(np.array_equal(snapshot[1][name], WEIGHTS[name]) for name in WEIGHTS)
    assert detected > 190
    path.write_bytes(data[:-1])
    assert draft.latest_snapshot()[0] == 1  # type: ignore[index]
    (draft.path / "snapshot-000000000001.safetensors").write_bytes(b"")
    assert draft.latest_snapshot() is None


def test_going_back_to_an_older_state_forgets_the_newer_snapshots(store: Store) -> None:
    draft = store.draft(0, "memory")
    for done in (10, 20, 15):
        draft.snapshot(done, WEIGHTS, {})
    assert draft.latest_snapshot()[0] == 15  # type: ignore[index]
    kept = ["snapshot-000000000010.safetensors", "snapshot-000000000015.safetensors"]
    assert [name for name in names(draft.path) if name.startswith("snapshot-")] == kept


def test_a_refusal_to_read_is_not_taken_for_a_missing_snapshot_or_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = store.draft(0, "memory")
    draft.snapshot(1, WEIGHTS, {})
    commit(store, 0, "vision")

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("wmloop.store.files.os.open", refuse)
    with pytest.raises(
        StorageError, match=r"too many open files; raise the limit \(`ulimit -n`\), then `wmloop resume one --runs \S+`"
    ):
        draft.latest_snapshot()
    with pytest.raises(StorageError, match="too many open files"):
        store.version(0, "vision")


# --- refusals of the disk


@pytest.mark.parametrize(
    ("call", "number", "reason"),
    [
        ("write", errno.ENOSPC, r"no space left, 1,000 bytes needed; free space, then `wmloop resume one --runs \S+`"),
        ("write", errno.EDQUOT, r"no space left, 1,000 bytes needed"),
        ("create", errno.EROFS, "read-only"),
        ("create", errno.EACCES, "read-only"),
        ("create", errno.EMFILE, "too many open files"),
        ("fsync", errno.EIO, "input/output error"),
        ("replace", errno.ENOENT, "No such file"),
    ],
)
def test_a_refusing_disk_is_explained_in_one_line_and_leaves_no_trace(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, number: int, reason: str
) -> None:
    draft = store.draft(0, "vision")
    draft.save_bytes("data.bin", b"old")
    refusing = Refusing(call, number)
    monkeypatch.setattr(atomic, "disk", refusing)
    with pytest.raises(StorageError, match=rf"cannot write .*data\.bin: .*{reason}") as caught:
        draft.save_bytes("data.bin", bytes(1000))
    assert refusing.fired
    assert "\n" not in str(caught.value)
    assert names(draft.path) == ["data.bin", "work.json"]
    assert (draft.path / "data.bin").read_bytes() == b"old"


def test_a_run_that_cannot_be_created_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in ("make_folder", "create", "write", "fsync", "replace", "rename_folder"):
        refusing = Refusing(call, errno.EROFS)
        monkeypatch.setattr(atomic, "disk", refusing)
        with pytest.raises(StorageError, match="read-only"):
            Store.create(tmp_path, "one", "", {})
        assert refusing.fired
        assert names(tmp_path) == []
        assert list_runs(tmp_path) == []


def test_work_that_cannot_fit_is_refused_before_it_starts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = store.draft(0, "vision")
    draft.require_space(1)
    monkeypatch.setattr(FileSystem, "free_bytes", lambda *_: 999)
    draft.require_space(999)
    with pytest.raises(StorageError, match=r"needs 1,000 bytes and 999 are free; free space, then `wmloop resume"):
        draft.require_space(1000)
    draft.save_bytes("shard.bin", b"x" * 400)  # of the same work, and there already
    draft.require_space(1399)
    with pytest.raises(StorageError, match=r"needs 1,\d{3} bytes and 999 are free"):
        draft.require_space(1999)


def test_files_get_the_mode_of_the_umask(store: Store) -> None:
    old = os.umask(0o027)
    try:
        version = commit(store)
    finally:
        os.umask(old)
    assert {oct(path.stat().st_mode & 0o777) for path in version.path.iterdir()} == {"0o640"}


# --- events


def test_events_come_back_in_order_and_torn_lines_are_skipped(store: Store) -> None:
    store.journal.append({"event": "a", "loss": np.float32(0.5)})
    log = store.path / "events.jsonl"
    with log.open("ab") as file:
        file.write(b'{"event": "torn", "loss": 0.')
    assert [record["event"] for record in store.journal.events()[0]] == ["a"]
    store.journal.append({"event": "b", "loss": float("nan")})
    with log.open("ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"event": "half a charac\xc3')
    store.journal.append({"event": "c"})
    assert [record["event"] for record in store.journal.events()[0]] == ["a", "b", "c"]
    assert log.read_bytes().endswith(b"\n")


def test_a_full_disk_stops_the_log_with_the_reason(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = Refusing("write", errno.ENOSPC)
    monkeypatch.setattr(atomic, "disk", refusing)
    with pytest.raises(StorageError, match=r"cannot append to .*events\.jsonl: no space left, 15 bytes needed"):
        store.journal.append({"event": "a"})
    assert refusing.fired


# --- the package


def test_importing_the_store_brings_no_heavy_library() -> None:
    heavy = {"torch", "rich", "typer", "gymnasium", "pydantic"}
    code = f"import sys, wmloop.store; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == ""


def test_only_the_disk_renames_syncs_and_removes_and_only_atomic_asks_it_to() -> None:
    calls = {"rename", "renames", "fsync", "fdatasync", "unlink", "link_to", "hardlink_to"}
    found, asking = set(), set()
    for path in Path(atomic.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                file_replace = node.attr == "replace" and node.value.id in ("os", "old", "temp", "path", "draft")
                if node.attr in calls or file_replace:
                    (asking if node.value.id == "disk" else found).add(path.name)
    assert (found, asking) == ({"disk.py"}, {"atomic.py"})


def test_the_time_of_what_was_saved_counts_also_where_the_attempt_was_killed(tmp_path):
    store = Store.create(tmp_path, "run", "", {})
    with store.lock():
        draft = store.draft(0, "rollout")
        time.sleep(0.02)
        draft.save_json("summary-0000.json", {})  # and then it is gone, and has noted nothing
        assert 0.02 <= store.worked(0, "rollout") <= store.draft(0, "rollout").seconds


def test_manifests_are_plain_json(store: Store) -> None:
    manifest = json.loads((commit(store, loss=1.0).path / "manifest.json").read_text())
    assert manifest["format"] == FORMAT
    assert manifest["files"].keys() == {"config.json", "curve.png", "model.safetensors"}


def test_the_time_of_interrupted_attempts_counts_in_the_version_that_comes_of_them(tmp_path):
    store = Store.create(tmp_path, "run", "", {})
    with store.lock():
        for attempt in range(3):
            draft = store.draft(0, "memory")
            assert draft.seconds >= 0.02 * attempt
            assert store.worked(0, "memory") >= 0.02 * attempt
            time.sleep(0.02)
            if attempt == 1:
                draft.snapshot(3, {"a": np.zeros(2)}, {})
            else:
                draft.note_work()
        version = store.draft(0, "memory").commit([], {}, draft.seconds)
        assert version.seconds >= 0.06
        assert not (version.path / "work.json").exists()
        store.draft(0, "controller").note_work()
        for damaged in ("{", "[]", '{"seconds": 1e999}', '{"seconds": "long"}', ""):
            (tmp_path / "run" / "iterations" / "0000" / ".draft-controller" / "work.json").write_text(damaged)
            assert store.worked(0, "controller") == 0 == store.worked(7, "controller")
        assert store.draft(0, "controller").seconds < 1
