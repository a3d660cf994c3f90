"""What `wmloop eval` found stays with the run, and decides nothing."""

import json
import math
import multiprocessing
import shutil

import pytest

from tests.commands import wmloop
from wmloop import opening
from wmloop.errors import StorageError
from wmloop.store import Store, atomic

RECORD = {"created": "2026-11-29T10:00:00+00:00", "version": "0000/controller", "hash": "0" * 64, "seed": 3,
          "tracks": [{"seed": 1, "score": 2.5}, {"seed": 2, "score": 3.5}]}  # fmt: skip


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished.runs / "tiny", tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny" / "evaluations", ignore_errors=True)
    return tmp_path / "tiny"


def hashes(store):
    assert store.verify() == []
    return {version.name: version.hash for version in store.versions()}


def test_an_evaluation_is_kept_with_what_it_scored_and_how_it_was_made(run):
    before = hashes(Store.open(run))
    done = wmloop("eval", "tiny", "--tracks", 3, "--seed", 5, "--json", runs=run.parent)
    assert done.exit_code == 0, done.output
    store = Store.open(run)
    (kept,) = store.evaluations.all()
    printed = json.loads(done.stdout)
    assert kept.scores == [track["score"] for track in printed["tracks"]]
    assert (kept.version, kept.seed) == ("0000/controller", 5)
    assert kept.hash == store.version(0, "controller").hash
    assert kept.record["made"].keys() >= {"argv", "cpu", "wmloop", "versions"}
    assert hashes(store) == before


def test_log_tells_evaluations_with_the_versions_that_they_scored(run):
    store = Store.open(run)
    scored = store.version(0, "controller").hash
    store.evaluations.add({**RECORD, "hash": scored})
    store.evaluations.add(RECORD)  # of a version that has been made anew since
    words = wmloop("log", "tiny", runs=run.parent).stdout
    assert words.count("0000/controller  2026-11-29 10:00  2") == 2
    assert "3.0 (95% CI" in words
    told = json.loads(wmloop("log", "tiny", "--json", runs=run.parent).stdout)["versions"]
    assert [len(v["evaluations"]) for v in told] == [v["version"] == "0000/controller" for v in told]
    assert next(e["seed"] for v in told for e in v["evaluations"]) == 3


def add(path, count):
    for _ in range(count):
        Store.open(path).evaluations.add(RECORD)


def test_of_evaluations_at_once_none_is_lost(run):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add, args=(run, 20)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(Store.open(run).evaluations.all()) == 80


def test_a_sweep_in_the_middle_of_a_write_loses_nothing(run, monkeypatch):
    store, replace, swept = Store.open(run), atomic.disk.replace, []

    def sweep_first(source, target):
        if not swept:
            swept.append(source)
            store.evaluations.sweep()
        replace(source, target)

    monkeypatch.setattr(atomic.disk, "replace", sweep_first)
    store.evaluations.add(RECORD)
    assert swept
    assert len(store.evaluations.all()) == 1


def test_what_a_killed_write_left_goes_with_the_next_lock_and_counts_for_nothing(run):
    store = Store.open(run)
    store.evaluations.add(RECORD)
    torn = run / "evaluations" / ".tmp-20261129-100000-00000000.json-1234"
    torn.write_text('{"created"')
    assert len(store.evaluations.all()) == 1
    with store.lock():
        assert not torn.exists()
    assert len(store.evaluations.all()) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 100_000, '{"tracks": []}', json.dumps({**RECORD, "tracks": [{"score": "high"}]}),
     json.dumps({**RECORD, "seed": None}), json.dumps({**RECORD, "version": 3}), json.dumps({**RECORD, "seed": math.nan}),
     json.dumps({**RECORD, "seed": 10**400}), json.dumps({**RECORD, "tracks": [{"score": math.inf}]})],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_evaluation_is_passed_over(run, text):
    store = Store.open(run)
    store.evaluations.add(RECORD)
    (run / "evaluations" / "eval-20261129-100000-00000000.json").write_text(text)
    assert len(store.evaluations.all()) == 1
    assert wmloop("log", "tiny", runs=run.parent).exit_code == 0


def test_where_the_run_may_not_be_written_an_evaluation_is_printed_all_the_same(run, monkeypatch):
    def refuse(path):
        raise StorageError(f"cannot make folder {path}: read-only")

    monkeypatch.setattr(atomic, "make_folder", refuse)
    done = wmloop("eval", "tiny", "--tracks", 1, runs=run.parent)
    assert done.exit_code == 0, done.output
    assert "score" in done.stdout
    assert "not stored with the run: cannot make folder" in done.stderr


def test_the_run_that_comes_with_wmloop_is_not_written_to(run, monkeypatch):
    monkeypatch.setattr(opening, "DEMO", run)
    assert wmloop("eval", "tiny", "--tracks", 1, runs=run.parent).exit_code == 0
    assert not (run / "evaluations").exists()


def test_verify_prune_forks_and_exports_go_on_without_evaluations(run, tmp_path):
    store = Store.open(run)
    store.evaluations.add(RECORD)
    before = hashes(store)
    assert wmloop("verify", "tiny", runs=run.parent).exit_code == 0
    assert store.foreign() == []
    assert wmloop("export", "tiny", "--to", tmp_path / "a.safetensors", runs=run.parent).exit_code == 0
    forked = wmloop("resume", "tiny", "--from", 0, "--as", "fork", "--iterations", 1, runs=run.parent)
    assert forked.exit_code == 0, forked.output
    assert hashes(Store.open(tmp_path / "fork")) == before
    assert Store.open(tmp_path / "fork").evaluations.all() == []
    assert wmloop("prune", "tiny", runs=run.parent).exit_code == 0
    assert hashes(store) == before
    assert len(store.evaluations.all()) == 1
