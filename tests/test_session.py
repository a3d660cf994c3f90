"""One process at work on a run: what it says besides the run's own events."""

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.tiny_env import tiny_config
from wmloop import ranking
from wmloop.cli import app
from wmloop.cli.session import larger_budget, resume_command, spent
from wmloop.config import build_config, with_settings
from wmloop.config.text import to_toml
from wmloop.events import RunStarted
from wmloop.history import History
from wmloop.pipelines.world_model import WORLD_MODEL
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


@pytest.mark.parametrize("met", [0, 1])
def test_what_goes_on_with_a_run_asks_for_more_than_any_of_its_agents_has_met(met):
    """Of all that is used up: a larger goal alone would end at once where the iterations are, too."""
    config = build_config("smoke", tiny_config(), {"budget": {"iterations": 2, "goal": 475.0, "hours": 1.0}})
    history = History(SimpleNamespace(versions=list), WORLD_MODEL)
    for iteration in range(2):
        confirmed = {"confirmed_score": 500.0, "confirmed_score_low": 487.1} if iteration == met else {}
        for stage in WORLD_MODEL.names:
            metrics = {"score": 400.0} | confirmed if stage == "evaluate" else {}
            history.add(SimpleNamespace(iteration=iteration, stage=stage, metrics=metrics))
    assert spent(config, history, 3500.0) == ["iterations", "goal"]
    assert spent(config, history, 3600.0) == ["iterations", "goal", "hours"]
    larger = larger_budget(config, history, 3600.0)
    assert not any(ranking.confirms(version.metrics, larger["goal"]) for version in history.scored())
    after = with_settings(config, {"budget": larger | {"iterations": int(larger["iterations"])}})
    assert spent(after, history, 3600.0) == []


def test_the_next_command_names_the_folder_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wmloop.loop.run", lambda *_: "iterations")
    Store.create(Path("my runs"), "tiny", to_toml(STORED), {})
    bare = CliRunner().invoke(app, ["resume", "tiny", "--runs", "my runs", "--progress", "none"])
    assert bare.stderr.endswith("next:\n  wmloop resume tiny --runs 'my runs' --iterations 4  # train further\n"), (
        "no agent yet"
    )
    monkeypatch.setattr("wmloop.history.History.all", lambda *_: [SimpleNamespace(metrics={})])
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
