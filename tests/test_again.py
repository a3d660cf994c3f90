"""How to make a run again: the commands that its report prints make the same weights."""

import re
import shlex
import shutil

import pytest

from tests.commands import wmloop
from wmloop.cli.again import again
from wmloop.store import Store


def contents(store):
    """Return the hash of every file of every version; manifests tell times, too."""
    assert store.verify() == []
    return {f"{v.name}/{file}": record.sha256 for v in store.versions() for file, record in v.files.items()}


def follow(commands, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "wmloop"
        done = wmloop(*words, "--progress", "none")
        assert done.exit_code == 0, f"{line}: {done.output}"
    return folder / "again"


def test_a_resumed_run_and_its_fork_are_made_again_to_the_bit(tiny_toml, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    begun = (
        "start",
        "first",
        "--config",
        tiny_toml,
        *(
            f"--set={setting}"
            for setting in ("vision.initial_images=96", "memory.initial_steps=10", "controller.updates=3")
        ),
        "--goal",
        -1000,
        "--progress",
        "none",
    )
    assert wmloop(*begun, runs=runs).exit_code == 0  # its goal is confirmed at once
    assert wmloop("resume", "first", "--goal", 1000, "--iterations", 2, "--progress", "none", runs=runs).exit_code == 0
    forked = ("fork", "first", "other", "--from", 0, "--set", "controller.updates=1", "--seed", 8)
    assert wmloop(*forked, "--goal", 1000, "--iterations", 2, "--progress", "none", runs=runs).exit_code == 0
    first, other = Store.open(runs / "first"), Store.open(runs / "other")
    told = again(other)
    assert [line.split()[1] for line in told.commands] == ["start", "fork"]
    assert "--seed 7" in told.commands[0]
    assert "--seed 8" in told.commands[1]
    made = follow(told.commands, tmp_path, monkeypatch)
    assert contents(Store.open(made / "other")) == contents(other)
    shutil.rmtree(made)
    told = again(first)
    assert [line.split()[1] for line in told.commands] == ["start", "resume"]
    assert "--goal 1000" in told.commands[1]
    made = follow(told.commands, tmp_path, monkeypatch)
    assert contents(Store.open(made / "first")) == contents(first)


def test_a_budget_that_grew_takes_no_second_command(twice):
    told = again(Store.open(twice.runs / "tiny"))
    (line,) = told.commands
    assert line.startswith("wmloop start tiny --preset smoke ")
    assert "--iterations" not in line  # the preset's own are two
    assert any("tests.tiny_env" in note for note in told.notes)


def log(store, *records):
    for record in records:
        store.journal.append(record)


@pytest.fixture
def run(twice, tmp_path):
    shutil.copytree(twice.runs / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "events.jsonl").unlink()
    return Store.open(tmp_path / "tiny")


def begins(iteration, goal=None):
    return {"event": "RunStarted", "iteration": iteration, "iterations": 2, "goal": goal}


def test_a_change_of_threads_is_told_and_one_inside_an_iteration_is_owned_up_to(run):
    goal = None
    log(run, begins(0, goal), {"event": "SessionStarted", "changed": {"threads": 5}}, begins(1, goal))
    told = again(run)
    assert "--threads 5" in told.commands[1]
    assert "--iterations 1" in told.commands[0]
    assert not any("bit for bit" in note for note in told.notes)
    log(run, {"event": "VersionCommitted", "iteration": 1}, {"event": "SessionStarted", "changed": {"threads": 6}},
        begins(1, goal))  # fmt: skip
    told = again(run)
    assert "--threads 6" in told.commands[1]
    assert any(
        re.match("Inside iteration 1 threads changed.* not be bit for bit the same", note) for note in told.notes
    )


def test_a_session_that_was_stopped_before_it_did_anything_leaves_no_command(run):
    log(run, begins(0), begins(1, 50.0), begins(1, 60.0), begins(1, 60.0))
    told = again(run)
    assert [line.split()[1] for line in told.commands] == ["start", "resume"]
    assert "--goal 60.0" in told.commands[1]


@pytest.mark.parametrize("record", [{"event": "RunStarted", "iteration": "one"}, {"event": "SessionStarted", "changed": 3},
                                    {"event": "RunStarted"}, {}])  # fmt: skip
def test_a_log_of_strange_records_is_read_all_the_same(run, record):
    log(run, record)
    assert len(again(run).commands) == 1


def test_a_fork_whose_origin_is_gone_says_so(run, tmp_path):
    forked = ("fork", "tiny", "other", "--from", 0, "--iterations", 1, "--progress", "none")
    assert wmloop(*forked, runs=tmp_path).exit_code == 0
    shutil.rmtree(run.path)
    told = again(Store.open(tmp_path / "other"))
    assert [line.split()[1] for line in told.commands] == ["fork"]
    assert any("The run tiny" in note for note in told.notes)


def test_an_imported_agent_has_no_commands(twice, tmp_path):
    assert wmloop("export", "tiny", "--to", tmp_path / "agent.safetensors", runs=twice.runs).exit_code == 0
    assert wmloop("import", tmp_path / "agent.safetensors", "given", runs=tmp_path).exit_code == 0
    told = again(Store.open(tmp_path / "given"))
    assert told.commands == []
    assert "imported" in told.notes[0]
