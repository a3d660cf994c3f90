"""What a run may lose: never a figure, never the best agent, never what its next iteration reads."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_loop import configure, hashes, perform
from tests.test_store_faults import FaultyDisk, KilledError
from wmloop import ranking
from wmloop.errors import StorageError, UsageError
from wmloop.history import History
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.retention import Retention, prune, required_by_next
from wmloop.serving.agent import Served
from wmloop.serving.choice import choose
from wmloop.store import Store, Version, atomic

FILES = {
    "rollout": ("actions.json", "episodes-0000.safetensors", "summary-0000.json"),
    "vision": ("foretaste.safetensors", "latents-0000.safetensors", "model.safetensors"),
    "memory": ("model.safetensors",),
    "controller": ("actor.safetensors", "critic.safetensors"),
    "evaluate": ("tracks-0000.json",),
}
KEPT = {"vision": "model.safetensors", "memory": "model.safetensors", "controller": "actor.safetensors"}


def imagined(scores: list[float], begun: int) -> History:
    """Return the history of a run with an evaluation of each score and `begun` stages of one more iteration."""
    history = History(SimpleNamespace(versions=list), WORLD_MODEL)
    for iteration in range(len(scores) + 1):
        for stage in WORLD_MODEL.stages[: None if iteration < len(scores) else begun]:
            metrics = {"score": scores[iteration]} if stage.name == "evaluate" else {}
            name, files = f"{iteration:04d}/{stage.name}", dict.fromkeys(FILES[stage.name])
            history.add(SimpleNamespace(iteration=iteration, stage=stage.name, name=name, metrics=metrics, files=files))
    return history


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([100.0, 500.0, 900.0]), max_size=9), st.integers(0, 4), st.integers(1, 4), st.integers(1, 3),
    st.integers(0, 3), st.integers(1, 4),
)  # fmt: skip
def test_what_is_promised_to_stay_stays_and_everything_else_goes(scores, begun, last, best, every, replay):
    history = imagined(scores, begun)
    gone = {version.name: set(files) for version, files in Retention(last, best, every).goes(history, replay)}
    assert not any(file.endswith(".json") for files in gone.values() for file in files)
    upcoming = len(scores)
    assert not any(name.startswith(f"{upcoming:04d}/") for name in gone)
    for iteration in range(max(0, upcoming - last), upcoming):
        assert not any(version.name in gone for version in required_by_next(history, iteration, replay))
    ranked = sorted(range(upcoming), key=lambda i: (-ranking.merit({"score": scores[i]}), i))
    agents = {*ranked[:best], *(range(0, upcoming, every) if every else ())}
    assert all(KEPT[stage] not in gone.get(f"{i:04d}/{stage}", set()) for i in agents for stage in KEPT)
    served = history.best_evaluation()
    assert served is None or served.iteration in agents
    read = {v.name for i in range(max(0, upcoming - last), upcoming) for v in required_by_next(history, i, replay)}
    for iteration in set(range(upcoming)) - agents:
        for stage, files in FILES.items():
            if iteration < upcoming - last and f"{iteration:04d}/{stage}" not in read:
                assert gone.get(f"{iteration:04d}/{stage}", set()) == {f for f in files if not f.endswith(".json")}


@pytest.fixture(scope="module")
def pruned(whole: tuple[Store, str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Return the same run of three iterations twice: whole, and pruned as it went."""
    folder = tmp_path_factory.mktemp("pruned")
    layers = ("budget.iterations=3", "rollout.replay_iterations=2")
    text, versions = whole[0].config_text, whole[0].versions()  # two iterations learn from all there is, as these do
    more = Store.create(folder, "whole", text, {}, versions)
    perform(more.path, configure(*layers))
    first = [version for version in versions if version.iteration == 0]
    less = Store.create(folder, "less", text, {}, first)  # nothing of it could be pruned yet
    perform(less.path, configure(*layers, "store.keep_last=1"))
    return more, less


def test_a_run_that_is_pruned_as_it_goes_is_the_same_run_on_a_smaller_disk(pruned: tuple[Store, Store]) -> None:
    whole, less = pruned
    everything, there = hashes(whole), hashes(less)
    assert there.items() < everything.items()
    assert {name for name in everything if name.startswith("0002/") or name.endswith(".json")} <= there.keys()
    assert "0000/rollout/episodes-0000.safetensors" not in there
    assert [v.metrics for v in less.versions()] == [v.metrics for v in whole.versions()]
    assert less.verify() == []
    assert not list(less.path.glob("iterations/0000/*/episodes-*"))


def test_experience_older_than_the_replay_is_not_learnt_from(pruned: tuple[Store, Store]) -> None:
    latents = [file for file in pruned[0].version(2, "vision").files if file.startswith("latents")]
    assert sorted(latents) == ["latents-0001.safetensors", "latents-0002.safetensors"]


def test_the_best_agent_of_a_pruned_run_still_drives_and_one_that_went_is_refused_by_name(
    pruned: tuple[Store, Store],
) -> None:
    store = pruned[1]
    iteration, why = choose(History(store, WORLD_MODEL), None)
    assert "the best" in why
    triple = Served.of(History(store, WORLD_MODEL), iteration).versions.values()
    assert all(len(version.tensors(KEPT[version.stage])) for version in triple)
    gone = next(v for v in store.versions() if "actor.safetensors" in v.pruned)
    with pytest.raises(
        UsageError, match=f"the agent of iteration {gone.iteration} of the run .* was pruned: there are those of"
    ):
        choose(History(store, WORLD_MODEL), gone.iteration)
    with pytest.raises(UsageError, match="was pruned, only its metrics are kept"):
        gone.tensors("actor.safetensors")


def a_run(root: Path) -> Store:
    store = Store.create(root, "run", "", {})
    for iteration in range(3):
        for stage, files in FILES.items():
            draft = store.draft(iteration, stage)
            for file in files:
                if file.endswith(".json"):
                    draft.save_json(file, [])
                else:
                    draft.save_tensors(file, {"w": np.full(100, iteration, np.float32)})
            draft.commit([], {"score": float(iteration)}, 1.0)
    return store


def a_copy(store: Store, root: Path) -> Store:
    shutil.copytree(store.path, root / store.name)
    return Store.open(root / store.name)


def left(store: Store) -> dict[str, list[str]]:
    return {v.name: sorted(v.files) for v in store.versions()}


@pytest.mark.parametrize("fault", [KilledError, errno.EIO], ids=["kill", "EIO"])
def test_a_pruning_cut_short_anywhere_loses_nothing_it_should_keep_and_the_next_one_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    kept = Retention(keep_last=1)
    template = a_run(tmp_path / "template")
    reference = a_copy(template, tmp_path / "reference")
    with reference.lock():
        counting = FaultyDisk(-1, KilledError)
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "disk", counting)
            assert prune(reference, History(reference, WORLD_MODEL), kept, replay=1) > 0
    wanted = left(reference)
    calls = len(counting.calls)
    assert {"write", "replace", "remove"} <= set(counting.calls)
    for at in range(calls):
        store = a_copy(template, tmp_path / f"{at}")
        disk = FaultyDisk(at, fault)
        with store.lock(), monkeypatch.context() as patch:
            patch.setattr(atomic, "disk", disk)
            with pytest.raises((KilledError, StorageError)):
                prune(store, History(store, WORLD_MODEL), kept, replay=1)
        assert disk.fired, at
        with store.lock():
            there = left(store)
            assert set(there) == set(wanted)
            assert all(set(wanted[name]) <= set(there[name]) for name in wanted)
            prune(store, History(store, WORLD_MODEL), kept, replay=1)
        assert left(store) == wanted
        assert store.verify() == []
        on_disk = {
            f"{p.parent.parent.name}/{p.parent.name}/{p.name}" for p in store.path.glob("iterations/*/*/*.safetensors")
        }
        assert on_disk == {f"{name}/{f}" for name, files in wanted.items() for f in files if f.endswith(".safetensors")}


def test_what_a_pruning_left_half_done_is_gone_after_the_next_lock(tmp_path: Path) -> None:
    store = a_run(tmp_path)
    version = store.version(0, "memory")
    with store.lock():
        data = version.bytes("model.safetensors")
        store.prune(version, ["model.safetensors"])
    (version.path / "model.safetensors").write_bytes(data)  # as if the removal had never reached the disk
    assert store.version(0, "memory").pruned.keys() == {"model.safetensors"}
    with store.lock():
        assert not (version.path / "model.safetensors").exists()
    assert store.verify() == []


@pytest.mark.parametrize(
    "note", [b"", b"{", b'{"model.safetensors": 1}', b'["../../run.toml"]', b'["manifest.json"]', b"[1]"]
)
def test_a_damaged_or_hostile_note_of_what_was_pruned_hides_its_version_and_touches_nothing(
    tmp_path: Path, note: bytes
) -> None:
    store = a_run(tmp_path)
    folder = store.version(0, "memory").path
    (folder / "pruned.json").write_bytes(note)
    with store.lock():
        pass
    assert store.version(0, "memory") is None
    assert [fault.version for fault in store.verify()] == ["0000/memory"]
    assert (folder / "model.safetensors").exists()
    assert (folder / "manifest.json").exists()
    assert (store.path / "run.toml").exists()


@pytest.mark.parametrize("link", ["iterations/0001", "iterations/0000/memory"])
def test_taking_the_lock_follows_no_link_out_of_the_run(tmp_path: Path, link: str) -> None:
    victim, store = a_run(tmp_path / "victim"), Store.create(tmp_path, "run", "", {})
    (store.path / link).parent.mkdir(parents=True)
    target = victim.path / link
    version = victim.version(1 if link.endswith("1") else 0, "memory")
    (version.path / "pruned.json").write_text('["model.safetensors"]')
    (version.path / ".tmp-x").write_text("")
    (store.path / link).symlink_to(target)
    before = {path: path.read_bytes() for path in victim.path.rglob("*") if path.is_file()}
    with store.lock():
        assert store.versions() == []
    assert {path: path.read_bytes() for path in victim.path.rglob("*") if path.is_file()} == before


def test_a_fork_copies_what_was_pruned_as_pruned(tmp_path: Path) -> None:
    store = a_run(tmp_path)
    with store.lock():
        prune(store, History(store, WORLD_MODEL), Retention(keep_last=1), replay=1)
    fork = Store.create(tmp_path, "fork", "", {}, store.versions())
    assert left(fork) == left(store)
    assert {v.name: v.hash for v in fork.versions()} == {v.name: v.hash for v in store.versions()}
    assert fork.verify() == []


def whole_versions(store: Store) -> list[Version]:
    return [version for version in store.versions() if not version.pruned]


def test_a_reader_beside_a_pruning_sees_each_version_before_or_after_it(tmp_path: Path) -> None:
    store = a_run(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with store.lock():
                prune(store, History(store, WORLD_MODEL), Retention(keep_last=1), replay=1)
            os.write(writer, b"x")
        finally:
            os._exit(0)
    seen = 0
    try:
        while True:
            assert len(store.versions()) == 15
            seen += 1
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
    finally:
        os.close(writer)
    assert os.read(reader, 1) == b"x", status
    os.close(reader)
    assert seen > 0
    assert len(whole_versions(store)) < 15
