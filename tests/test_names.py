"""Names of earlier days: whatever was written under them is read under those of today."""

import json
import warnings
from pathlib import Path

import pytest

from tests.commands import wmloop
from tools import names
from wmloop.config import WorldModelConfig, build_config, settings, with_settings
from wmloop.config.legacy import stored
from wmloop.errors import RenamedWarning, UsageError
from wmloop.events import Metrics, from_record
from wmloop.legacy import METRICS, RETIRED, SETTINGS, SUPERSEDED, metrics_now, settings_now
from wmloop.store import Store

TODAY = settings(WorldModelConfig())


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def test_what_settings_are_called_now_is_there_and_what_they_were_called_is_not():
    groups = {name.rpartition(".")[0] for name in TODAY}
    assert set(SETTINGS.values()) <= TODAY.keys() | groups
    assert not set(SETTINGS) & (TODAY.keys() | groups)
    assert len(set(SETTINGS.values())) == len(SETTINGS)


@pytest.mark.parametrize(("old", "new"), [pair for pair in SETTINGS.items() if pair[1] in TODAY])
def test_a_setting_by_its_old_name_is_taken_and_the_new_one_told(old, new):
    value, mark = TODAY[new], object()
    with pytest.warns(RenamedWarning, match=rf"^{old} is called {new} now$"):
        config = build_config("laptop", nested(old, value))
    assert config == build_config("laptop", nested(new, value))
    assert settings_now(nested(old, mark), lambda line: None) == nested(new, mark)


@pytest.mark.parametrize("name", RETIRED)
def test_a_setting_that_is_gone_changes_nothing_and_a_person_is_told_but_a_stored_run_is_read_without_a_word(name):
    with pytest.warns(RenamedWarning, match=rf"^{name} is gone and has no effect: "):
        config = build_config("laptop", nested(name, 5.0))
    assert config == build_config("laptop")
    with pytest.warns(RenamedWarning, match=name):
        assert with_settings(config, nested(name, "none")) == config
    table = build_config("laptop").model_dump()
    group, _, key = name.partition(".")
    with warnings.catch_warnings(action="error"):
        assert stored({**table, group: {**table[group], key: 5.0}}) == stored(table)


def test_what_is_gone_is_no_setting_of_today_and_no_renamed_one():
    assert not RETIRED.keys() & (TODAY.keys() | SETTINGS.keys() | set(SETTINGS.values()))


@pytest.mark.parametrize(
    ("name", "old", "new"), [(n, old, new) for n, of in SUPERSEDED.items() for old, new in of.items()]
)
def test_a_choice_that_was_replaced_is_refused_in_a_new_run_and_kept_in_one_that_has_it(name, old, new):
    with pytest.raises(UsageError, match=f"{name}.*{old}.*in a new run.*{new}.*can be resumed"):
        build_config("laptop", nested(name, old))
    with pytest.raises(UsageError, match="in a new run"):
        with_settings(build_config("laptop"), nested(name, old))
    group, _, key = name.partition(".")
    table = build_config("laptop").model_dump()
    run = stored({**table, group: {**table[group], key: old}})
    assert settings(run)[name] == old
    assert with_settings(run, {**nested(name, old), "budget": {"iterations": 9}}).budget.iterations == 9
    with pytest.raises(UsageError) as refused:
        build_config("laptop", nested(name, "no such"))
    assert old not in str(refused.value)
    assert new in str(refused.value)


def test_a_run_of_earlier_days_is_read_without_a_word():
    table = build_config("smoke").model_dump()
    before = {new: old for old, new in SETTINGS.items()}

    def as_it_was(group, path=""):
        return {
            before.get(path + name, name).rpartition(".")[2]: as_it_was(value, f"{path}{name}.")
            if isinstance(value, dict)
            else value
            for name, value in group.items()
        }

    old = as_it_was(table)
    assert old["env"]["driving"]["memory"] == table["env"]["random_policy"]["autocorrelation"]
    assert settings_now(old) == table
    with warnings.catch_warnings(action="error"):
        assert stored(old).model_dump() == stored(table).model_dump()


def test_the_environments_own_words_are_its_own():
    table = {"env": {"kwargs": {"mirror": 1, "timeout": 2, "a.b": 3}}}
    assert settings_now(table) == table


def test_the_command_line_says_each_new_name_once(tmp_path):
    toml = tmp_path / "old.toml"
    toml.write_text("[memory]\nhidden = 64\n[evaluate]\ntracks = 3\n")
    done = wmloop("start", "--config", str(toml), "--set", "memory.hidden=32", "--print-config", runs=tmp_path)
    assert done.exit_code == 0
    assert done.stderr.count("note: memory.hidden is called memory.hidden_size now") == 1
    assert done.stderr.count("note: evaluate.tracks is called evaluate.episodes now") == 1
    assert "hidden_size = 32" in done.stdout


def test_figures_of_earlier_days_are_read_under_their_names_of_today(tmp_path):
    store = Store.create(tmp_path, "old", "", {})
    old = {"score": 3.0, "score_error": 1.0, "confirmed_gap_error": 0.5, "done_0.1_1_ended": 0.2, "gap": 0.1}
    new = {
        "score": 3.0, "score_se": 1.0, "confirmed_return_gap_se": 0.5, "terminated_0.1_1_ended": 0.2, "return_gap": 0.1,
    }  # fmt: skip
    with store.lock():
        version = store.draft(0, "evaluate").commit([], old, 1.0)
    assert json.loads((version.path / "manifest.json").read_text())["metrics"] == old
    assert store.version(0, "evaluate").metrics == new
    event = from_record({"event": "Metrics", "iteration": 0, "stage": "evaluate", "values": old})
    assert event == Metrics(0, "evaluate", new)


def test_a_figure_has_one_name_and_it_is_no_other_ones_old_name():
    assert len(set(METRICS.values())) == len(METRICS)
    assert not set(METRICS) & set(METRICS.values())
    assert metrics_now(dict.fromkeys(METRICS.values(), 0)) == dict.fromkeys(METRICS.values(), 0)


def test_the_page_of_names_is_made_of_the_tables():
    assert (Path(__file__).parent.parent / "docs" / "names.md").read_text() == names.page()
