"""Runs written by the programs of earlier formats open, are whole, and go on. They are kept beside this file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from wmloop.store import FORMAT, Store
from wmloop.store.tensors import decode, encode

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(path.name for path in GOLDEN.iterdir())
STAGES = ("rollout", "vision", "memory", "controller", "evaluate")


def weights(place: int) -> dict[str, np.ndarray]:
    return {
        "w": (np.arange(12, dtype=np.float32) - place).reshape(3, 4).T,
        "n": np.array(place),
        "half": np.float16([0.5]),
    }


def make(root: Path) -> None:
    """Write a golden run of this program's format: `python -m tests.test_migration tests/golden`, once, when it is new."""
    store = Store.create(root, f"format-{FORMAT}", "seed = 7\n", {"argv": ["wmloop", "start"]})
    with store.lock():
        for iteration in range(2):
            versions = []
            for place, stage in enumerate(STAGES):
                draft = store.draft(iteration, stage)
                draft.save_bytes("model.safetensors", encode(weights(10 * iteration + place), {"kind": stage}))
                draft.save_json("summary-0000.json", {"scores": [1.5, -2], "what": "ä"})
                versions.append(draft.commit(versions[-2:], {"score": 1.0 + iteration}, 2.5, {"wmloop": "golden"}))
        store.prune(store.versions()[0], ["model.safetensors"])
        draft = store.draft(2, "rollout")
        draft.save_bytes("shard.bin", b"begun")
        for done in (10, 20):
            draft.snapshot(done, weights(done), {"loss": float("nan"), "done": done})
        store.journal.append({"event": "commit", "at": 1.0})


@pytest.fixture(params=FORMATS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    shutil.copytree(GOLDEN / request.param, tmp_path / request.param)
    return Store.open(tmp_path / request.param)


def test_there_is_a_golden_run_of_every_format() -> None:
    assert [f"format-{number}" for number in range(1, FORMAT + 1)] == FORMATS


def test_a_golden_run_is_read_as_it_was_written_and_not_changed_by_reading(golden: Store) -> None:
    before = {path: path.read_bytes() for path in golden.path.rglob("*") if path.is_file()}
    assert golden.verify() == []
    versions = golden.versions()
    assert [version.name for version in versions] == [f"{i:04d}/{stage}" for i in range(2) for stage in STAGES]
    for place, version in enumerate(versions):
        assert version.json("summary-0000.json") == {"scores": [1.5, -2], "what": "ä"}
        assert version.metrics == {"score": 1.0 + version.iteration}
        if not version.pruned:
            found = version.tensors("model.safetensors")
            wanted = weights(10 * version.iteration + place % 5)
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
            assert decode(version.bytes("model.safetensors"), version.path)[1]["kind"] == version.stage
    assert [record["event"] for record in golden.journal.events()[0]] == ["commit"]
    assert {path: path.read_bytes() for path in golden.path.rglob("*") if path.is_file()} == before


def test_whoever_writes_a_golden_run_brings_it_to_this_format_and_goes_on_where_it_was(golden: Store) -> None:
    before = golden.path.joinpath("run.toml").read_text()
    hashes = {version.name: version.hash for version in golden.versions()}
    with golden.lock():
        draft = golden.draft(2, "rollout")
        done, tensors, state = draft.latest_snapshot() or (0, {}, {})
        assert (done, state["done"]) == (20, 20)
        assert np.array_equal(tensors["w"], weights(20)["w"])
        assert draft.files() == ["shard.bin"]
        draft.commit(golden.versions()[-1:], {}, 1.0)
    again = Store.open(golden.path)
    assert again.verify() == []
    assert {version.name: version.hash for version in again.versions()[:-1]} == hashes
    after = golden.path.joinpath("run.toml").read_text()
    assert [a for a, b in zip(after.splitlines(), before.splitlines(), strict=True) if a != b] in (
        [], [f"format = {FORMAT}"],
    )  # fmt: skip
    assert f"format = {FORMAT}\n" in after
    assert again.created


if __name__ == "__main__":
    make(Path(sys.argv[1]))
