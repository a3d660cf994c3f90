"""One process at work on a run: what it says besides the run's own events."""

import itertools
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tiny_env import tiny_config
from wmloop.cli import app
from wmloop.cli.session import resume_command
from wmloop.config import build_config, with_settings
from wmloop.config.text import to_toml
from wmloop.events import RunStarted
from wmloop.store import Store, notes

STORED = build_config("smoke", tiny_config(), {"device": "cpu", "threads": 1})


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)


def test_what_a_disk_does_not_promise_is_told_once_by_the_view_and_the_log(tmp_path, monkeypatch):
    def loop(store, config, pipeline, device, report, stop, used_up, ranks):
        for number in range(3):
            notes.note(str(tmp_path), f"names are not safe here ({number})")
            report(RunStarted(store.name, number, 1, 900.0, "cpu", resumed=True))
        return "iterations"

    monkeypatch.setattr("wmloop.loop.run", loop)
    monkeypatch.setattr("time.monotonic", map(float, itertools.count(0, 60)).__next__)  # time flies between two events
    store = Store.create(tmp_path, "tiny", to_toml(STORED), {})
    result = CliRunner().invoke(app, ["resume", "tiny", "--runs", str(tmp_path), "--progress", "plain"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("warning: names are not safe here (0)\n") == 1
    told = [record["text"] for record in store.journal.events()[0] if record["event"] == "Message"]
    assert [text for text in told if "safe" in text] == ["names are not safe here (0)"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"budget": {"iterations": 9, "hours": 2.5}}, " --iterations 9 --hours 2.5"),
        ({"store": {"keep_last": 3}, "budget": {"goal": 800}}, " --set store.keep_last=3 --goal 800.0"),
        ({"env": {"worker_timeout": 90}, "threads": 3}, " --set env.worker_timeout=90.0 --set threads=3"),
    ],
)
def test_the_next_command_repeats_what_was_changed(changes, words):
    said = resume_command(Path("runs", "tiny"), STORED, with_settings(STORED, changes))
    assert sorted(said.split()) == sorted(f"wmloop resume tiny{words}".split())


def test_the_next_command_names_the_folder_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wmloop.loop.run", lambda *_: "iterations")
    Store.create(Path("my runs"), "tiny", to_toml(STORED), {})
    bare = CliRunner().invoke(app, ["resume", "tiny", "--runs", "my runs", "--progress", "none"])
    assert bare.stderr.endswith("next:\n  wmloop resume tiny --runs 'my runs' --iterations 4  # train further\n"), (
        "no agent yet"
    )
    monkeypatch.setattr("wmloop.history.History.all", lambda *_: ["an agent"])
    for words, folder in (
        (["tiny", "--runs", "my runs"], " --runs 'my runs'"),
        (["my runs/tiny"], f" --runs '{tmp_path / 'my runs'}'"),
    ):
        result = CliRunner().invoke(app, ["resume", *words, "--progress", "none"])
        assert result.exit_code == 0, result.stderr
        for verb in ("eval", "report", "resume"):
            assert f"wmloop {verb} tiny{folder}" in result.stderr
    monkeypatch.setenv("WMLOOP_RUNS", "my runs")
    result = CliRunner().invoke(app, ["resume", "tiny", "--progress", "none"])
    assert re.search(r"^  wmloop eval tiny +# ", result.stderr, re.M)
