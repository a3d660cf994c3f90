"""`wmloop watch`, `config`, `doctor`: following a run, explaining settings, examining a machine."""

import datetime
import json
import os
import re
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import wmloop
from tests.test_interruptions import launch
from tests.tiny_env import tiny_config
from wmloop import doctor, events, machine
from wmloop.cli import app
from wmloop.cli.exits import DOCTOR_FOUND
from wmloop.cli.watch import Log, so_far
from wmloop.config import RunConfig, build_config, explain, settings
from wmloop.config.presets import PRESETS, PROFILES
from wmloop.config.text import to_toml
from wmloop.errors import UsageError
from wmloop.events import (
    Message,
    Metrics,
    Picture,
    Progress,
    Resources,
    RunFinished,
    RunStarted,
    Track,
    VersionCommitted,
)
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store
from wmloop.view.lines import stamped
from wmloop.view.state import ViewState, reduce


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path, "tiny", to_toml(build_config("smoke", tiny_config())), {})


# ---- the log, read back

EVENTS = (
    RunStarted("tiny", 0, 2, 900.0, "cpu", False, None),
    Progress(0, "rollout", 5, 10, "frames", 2.5),
    Metrics(0, "memory", {"nll": 1.5}),
    VersionCommitted(0, "rollout", {"score": 4.0, "frames": 100.0}, 1000, 2.0),
    Message("hello", "warning"),
    RunFinished("tiny", "goal", 0, 4.0),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_an_event_comes_back_from_its_record(event):
    assert events.from_record(json.loads(json.dumps(stamped(event)))) == event


def test_what_was_not_finite_is_not_a_number_again():
    event = events.from_record(json.loads(json.dumps(stamped(Metrics(0, "memory", {"nll": float("inf")})))))
    assert isinstance(event, Metrics)
    assert event.values["nll"] != event.values["nll"]


@given(st.sampled_from(EVENTS), st.none() | st.text() | st.integers() | st.lists(st.integers()), st.data())
def test_a_record_of_another_program_is_an_event_or_none_and_no_fault(event, value, data):
    record = json.loads(json.dumps(stamped(event)))
    name = data.draw(st.sampled_from(sorted(record)))
    for changed in ({**record, name: value}, {key: part for key, part in record.items() if key != name}):
        came = events.from_record(changed)
        assert came is None or type(came).__name__ == changed["event"]
        if came is not None:
            reduce(ViewState(WORLD_MODEL), came, 1.0)


# ---- watch


def test_the_view_of_a_log_is_that_of_the_process_that_wrote_it(store):
    for event in EVENTS[:4]:
        store.journal.append(stamped(event))
    log = Log(store)
    state, _ = so_far(store, log)
    assert state.reason is None
    assert (state.run, state.frames, state.commit[0]) == ("tiny", 100.0, EVENTS[3])
    store.journal.append(stamped(EVENTS[4]))
    assert list(log.follow(lambda: False)) == [EVENTS[4]]


def test_the_pictures_and_tracks_that_were_left_are_watched_too_and_damaged_ones_are_none(store):
    assert store.journal.pictures() == ({}, {})
    left = {"real": np.full((64, 64, 3), 7, np.uint8), "dream": np.zeros((64, 64, 3), np.uint8)}
    tracks = {
        "real": (np.ones((6, 4), np.float32), np.arange(5)),
        "dream": (np.zeros((3, 0), np.float32), np.ones((2, 3), np.float32)),
    }
    store.journal.save_pictures(left, tracks)
    seen = list(Log(store).follow(lambda: False))
    told = {(type(event), event.kind): event for event in seen}
    assert len(told) == len(seen) == 4
    for kind in left:
        np.testing.assert_array_equal(told[Picture, kind].image, left[kind])
        for part, wanted in zip((told[Track, kind].vectors, told[Track, kind].actions), tracks[kind], strict=True):
            np.testing.assert_array_equal(part, wanted)
            assert part.dtype == wanted.dtype
    store.journal.save_pictures(
        {"real": np.zeros(3, np.uint8), "dream": np.zeros((2, 2, 3), np.float32), "reconstruction": left["real"]},
        {"real": (np.ones((6, 4)), np.arange(4)), "dream": (np.ones(6), np.arange(5))},
    )
    pictures, damaged = store.journal.pictures()
    assert (list(pictures), damaged) == (["reconstruction"], {})
    (store.path / "pictures.safetensors").write_bytes(b"nonsense")
    assert store.journal.pictures() == ({}, {})


def test_an_older_process_own_beginning_is_not_shown_again(store):
    for event in (EVENTS[0], Message("long ago"), RunFinished("tiny", "interrupted", None, None), EVENTS[0], EVENTS[4]):
        store.journal.append(stamped(event))
    state, _ = so_far(store, Log(store))
    assert [note.text for note in state.notes] == ["hello"]
    assert state.reason is None
    store.journal.append(stamped(EVENTS[5]))
    assert so_far(store, Log(store))[0].reason == EVENTS[5].reason


#: What times of events are counted back from: one moment, however slowly the tests go.
NOW = datetime.datetime.now(datetime.UTC)


def written(store, events, ages):
    """Write events to a run's log as if that had been so many seconds ago."""
    for event, age in zip(events, ages, strict=True):
        when = NOW - datetime.timedelta(seconds=age)
        store.journal.append({**stamped(event), "time": when.isoformat()})


def test_work_counts_to_the_latest_record_and_not_the_time_between_processes(store):
    written(store, [EVENTS[0], EVENTS[4]], [9000, 8000])  # nothing of it was committed
    written(store, [replace(EVENTS[0], resumed=True), EVENTS[4]], [5000, 4877])
    assert "2:03 of work" in wmloop("watch", "tiny", runs=store.path.parent).output
    written(store, [EVENTS[5]], [4757])
    assert "4:03 of work" in wmloop("watch", "tiny", runs=store.path.parent).output


def test_work_of_a_process_that_ended_is_kept_when_the_next_one_starts():
    state = ViewState(WORLD_MODEL, spent=10.0)
    for event, at in ((EVENTS[0], 100.0), (EVENTS[5], 130.0)):
        state = reduce(state, event, at)
    assert state.worked(999.0) == 40.0
    assert reduce(state, EVENTS[0], 1000.0).worked(1005.0) == 45.0


@pytest.mark.parametrize(("reason", "said"), [("interrupted", "is stopped"), ("iterations", "has ended")])
def test_watch_says_whether_a_run_was_stopped_or_came_to_its_end(store, reason, said):
    written(store, [EVENTS[0], RunFinished("tiny", reason, None, None), Resources(1, 1)], [30, 20, 20])
    assert f"the run tiny {said}" in wmloop("watch", "tiny", runs=store.path.parent).stderr


def test_what_a_log_says_commands_no_terminal():
    record = {"event": "Message", "text": "a\x1b]0;b\x07\u202ec\nd\xa0e\U0001f469\u200d\U0001f680", "level": "info"}
    assert events.from_record(record).text == "a\ufffd]0;b\ufffd\ufffdc\nd\xa0e\U0001f469\u200d\U0001f680"


def test_a_run_that_nobody_trains_is_its_last_event_as_json_lines(store):
    store.journal.append(stamped(RunFinished("tiny", "iterations", None, None)))
    told = wmloop("watch", store.name, "--progress", "json", runs=store.path.parent).stdout
    assert [json.loads(line)["event"] for line in told.splitlines()] == ["RunFinished"]


def test_a_run_that_was_taken_up_again_is_watched_though_its_log_still_ends_with_an_end(store, monkeypatch):
    for event in (EVENTS[0], EVENTS[5]):
        store.journal.append(stamped(event))
    told = iter(["process 1", "process 1", None, None, None])
    monkeypatch.setattr(Store, "holder", lambda self: next(told))
    done = wmloop("watch", "tiny", "--progress", "plain", runs=store.path.parent)
    assert done.exit_code == 0
    assert "has ended" not in done.output


def test_a_line_that_is_being_written_waits_for_its_end(store):
    store.journal.append(stamped(EVENTS[0]))
    log = Log(store)
    assert len(log.records()) == 1
    line = json.dumps(stamped(EVENTS[4])).encode() + b"\n"
    with (store.path / "events.jsonl").open("ab") as file:
        file.write(line[:10])
        file.flush()
        assert log.records() == []
        file.write(line[10:])
    assert [record["text"] for record in log.records()] == ["hello"]


def test_a_run_that_nobody_trains_is_said_to_be_so(store):
    done = wmloop("watch", "tiny", runs=store.path.parent)
    assert done.exit_code == 0
    assert "not being trained" in done.output
    assert "wmloop resume tiny" in done.output


def test_a_run_in_another_process_is_watched_to_its_end(tmp_path):
    settings_file = tmp_path / "tiny.toml"
    settings_file.write_text(to_toml(build_config("smoke", tiny_config(), {"budget": {"iterations": 1}, "seed": 1})))
    process = launch(["start", "tiny", "--config", str(settings_file)], tmp_path)
    try:
        while not (tmp_path / "tiny" / "lock.json").exists():
            assert process.poll() is None
            time.sleep(0.02)
        assert f"process {process.pid}" in Store.open(tmp_path / "tiny").holder()
        done = wmloop("watch", "tiny", "--progress", "plain", runs=tmp_path)
    finally:
        process.communicate(timeout=120)
    assert done.exit_code == 0
    assert "run tiny ended: all iterations are done" in done.output or "has ended" in done.output
    assert Store.open(tmp_path / "tiny").holder() is None
    pictures, tracks = Store.open(tmp_path / "tiny").journal.pictures()
    assert (set(pictures), set(tracks)) == ({"real", "reconstruction", "dream"}, {"real", "dream"})


def test_a_holder_that_was_killed_holds_nothing(store):
    with store.lock():
        assert f"process {os.getpid()}" in store.holder()
    assert store.holder() is None
    gone = {"pid": 2**22 + 1, "host": socket.gethostname()}  # beyond the largest there can be
    (store.path / "lock.json").write_text(json.dumps(gone))
    assert store.holder() is None
    (store.path / "lock.json").write_text(json.dumps(gone | {"pid": 2**80}))
    assert store.holder() is None
    (store.path / "lock.json").write_text("not json")
    assert store.holder() is None


# ---- config


def test_every_setting_is_explained_with_its_default_and_what_presets_have():
    told = {setting.name: setting for setting in explain()}
    assert told.keys() == settings(build_config("laptop")).keys()
    assert all(setting.meaning for setting in told.values())
    configs = {preset: build_config(preset, {"env": {"id": "any"}}) for preset in PRESETS}
    configs |= {name: build_config("laptop", {"env": {"id": name}}) for name in PROFILES.names()}
    for preset, config in configs.items():
        for name, value in settings(config).items():
            if name not in ("preset", "env.id"):
                assert told[name].presets.get(preset, told[name].default) == value


def test_a_preset_that_sets_the_default_is_named_because_it_holds_over_a_profile():
    told = {setting.name: setting for setting in explain()}
    assert told["env.action_repeat"].presets["paper"] == told["env.action_repeat"].default == 1
    assert build_config("laptop").env.action_repeat == 4
    assert build_config("paper").env.action_repeat == 1
    assert "smoke" not in told["env.action_repeat"].presets


def test_words_choose_settings_and_a_typo_is_answered_with_the_nearest():
    assert [setting.name for setting in explain("memory.hidden_size")] == ["memory.hidden_size"]
    assert all(setting.name.startswith("dream.") for setting in explain("dream"))
    assert {setting.name for setting in explain("learning_rate")} > {"memory.learning_rate", "vision.learning_rate"}
    with pytest.raises(UsageError, match=r"did you mean 'memory.hidden_size'"):
        explain("memory.hiden")


def test_settings_are_listed_with_their_meanings_in_80_columns_and_each_group_once():
    done = wmloop("settings")
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    groups = re.findall(r"^\[(.*)\]$", done.output, re.M)
    assert len(groups) == len(set(groups))
    told = json.loads(wmloop("settings", "num_envs", "--json").output)["settings"]
    assert told["env.num_envs"]["default"] == settings(build_config("laptop"))["env.num_envs"]


def test_config_shows_what_a_run_has_that_its_preset_has_not(store):
    done = wmloop("config", "tiny", runs=store.path.parent)
    assert done.exit_code == 0
    own = build_config("smoke", tiny_config())
    preset = settings(build_config("smoke", {"env": {"id": own.env.id}})) | {"env.id": RunConfig().env.id}
    differing = {name for name, value in settings(own).items() if value != preset[name]} | {"pipeline", "env.id"}
    told = json.loads(wmloop("config", "tiny", "--json", runs=store.path.parent).stdout)["settings"]
    assert told.keys() == differing
    assert f"  id = {own.env.id}  (default: CarRacing-v3)\n" in done.stdout
    assert f"the other {len(preset) - len(differing)} settings are those of preset smoke;" in done.stderr
    name = sorted(differing - {"env.id", "pipeline"})[0]
    assert told[name] == {
        "value": json.loads(json.dumps(settings(own)[name])),
        "preset": json.loads(json.dumps(preset[name])),
    }
    everything = json.loads(wmloop("config", "tiny", "--all", "--json", runs=store.path.parent).stdout)["settings"]
    assert everything.keys() == settings(own).keys()


def test_what_config_once_was_asked_for_is_told_with_its_new_name(store):
    for words in (["config", "memory.hidden_size"], ["config", "learning_rate"]):
        done = wmloop(*words, runs=store.path.parent)
        assert done.exit_code == 0
        assert done.stdout == wmloop("settings", words[1]).stdout
        assert done.stderr.startswith("note: config WORD is called settings WORD now")
    done = wmloop("config", "--run", "tiny", runs=store.path.parent)
    assert done.stdout == wmloop("config", "tiny", runs=store.path.parent).stdout
    assert done.stderr.startswith("note: config --run NAME is called config NAME now\n")
    assert wmloop("config", "memory.hiden", runs=store.path.parent).exit_code == 2


# ---- doctor


def test_a_machine_that_runs_the_tests_has_nothing_bad(tmp_path):
    found = dict(doctor.examine(tmp_path / "runs" / "deeper"))
    assert [finding for finding in found.values() if finding.verdict == "bad"] == []
    assert found.keys() == doctor.LOOKS.keys()
    assert all(finding.advice for finding in found.values() if finding.verdict != "good")
    assert not any(tmp_path.iterdir())


def test_what_falls_short_is_said_with_advice_and_the_exit_code(tmp_path, monkeypatch):
    def broken(runs):
        raise RuntimeError("no such thing")

    monkeypatch.setitem(doctor.LOOKS, "environment", broken)
    monkeypatch.setattr(machine, "memory_available", lambda: 10**9)
    done = wmloop("doctor", runs=tmp_path)
    assert done.exit_code == DOCTOR_FOUND != 1
    assert "BAD   environment: RuntimeError: no such thing" in done.output
    assert "--set vision.frame_cache" in done.output
    told = json.loads(wmloop("doctor", "--json", runs=tmp_path).output)
    assert {finding["subject"]: finding["verdict"] for finding in told["findings"]}["environment"] == "bad"


def test_a_folder_that_cannot_be_written_is_bad(tmp_path, monkeypatch):
    def refuse(path, data):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("wmloop.store.atomic.write_file", refuse)
    finding = doctor.LOOKS["disk"](tmp_path)
    assert finding.verdict == "bad"
    assert "--runs DIR" in finding.advice


# ---- completion


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("wmloop play ti", {"tiny"}), ("wmloop play d", {"demo"}), ("wmloop play ", {"tiny", "demo"}),
        ("wmloop report demo ti", {"tiny"}), ("wmloop start --set memory.hid", {"memory.hidden_size="}),
        ("wmloop settings controller.clip", {"controller.clip_coef"}), ("wmloop wat", {"watch"}),
        ("wmloop config ti", {"tiny"}), ("wmloop fork ti", {"tiny"}),
    ],
)  # fmt: skip
def test_the_shell_completes_runs_settings_and_commands(store, words, wanted, monkeypatch, capsys):
    asked = {"_WMLOOP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    for name, value in {**asked, "WMLOOP_RUNS": str(store.path.parent)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        app(prog_name="wmloop")
    assert set(capsys.readouterr().out.split()) == wanted
