"""`wmloop study`: the file, the tasks, what survives a kill, the page."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import random
import re
import shutil
import signal
import statistics
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from tests.commands import wmloop
from tests.processes import ROOT, Process
from tests.tiny_env import tiny_config
from wmloop.config.text import toml_value
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.events import VersionCommitted
from wmloop.history import History
from wmloop.opening import history_of, stored_config
from wmloop.pipelines.pipeline import Pipeline
from wmloop.pipelines.vanilla_ppo import VANILLA_PPO
from wmloop.store import Store
from wmloop.store.lock import run_lock
from wmloop.study.figures import curves
from wmloop.study.file import read_study
from wmloop.study.limits import UsedUp
from wmloop.study.page import page
from wmloop.study.program import words_of
from wmloop.study.results import Final, Point, Result, chosen, points_of, read_lines
from wmloop.study.statistics import summarise
from wmloop.study.table import Table
from wmloop.study.task import tasks
from wmloop.study.words import plain

PROGRAM = "{python} -m tests.a_program --seed {seed} --episodes {episodes} --to {to}"
HEAD = "seeds = [1, 2]\nframes = 400\nminutes = 1\nepisodes = 6\nfinished = 100\n"
TWO = f'{HEAD}\n[[row]]\nname = "A"\ncommand = "{PROGRAM}"\n\n[[row]]\nname = "B"\nabout = "more steps"\n' \
      f'command = "{PROGRAM} --steps 6"\n'  # fmt: skip
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def written(folder, text, name="two.toml"):
    (folder / name).write_text(text)
    return folder / name


def table(path):
    """Return the lines of a study's CSV without what the clock says."""
    lines = csv.DictReader(io.StringIO(path.read_text()))
    return [{name: value for name, value in line.items() if name != "minutes"} for line in lines]


def as_toml(settings, path):
    """Return nested settings as tables of TOML."""
    own = [f"{name} = {toml_value(value)}" for name, value in settings.items() if not isinstance(value, dict)]
    below = [as_toml(value, f"{path}.{name}") for name, value in settings.items() if isinstance(value, dict)]
    return "\n".join([f"[{path}]", *own, *below])


# ---- the file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'seeds' is missing|no [[row]]"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\nsetings = {}', "line 3, row 1: unknown key 'setings' (did you mean"),
        ('seeds = [1]\nframes = 9\n\n[[row]]\nname = "a"\nsettings = {dream.horizons = 3}', "line 4, row 1 (a): .*horizon"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\n[[row]]\nname = "a"', "line 5, row 2 (a): there are two rows"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a/b"', "row 1: 'a/b' cannot name"),
        ('seeds = [1]\n[[row]]\nname = "a"', "neither 'frames' nor 'minutes'"),
        ('seeds = [1, 1]\nframes = 9\n[[row]]\nname = "a"', "'seeds' is [1, 1], but it takes a list of different"),
        ('seeds = [1]\nframes = 0\n[[row]]\nname = "a"', "'frames' is 0, but it takes a whole number from 1 on"),
        ('seeds = [1]\nframes = true\n[[row]]\nname = "a"', "'frames' is True"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\nsettings = {seed = 3}', "its settings have 'seed', which is the"),
        ('seeds = [1]\nframes = 9\n[settings]\nbudget.goal = 3\n[[row]]\nname = "a"', "[settings] have 'budget'"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\nsettings = {pipeline = "nn"}', "row 1 (a): .*'nn'"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {to} {sed}"', "{sed} (did you mean 'seed'?)"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {seed}"', "has no {to}"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {to}"\nsettings.seed = 1', "a command and settings"),
        ('seeds = [1]\nframes = 9\n[row]\nname = "a"', "write [[row]] above each"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\n[[published]]\nname = "b"\nscore = 3', "line 5, published 1: 'source'"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\nsettings = {store.keep_every = 9}', "'store.keep_every', which is the"),
        ('seeds = [1]\nframes = 9\n[settings]\nstore.keep_every = 1\n[[row]]\nname = "a"', "have 'store.keep_every'"),
        ('seeds = [1]\nframes = 9\n[settings]\nenv = 5\n[[row]]\nname = "a"\ncommand = "x {to}"', "'env' is a group"),
        ('seeds = [1]\nframes = 9\n[settings]\nenv = 5\n[[row]]\nname = "a"\ncommand = "x {to}"\n'
         '[[row]]\nname = "b"\nsettings = {env = {id = "CartPole-v1"}}', "row 1 (a): 'env' is a group"),
        ('seeds = [1]\nframes = 9\n[settings]\nenv.idd = "x"\n[[row]]\nname = "a"\ncommand = "x {to}"', "mean 'env.id'"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {to:>5}"', "it takes its name alone, {to}"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {to!r}"', "it takes its name alone, {to}"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {seed:{bogus}} {to}"', "it takes its name alone, {seed}"),
        ("seeds = [1]\nframes = 9\n[[row]]\nname = 'a'\ncommand = 'x {to} \"'", "cannot be read"),
        ('seeds = [1]\nframes = 1' + 400 * "0" + '\n[[row]]\nname = "a"', "it takes a whole number from 1 on"),
        ('seeds = [1]\nminutes = 1' + 400 * "0" + '\n[[row]]\nname = "a"', "it takes a number above 0"),
        ('about = """\n[[row]]\n"""\nseeds = [1]\nframes = 9\n[[row]]\nname = "a"\nsets = 1', "line 6, row 1: unknown key"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\n[[published]]\nname = "b"\nsource = "c"\nstd = -5', "'std' is -5"),
        ('seeds = [1] # """\nframes = 9\n[[row]]\nname = "a" # """\n[[row]]\nname = "#b"\nx = 1', "line 5, row 2: unknown key"),
        ("seeds = [1]\nframes = 9\nabout = '''\n[[row]]\n# '''\n[[row]] # '''\nname = 'a'\nx = 1", "line 6, row 1: unknown"),
        ('seeds = [1]\nframes = 9\nabout = """\\"""\n[[row]]\n"""\n[["row"]]\nname = "a"\nx = 1', ".toml, row 1: unknown key"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\ncommand = "x {to} \\u0000"', "(a): the command has a character 0"),
        (f'seeds = [1]\nframes = 9\n[settings]\n{".".join(3000 * "a")} = 1\n[[row]]\nname = "a"', "more than 50 tables"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\n[[row]]\nname = "b"\n[settings]\ndream.horizon = 3',
         "row 2 (b): it has the settings of row a"),
        ('[settings]\ndream.horizon = 3\nseeds = [1]\nframes = 9\n[[row]]\nname = "a"', "'seeds' stands below [settings]"),
        ('frames = 9\n[[row]]\nname = "a"\nseeds = [1]', "row 1: unknown key 'seeds': it is the study's"),
        ('env.id = "CartPole-v1"', "unknown key 'env': it is a setting"),
        ('seeds = [1]\nframes = 9\n[settings]\ndream.horizon = 3\n[[row]]\nname = "a"\n[[row]]\nname = "b"\n'
         'settings.pipeline = "vanilla-ppo"', "row 2 (b): unknown setting 'dream'.*[settings] has it, for every row"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\nsettings."dream.horizon" = 3', "without quotes"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\nabout = ""', "'about' is '', but it takes a text that is not empty"),
        ('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\n[[published]]\nname = "b"\nsource = "c"\nframes = [1]',
         "'frames' is [1], but it takes a number or a text"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_place_before_anything_is_there(text, said, tmp_path):
    refused = wmloop("study", written(tmp_path, text), runs=tmp_path / "runs")
    assert refused.exit_code == 2
    told = " ".join(refused.stderr.split())
    assert any(re.search(re.escape(one).replace(r"\.\*", ".*"), told) for one in said.split("|")), told
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('settings = {env.id = "Nothing-v0"}', "line 6, row 1 (a): .*Nothing-v0"),
        ('settings = {env.id = "CartPole-v1", pipeline = "vanilla-ppo"}', "row 1 (a): .*vanilla-ppo"),
        ('command = "no-such-program {to}"', "row 1 (a): there is no program 'no-such-program'"),
        ('settings = {env.id = "CartPole"}', "row 1 (a): env.id names no version: write 'CartPole-v1'"),
    ],
)
def test_a_row_that_cannot_be_performed_is_refused_before_any_other_is(row, said, tmp_path):
    text = f'{HEAD}[[row]]\nname = "a"\n{row}\n[[row]]\nname = "b"\ncommand = "{PROGRAM}"\n'
    refused = wmloop("study", written(tmp_path, text), runs=tmp_path)
    assert refused.exit_code == 2
    assert re.search(re.escape(said).replace(r"\.\*", ".*"), " ".join(refused.stderr.split())), refused.stderr
    assert not (tmp_path / "two" / "tasks").exists()


@pytest.mark.parametrize(
    ("file", "said"), [("my study.toml", "begin it with name ="), ("demo.toml", "comes with wmloop")]
)
def test_a_file_whose_name_cannot_be_a_study_s_is_refused(file, said, tmp_path):
    refused = wmloop("study", written(tmp_path, TWO, file), runs=tmp_path / "runs")
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
    assert not (tmp_path / "runs").exists()
    assert wmloop("study", written(tmp_path, f'name = "s"\n{TWO}', file), "--page-only", runs=tmp_path).exit_code == 0


def test_every_row_is_tried_and_each_environment_is_driven_once(tmp_path, monkeypatch):
    driven, tried = [], []
    monkeypatch.setattr(
        "wmloop.envs.check_environment", lambda env, heard: driven.append(env.id) or ([], None, "a", "o")
    )

    def fits(config, actions, observations):
        assert (actions, observations) == ("a", "o")
        tried.append(config.dream.horizon)
        if config.dream.horizon == 4:
            raise UsageError("it contradicts itself")

    resolve = Pipeline.resolve
    monkeypatch.setattr(Pipeline, "resolve", lambda self, name: fits if name == "fits" else resolve(self, name))
    rows = "".join(f'[[row]]\nname = "h{horizon}"\nsettings = {{dream.horizon = {horizon}}}\n' for horizon in (2, 3, 4))
    refused = wmloop("study", written(tmp_path, HEAD + rows), runs=tmp_path / "runs")
    assert refused.exit_code == 2, refused.output
    assert re.search(r"row 3 \(h4\): it contradicts itself", " ".join(refused.stderr.split()))
    assert (driven, tried) == (["CarRacing-v3"], [2, 3, 4])
    assert list((tmp_path / "runs").iterdir()) == []  # nothing is left of a study that was refused


def test_what_a_row_asks_of_this_machine_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("wmloop.starting.on_this_machine", lambda config: (_ for _ in ()).throw(UsageError("no GPU")))
    refused = wmloop("study", written(tmp_path, f'{HEAD}[[row]]\nname = "a"\n'), runs=tmp_path / "runs")
    assert (refused.exit_code, "row 1 (a): no GPU" in refused.stderr) == (2, True), refused.output


def test_every_agent_of_a_row_is_kept_also_in_a_study_that_was_begun_otherwise(tmp_path):
    text = f'{HEAD}[[row]]\nname = "a"\nsettings = {{store.keep_last = 5}}\n'
    (task, _) = tasks(read_study(written(tmp_path, text)), tmp_path / "two")
    store = task.study.config(task.row, 1).store
    assert (store.keep_every, store.keep_last) == (1, 5)
    task.begin()
    asked = json.loads((task.place / "task.json").read_text())
    asked["settings"]["store"] = {"keep_every": 10}
    (task.place / "task.json").write_text(json.dumps(asked))
    assert task.require_same()


def test_a_row_has_the_common_settings_under_its_own(tmp_path):
    text = 'seeds = [3]\nframes = 9\n[settings]\npreset = "smoke"\ndream.horizon = 4\nmemory.hidden_size = 32\n' \
           '[[row]]\nname = "a"\nsettings = {dream.horizon = 7}\n[[row]]\nname = "b"'  # fmt: skip
    study = read_study(written(tmp_path, text))
    first, second = (study.config(row, 3) for row in study.rows)
    assert (first.dream.horizon, second.dream.horizon) == (7, 4)
    assert first.memory.hidden_size == second.memory.hidden_size == 32
    assert (first.preset, first.seed, first.budget.goal, first.budget.hours) == ("smoke", 3, None, None)


# ---- limits


def told(rows):
    """Return a run's history, of versions that are metrics and seconds alone: frames, seconds and score of each iteration."""
    versions = []
    for iteration, (frames, seconds, score) in enumerate(rows):
        learnt, scored = {"frames": frames}, {"score": score, "frames": 10.0}
        versions.append(SimpleNamespace(iteration=iteration, stage="learner", seconds=seconds, metrics=learnt))
        versions.append(SimpleNamespace(iteration=iteration, stage="evaluate", seconds=1.0, metrics=scored))
    return History(SimpleNamespace(versions=lambda: versions), VANILLA_PPO)


def test_the_agent_at_a_limit_is_the_best_of_the_evaluations_until_then():
    history = told([(100, 59, 5.0), (100, 59, 9.0), (100, 59, 7.0), (100, 59, 20.0)])
    assert [point[:3] for point in points_of(history).values()] == [
        (100, 10, 60), (200, 20, 120), (300, 30, 180), (400, 40, 240),
    ]  # fmt: skip
    assert [chosen(history, "frames", limit) for limit in (99, 100, 250, 399, 400)] == [None, 0, 1, 1, 3]
    assert [chosen(history, "minutes", limit) for limit in (0.5, 1, 3, 4)] == [None, 0, 1, 3]


def test_a_run_goes_on_until_both_limits_are_used_up():
    rows = [(100, 59, 5.0), (150, 59, 9.0)]
    for limits, seconds, used in (
        ({"frames": 250}, 0, True), ({"frames": 251}, 0, False), ({"frames": 249}, 0, True), ({"minutes": 2}, 120, True),
        ({"minutes": 2}, 119, False), ({"frames": 200, "minutes": 3}, 120, False), ({"frames": 300, "minutes": 1}, 120, False),
        ({"frames": 200, "minutes": 1}, 120, True),
    ):  # fmt: skip
        assert UsedUp(limits, told(rows), seconds)() is used, (limits, seconds)


def test_a_run_ends_as_soon_as_it_has_collected_more_than_it_may_use():
    used_up = UsedUp({"frames": 300}, told([(100, 1, 1.0)]), 0)
    used_up.report(VersionCommitted(1, "learner", {"frames": 200.0}, 0, 1.0))
    assert not used_up()  # exactly what it may use, and not scored yet
    used_up.report(VersionCommitted(1, "evaluate", {"score": 1.0}, 0, 1.0))
    assert used_up()
    used_up = UsedUp({"frames": 300}, told([(100, 1, 1.0)]), 0)
    used_up.report(VersionCommitted(1, "learner", {"frames": 201.0}, 0, 1.0))
    assert used_up()


def test_minutes_are_those_that_the_points_of_a_run_are_told_with():
    used_up = UsedUp({"minutes": 2}, told([(100, 59, 1.0)]), 600)  # so long, with all that no stage has worked
    assert used_up()
    used_up.report(VersionCommitted(1, "learner", {"frames": 1.0}, 0, 5.0))
    assert not used_up()  # an evaluation that came now would count


# ---- other programs


def test_what_is_stored_of_a_result_is_read_back():
    result = Result(
        [Point(1, 2, 3, 4)], {"frames": Final(1, 2, 3, [4.0, 5.0], 6.0, None), "minutes": None}, {"cpu": "x"}
    )
    assert Result.of(json.loads(json.dumps(result.record))) == result


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "line 2"),
        ("[1]", "line 2"),
        ('{"frames": 1, "score": 2}', "seconds"),
        ('{"frames": 1, "seconds": 1, "limit": "frames", "scores": [1.0]}', "has 1 final scores .* not 3"),
        ('{"frames": 1, "seconds": 1, "score": 2}', "no final scores for the limit 'frames'"),
        ('{"frames": 1' + 400 * "0" + ', "seconds": 1, "score": 2}', "line 2"),
        ('{"frames": 1, "seconds": 1, "score": NaN}', "line 2.*no finite number"),
        ('{"frames": 1, "seconds": 1, "limit": "frames", "scores": [1.0, 2.0, Infinity]}', "line 2.*no finite number"),
        ('{"made": {"cores": [1]}}', "line 2.*'cores' of 'made' has to be a whole number"),
        ('{"made": {"cpu": 5}}', "line 2.*'cpu' of 'made' has to be a text"),
        ('{"made": {"loss": NaN}}', "line 2"),
        (100_000 * "[", "line 2"),
        (
            '{"frames": 99, "seconds": 1, "limit": "frames", "scores": [1, 2, 3]}',
            "not one of the limit 'frames', which is 9",
        ),
        ('{"frames": 1, "seconds": 601, "limit": "minutes", "scores": [1, 2, 3]}', "not one of the limit 'minutes'"),
        ('{"frames": -1, "seconds": 1, "score": 2}', "line 2.*frames is -1, below 0"),
        ('{"frames": 1, "seconds": -1, "limit": "frames", "scores": [1, 2, 3]}', "line 2.*seconds is -1, below 0"),
        ('{"frames": 1, "seconds": 1, "limit": "frames", "scores": "123"}', "line 2.*no list"),
        ('{"frames": 1, "seconds": 1, "limit": "frames", "scores": {"1": 2}}', "line 2.*no list"),
        ('{"frames": 1, "seconds": 1, "limit": "frames", "scores": [1, true, "3"]}', "line 2.*no finite number"),
        ('{"made": {"cpu": "A \\udcff"}}', "line 2.*surrogates not allowed"),
        ('{"made": {}, "frames": 2, "seconds": 2, "score": 2}', "line 2.*'made' stands on a line of its own"),
        ('{"frames": 0, "seconds": 2, "score": 2}', "line 2.*'frames' is less than that of the point before"),
        ('{"frames": 2, "seconds": 0.5, "score": 2}', "line 2.*'seconds' is less than that of the point before"),
        (
            '{"frames": 2, "seconds": 2, "score": 2, "evaluations": 5}',
            "line 2.*'evaluations'.*did you mean 'evaluated'",
        ),
        (
            '{"frames": 2, "seconds": 2, "limit": "frames", "scores": [1, 2, 3], "score": 2}',
            "line 2.*unknown key 'score'",
        ),
        ('{"made": {"cores": true}}', "line 2.*'cores' of 'made' has to be a whole number"),
        ("\n", "line 2"),
        (
            2 * '{"frames": 1, "seconds": 1, "limit": "frames", "scores": [1, 2, 3]}\n',
            "line 3.*second line for the limit",
        ),
    ],
)
def test_what_a_program_wrote_wrongly_is_refused_with_its_line(line, said, tmp_path):
    path = tmp_path / "scores"
    path.write_text('{"frames": 1, "seconds": 1, "score": 2}\n' + line + "\n")
    with pytest.raises(StoreCorruptError, match=said):
        read_lines(path, {"frames": 9.0, "minutes": 10.0}, 3)


WHOLE = {"points": [], "finals": {"frames": None, "minutes": None}, "made": {}}
FINAL = {"frames": 1, "evaluated": 1, "seconds": 1, "predicted": None, "real": None}


@pytest.mark.parametrize(
    ("file", "holds"),
    [
        ("task.json", [1]), ("task.json", "text"), ("result.json", [1]), ("result.json", {}),
        ("result.json", WHOLE | {"finals": {}}),
        *(("result.json", WHOLE | {"finals": {"frames": FINAL | {"scores": scores}, "minutes": None}})
          for scores in ([], "x", [1.0], 6 * ["x"], None)),
        ("result.json", WHOLE | {"points": [{"frames": "x", "evaluated": 1, "seconds": 1, "score": 1}]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", [[], ["--page-only"]])
def test_a_damaged_file_of_a_task_is_named_with_what_to_do(file, holds, words, tmp_path):
    asked = written(tmp_path, TWO)
    (task, *_) = tasks(read_study(asked), tmp_path / "two")
    task.begin()
    (task.place / file).write_text(json.dumps(holds))
    refused = wmloop("study", asked, *words, runs=tmp_path)
    assert refused.exit_code == 65, refused.output
    assert str(task.place / file) in refused.stderr.replace("\n", "")
    moved, called = (task.place, task.place) if file == "task.json" else (task.place / file, "it")
    assert f"move {called} elsewhere" in " ".join(refused.stderr.split())
    moved.rename(tmp_path / "elsewhere")
    assert wmloop("study", asked, "--page-only", runs=tmp_path).exit_code == 0


def test_what_a_program_said_of_itself_breaks_no_page(tmp_path):
    (task, *others) = tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")
    results = {task: Result([], {}, {"cores": [1], "git": 3, "cpu": {}})} | dict.fromkeys(others)
    assert Table(task.study, results).cores == []
    assert "Made with" not in page(Table(task.study, results), "wmloop study", {}, "two.csv")


def test_runs_on_processors_that_differ_are_told_apart(tmp_path):
    one, two, *others = tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")
    for second in ("family 25, model 17", None):
        made = [{"cpu": "AMD EPYC", "cpu_model": "family 26, model 2"}, {"cpu": "AMD EPYC", "cpu_model": second}]
        results = {one: Result([], {}, made[0]), two: Result([], {}, made[1])} | dict.fromkeys(others)
        said = page(Table(one.study, results), "wmloop study", {}, "two.csv")
        assert "Made with AMD EPYC; family 26, model 2 (A 1)" in said
        assert ("family 25, model 17 (B 1)" in said) == (second is not None)
        assert "Compare minutes of one model of processor alone" in said
    alike = {one: Result([], {}, made[0]), two: Result([], {}, made[0])} | dict.fromkeys(others)
    said = page(Table(one.study, alike), "wmloop study", {}, "two.csv")
    assert "Made with AMD EPYC; family 26, model 2." in said
    assert "Compare minutes" not in said


def test_a_study_with_one_limit_has_its_curves_against_frames_and_minutes(tmp_path):
    every = tasks(read_study(written(tmp_path, TWO.replace("minutes = 1\n", ""))), tmp_path / "two")
    points = [Point(100, 0, 6, 1), Point(400, 0, 60, 2)]
    table = Table(every[0].study, dict.fromkeys(every, Result(points, {"frames": Final(400, 0, 60, [2.0] * 6)}, {})))
    told = page(table, "wmloop study", {"frames": "two-frames.svg", "minutes": "two-minutes.svg"}, "two.csv")
    assert "(two-frames.svg)" in told
    assert "(two-minutes.svg)" in told
    assert "## At 1 minute" not in told
    assert curves(table, "minutes").rstrip().endswith("</svg>")


def test_minutes_of_two_models_of_processor_get_no_difference(tmp_path):
    text = TWO + f'[[row]]\nname = "C"\ncommand = "{PROGRAM}"\n[settings]\nenv.id = "Pendulum-v1"\n'
    every = tasks(read_study(written(tmp_path, text)), tmp_path / "two")
    final = Final(1, 1, 1, [1.0, 2, 3, 4, 5, 6])

    def differences(models):
        made = {name: {"cpu_model": model} if model else {} for name, model in models.items()}
        finals = {"frames": final, "minutes": final}
        table = Table(every[0].study, {one: Result([], finals, made.get(one.row.name, {})) for one in every})
        said = page(table, "wmloop study", {}, "two.csv")
        return [line.row.name for line in table.lines("minutes") if line.difference], said

    apart, said = differences({"A": "family 25, model 17", "B": "family 26, model 2"})
    assert apart == ["C"], "what a program ran on, it need not tell"
    assert said.count("on another model of processor or GPU than the first row, so without a difference: B.") == 1
    assert differences({"A": "family 26, model 2", "B": "family 26, model 2"})[0] == ["B", "C"]
    assert differences({})[0] == ["B", "C"]


def test_a_run_that_went_on_with_other_cores_or_code_is_told_with_both(tmp_path):
    (task, *others) = tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")
    models = [{"cpu_model": f"family 26, model {model}"} for model in (2, 17)]
    sessions = [{"cores": 1, "git": "a" * 40} | models[0], {"cores": 4, "git": "b" * 40 + "+changes"} | models[1]]
    sessions += [{"git": None}, 3]
    results = {task: Result([], {}, sessions[0] | {"sessions": sessions})} | dict.fromkeys(others)
    said = page(Table(task.study, results), "wmloop study", {}, "two.csv")
    assert "on 1 to 4 cores a run: those of different runs cannot be compared" in said
    assert "`aaaaaaa` (A 1), `bbbbbbb+changes` (A 1); " in said
    assert "`+changes`: files differed from that commit." in said
    assert "family 26, model 2 (A 1); family 26, model 17 (A 1)" in said
    assert "Compare minutes of one model" in said


def test_the_page_tells_rows_apart_by_an_interval_and_what_is_missing_where_it_ranks(tmp_path):
    text = TWO.replace("episodes = 6", "episodes = 8").replace("seeds = [1, 2]", "seeds = [1, 2, 3]")
    text += f'[[row]]\nname = "C"\ncommand = "{PROGRAM}"\n[[row]]\nname = "D"\nsettings.env.id = "Pendulum-v1"\n'
    every = tasks(read_study(written(tmp_path, text)), tmp_path / "two")
    hard = np.linspace(-50, 50, 8)  # of the episodes, for every agent
    above, gaps, commits = (
        {"A": 0, "B": -10, "C": 0.0, "D": 90},
        {1: 30.0, 2: -60.0, 3: 2.0},
        {1: "a" * 40, 2: "b" * 40},
    )

    def result(task):
        if task.row.name == "C" and task.seed != 1:
            return None
        scores = (200 + above[task.row.name] + hard + task.seed).tolist()
        final = Final(1, 1, 1, scores, 7.0 + gaps[task.seed], 7.0)
        return Result([], {"frames": final, "minutes": final}, {"git": commits.get(task.seed, commits[1]), "cpu": "X"})

    table = Table(every[0].study, {task: result(task) for task in every})
    told = page(table, "wmloop study", {}, "two.csv")
    a, b, c, d = table.lines("frames")
    assert b.difference[:2] == ("A", pytest.approx(-10))
    assert -12 - 1e-9 <= b.difference.low < -10 < b.difference.high <= -8 + 1e-9  # seeds are 1 to 3 above their row
    assert (a.difference, c.difference, d.difference) == (None, None, None)  # first, one seed, another environment
    assert re.search(r"\| B \| 3 \|.* \| -10\.0 \(-1[12]\.\d to -[89]\.\d\) \|", told)
    assert "Interquartile mean at 400 real frames: A 202.0, C 201.0 (1 of 3 seeds), B 192.0; D 292.0." in told
    assert "| -60.0 to +30.0 |" in told
    assert "## At 1 minute\n" in told
    assert (
        "Made with commits `aaaaaaa` (A 1 3, B 1 3, C 1, D 1 3), `bbbbbbb` (A 2, B 2, D 2); X. In brackets the rows"
        in told
    )
    rows = {line["row"]: line for line in csv.DictReader(io.StringIO(table.csv())) if line["kind"] == "row"}
    assert (rows["B"]["against"], float(rows["B"]["difference"])) == ("A", pytest.approx(-10, abs=1e-3))
    assert float(rows["B"]["low_difference"]) == pytest.approx(b.difference.low, abs=1e-3)
    assert rows["A"]["against"] == ""


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ([0.86, 0.94, 0.9], ["0.9000"]), ([-1.0, 0.0, 0.0012], ["-0.33", "-1.00"]), ([0.0, 0.0, 0.0], ["0.0"]),
        ([-0.004, 0.0, 0.004], ["0.00000", "-0.00400"]), ([0.5, 0.5, 0.5], ["0.500"]), ([100.0, 812.34, 900.0], ["604.1"]),
        ([-0.04, 900.0, -900.0], ["0.0"]),
    ],
)  # fmt: skip
def test_the_page_has_as_many_decimals_as_tell_the_scores_of_a_task_apart(scores, told, tmp_path):
    every = tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")
    final = Final(1, 1, 1, scores)
    results = dict.fromkeys(every, Result([], {"frames": final, "minutes": final}, {}))
    said = page(Table(every[0].study, results), "wmloop study", {}, "two.csv")
    (row,) = (line for line in said.split("## At")[1].split("\n") if line.startswith("| A |"))
    assert [one for one in told if f"| {one} |" not in row] == []
    assert not re.search(r"-0\.0+ ", row)


def test_large_limits_and_scores_are_written_in_digits_and_texts_on_one_line(tmp_path):
    text = (
        TWO.replace("frames = 400\nminutes = 1", "frames = 5_000_000\nminutes = 1_234_567.5")
        .replace("finished = 100", "finished = 2_000_000")
        .replace('about = "more steps"', 'about = """more\nsteps | here"""')
    )
    text += '[[published]]\nname = "P"\nscore = 1_500_000\nstd = 0.25\nsource = "s"\ndiffers = """a\nb"""\n'  # fmt: skip
    study = read_study(written(tmp_path, text))
    every = tasks(study, tmp_path / "two")
    told = page(Table(study, dict.fromkeys(every)), "wmloop study", {}, "two.csv")
    for said in (
        "## At 5,000,000 real frames",
        "score above 2,000,000.",
        "1,500,000 ± 0.25",
        "more steps \\| here",
        "| a b |",
    ):
        assert said in told, said
    assert "e+0" not in told
    (line,) = (line for line in told.split("\n") if line.startswith("| B | more"))
    assert line.endswith("|")
    asked = dataclasses.replace(every[0], row=every[0].row._replace(command="x {minutes} {to}"))
    assert words_of(asked, tmp_path)[1] == "1234567.5"


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [(0.5, 6, "0.5"), (-0.0, 6, "0"), (12345.6, 4, "12346"), (999999.7, 6, "1000000"), (1e6, 6, "1000000"),
     (123456.0, 4, "123456"), (0.001234567, 4, "0.001235"), (-2e7 - 0.5, 6, "-20000000")],
)  # fmt: skip
def test_a_number_has_no_exponent(value, digits, said):
    assert plain(value, digits) == said


def test_the_figures_of_scores_are_computed_once_however_often_they_are_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "wmloop.study.table.summarise", lambda scores, finished: asked.append(scores) or summarise(scores, finished)
    )
    every = tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")
    results = {
        task: Result([], {limit: Final(1, 1, 1, [place + 0.123, 2.0, place]) for limit in ("frames", "minutes")}, {})
        for place, task in enumerate(every)
    }
    for _ in range(2):
        table = Table(every[0].study, results)
        page(table, "wmloop study", {}, table.csv())
    assert len(asked) == len({str(scores) for scores in asked}) == 2 + 4  # each row, and each seed of it


def test_a_line_ends_where_json_says_and_nowhere_else(tmp_path):
    path, name = tmp_path / "scores", "A\u2028B\x85C"
    lines = [{"made": {"cpu": name}}, {"frames": 0, "seconds": 0, "limit": "frames", "scores": None}]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    assert read_lines(path, {"frames": 9.0}, 3).made == {"cpu": name}


def test_only_rows_of_the_same_task_are_compared(tmp_path):
    rows = {
        "plain": "", "windy": "settings.env.kwargs = {enable_wind = true}", "short": "settings.env.episode_frames = 50",
        "fast": "settings.env.action_repeat = 2", "program": f'command = "{PROGRAM}"',
    }  # fmt: skip
    text = (
        HEAD
        + '[settings]\nenv.id = "LunarLander-v3"\n'
        + "".join(f'[[row]]\nname = "{n}"\n{s}\n' for n, s in rows.items())
    )
    every = tasks(read_study(written(tmp_path, text)), tmp_path / "two")
    final = Final(1, 1, 1, [1.0, 2.0, 3.0])
    table = Table(every[0].study, dict.fromkeys(every, Result([], {"frames": final, "minutes": final}, {})))
    assert [line.row.name for line in table.lines("frames") if line.difference is not None] == ["fast", "program"]


def test_an_agent_that_was_not_there_by_a_limit_is_no_fault(tmp_path):
    path = tmp_path / "scores"
    path.write_text('{"frames": 0, "seconds": 0, "limit": "frames", "scores": null}\n{"made": {"torch": "2"}}\n')
    assert read_lines(path, {"frames": 9.0}, 3) == Result([], {"frames": None}, {"torch": "2"})


# ---- the command


def study(file, runs, *words):
    return Process(["study", file, "--runs", runs, "--progress", "plain", *words], ENVIRONMENT, merged=True)


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return the folder of a finished study of two programs by two seeds, its file, and what was printed."""
    folder = tmp_path_factory.mktemp("study")
    file = written(folder, TWO)
    return folder / "runs" / "two", file, finish(study(file, folder / "runs"))


def test_a_study_of_other_programs_comes_to_a_table(two):
    folder, _, output = two
    lines = table(folder / "two.csv")
    assert [line for line in lines if line["kind"] == "row"] != []
    for name, seed in (("A", 1), ("B", 2)):
        (final,) = (one for one in lines if (one["kind"], one["row"], one["seed"], one["limit"])
                    == ("final", name, str(seed), "frames"))  # fmt: skip
        steps = {"A": 4, "B": 6}[name]
        chance = random.Random(seed)
        for step in range(steps):
            chance.gauss(10 * step, 1)
        scores = [chance.gauss(100, 10) for _ in range(6)]
        assert float(final["score"]) == pytest.approx(statistics.fmean(scores), abs=1e-3)
        assert float(final["worst"]) == pytest.approx(min(scores), abs=1e-3)
        assert float(final["finished"]) == pytest.approx(np.mean(np.array(scores) > 100), abs=1e-5)
        assert sum(one["kind"] == "point" and one["row"] == name for one in lines) == 2 * steps
    page = (folder / "two.md").read_text()
    assert page.startswith("# Study: two\n")
    for said in ("## At 400 real frames", "## At 1 minute\n", "more steps", "two.csv", "| A | 2 |", "| B | 2 |"):
        assert said in page
    assert "not finished" not in page.lower()
    assert output.count("done: ") == 4
    for limit in ("frames", "minutes"):
        assert f"two-{limit}.svg" in page
        assert (folder / f"two-{limit}.svg").read_text().rstrip().endswith("</svg>")


def test_what_is_done_is_not_done_again_and_seeds_and_rows_may_be_added(two, tmp_path):
    folder, file, _ = two
    before = {path: path.stat().st_mtime_ns for path in folder.glob("tasks/*/result.json")}
    finish(study(file, folder.parent, "--to", tmp_path))
    assert (tmp_path / "two.csv").read_bytes() == (folder / "two.csv").read_bytes()
    added = file.read_text().replace("[1, 2]", "[1, 2, 3]") + f'[[row]]\nname = "C"\ncommand = "{PROGRAM}"\n'
    page = wmloop("study", written(tmp_path, added), "--page-only", "--to", tmp_path, runs=folder.parent)
    assert page.exit_code == 0, page.output
    assert "Not finished: 4 of 9 runs are done." in (tmp_path / "two.md").read_text()
    assert "A: seed 3 not finished" in (tmp_path / "two.md").read_text()
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("tasks/*/result.json")}


def test_a_page_that_tells_of_more_runs_is_not_written_over(two, tmp_path):
    folder, file, _ = two
    kept = tmp_path / "kept"
    finish(study(file, folder.parent, "--to", kept))
    before = {path: path.read_bytes() for path in kept.iterdir()}
    fresh = tmp_path / "fresh"
    shutil.copytree(folder / "tasks" / "A-1", fresh / "two" / "tasks" / "A-1")
    for words in ([], ["--page-only"]):
        refused = wmloop("study", file, "--to", kept, *words, runs=fresh)
        assert refused.exit_code == 2
        assert "tells of 3 runs not done" in " ".join(refused.stderr.split())
        assert "A-2" in refused.stderr
    assert before == {path: path.read_bytes() for path in kept.iterdir()}
    assert not (fresh / "two" / "tasks" / "A-2").exists()
    (kept / "two.csv").rename(tmp_path / "elsewhere.csv")
    page = (kept / "two.md").read_bytes()
    for strange, text in (("two.md", page), ("two.csv", b"name,seed\nA,1\n")):  # somebody's own, and not a study's
        (kept / strange).write_bytes(text)
        refused = wmloop("study", file, "--to", kept, "--page-only", runs=fresh)
        assert refused.exit_code == 2
        assert f"{strange} would be written over, and is no study's" in " ".join(refused.stderr.split())
        assert (kept / strange).read_bytes() == text
    (kept / "two.csv").unlink()
    (kept / "two.md").unlink()
    assert wmloop("study", file, "--to", kept, "--page-only", runs=fresh).exit_code == 0
    # Its own folder has no page but its own: what is made anew may be missing from it for a while.
    shutil.copy(tmp_path / "elsewhere.csv", fresh / "two" / "two.csv")
    assert wmloop("study", file, "--page-only", runs=fresh).exit_code == 0


def test_scores_without_what_was_asked_are_taken_for_no_row_s(two, tmp_path):
    folder, file, _ = two
    shutil.copytree(folder, tmp_path / "two")
    asked = tmp_path / "two" / "tasks" / "A-1" / "task.json"
    asked.write_bytes(b"")
    changed = written(tmp_path, file.read_text().replace(f'"{PROGRAM}"', f'"{PROGRAM} --steps 5"'))
    for code in (65, 2):
        refused = wmloop("study", changed, "--page-only", runs=tmp_path)
        assert refused.exit_code == code, refused.output
        assert f"move {asked.parent} elsewhere" in " ".join(refused.stderr.split())
        asked.unlink(missing_ok=True)


def test_the_page_says_where_the_runs_are(two, tmp_path, monkeypatch):
    folder, file, _ = two
    assert f"wmloop study {file} --runs {folder.parent}\n" in (folder / "two.md").read_text()
    monkeypatch.chdir(folder.parent.parent)
    assert wmloop("study", file, "--page-only", "--to", tmp_path, runs="runs").exit_code == 0
    assert f"wmloop study {file} --to {tmp_path}\n" in (tmp_path / "two.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--steps 6", "--steps 7", "row 2 (B): command was .*--steps 6"),
        ("frames = 400", "frames = 500", "row 1 (A): frames was 400.0 when A-1 was begun, and is 500.0 now"),
        ("episodes = 6", "episodes = 7", "episodes was 6"),
        (
            "finished = 100\n",
            'finished = 100\n[settings]\nenv.id = "CartPole-v1"\n',
            "row 1 (A): env was 'CarRacing-v3' when",
        ),
    ],
)
def test_what_was_begun_does_not_change(two, old, new, said, tmp_path):
    folder, file, _ = two
    changed = written(tmp_path, file.read_text().replace(old, new))
    refused = wmloop("study", changed, runs=folder.parent)
    assert refused.exit_code == 2
    assert re.search(re.escape(said).replace(r"\.\*", ".*"), " ".join(refused.stderr.split())), refused.stderr


def test_a_run_that_nobody_knows_the_question_of_is_not_taken_for_a_row(finished, tmp_path):
    shutil.copytree(finished.runs / "tiny", tmp_path / "two" / "own-1")
    asked = written(tmp_path, f'{HEAD}\n[[row]]\nname = "own"\nsettings.env.id = "CartPole-v1"\n')
    refused = wmloop("study", asked, runs=tmp_path)
    assert refused.exit_code == 2
    assert re.search(r"row 1 \(own\): there is .*own-1/run.toml, and no .*task\.json that says what was asked of it: move .*",
                     " ".join(refused.stderr.split()))  # fmt: skip
    assert not (tmp_path / "two" / "tasks").exists()


def test_two_processes_do_not_work_on_one_study(two):
    folder, file, _ = two
    with run_lock(folder):
        refused = wmloop("study", file, runs=folder.parent)
        assert refused.exit_code == 75
        assert f"process {os.getpid()}" in refused.stderr
        assert wmloop("study", file, "--page-only", runs=folder.parent).exit_code == 0


def test_a_terminal_shows_a_table_of_rows_by_seeds(two, monkeypatch):
    folder, file, _ = two
    monkeypatch.setattr("wmloop.view.can_show_live", lambda: True)
    shown = wmloop("study", file, runs=folder.parent)
    assert shown.exit_code == 0, shown.output
    head, first, second = shown.stdout.splitlines()[-3:]
    assert re.fullmatch(r"row +seed 1 +seed 2 *", head)
    assert re.fullmatch(r"A( +done: [\d.]+ \| [\d.]+){2} *", first)
    assert second.startswith("B ")


def test_what_an_interrupted_write_left_is_swept_away(two):
    folder, file, _ = two
    stray = folder / ".tmp-two.csv-00000000"
    stray.write_text("half")
    assert wmloop("study", file, runs=folder.parent).exit_code == 0
    assert not stray.exists()


def test_a_task_that_the_file_does_not_have_is_refused(two):
    folder, file, _ = two
    refused = wmloop("study", file, "--task", "A-9", runs=folder.parent)
    assert refused.exit_code == 2
    assert "they are A-1, B-1, A-2, B-2" in " ".join(refused.stderr.split())


def test_a_study_does_not_take_the_folder_of_a_run(finished, tmp_path):
    file = written(tmp_path, 'name = "tiny"\n' + TWO)
    refused = wmloop("study", file, runs=finished.runs)
    assert refused.exit_code == 2
    assert "is a run" in refused.stderr


def test_a_row_that_fails_leaves_the_others_to_be_done_and_is_tried_again(tmp_path):
    text = TWO.replace("--steps 6", "--fails 3").replace("[1, 2]", "[1]")
    file = written(tmp_path, text)
    process = study(file, tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 4, output
    assert "B-1 ended with exit code 4; its output is in" in output
    assert "B: seed 1 not finished" in (tmp_path / "two" / "two.md").read_text()
    assert "ended with exit code 3" in (tmp_path / "two" / "tasks" / "B-1" / "task.log").read_text()
    assert (tmp_path / "two" / "tasks" / "A-1" / "result.json").exists()


KEEPER = """
import json, pathlib, sys

folder, to = map(pathlib.Path, sys.argv[1:])
if not (state := folder / "scores-state").exists():
    state.write_text("half")
    (folder / "result.json").write_text("[]")
    sys.exit(3)
lines = [{"frames": 1, "seconds": 1, "limit": name, "scores": [1] * 6} for name in ("frames", "minutes")]
to.write_text("".join(json.dumps(line) + chr(10) for line in lines))
"""


def test_what_a_program_keeps_in_its_folder_is_there_when_it_begins_again_and_nobody_elses(tmp_path):
    (tmp_path / "keeper.py").write_text(KEEPER)
    row = f'[[row]]\nname = "A"\ncommand = "{{python}} {tmp_path / "keeper.py"} {{folder}} {{to}}"\n'
    file = written(tmp_path, HEAD.replace("[1, 2]", "[1]") + row)
    for code in (4, 0):
        process = study(file, tmp_path)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == code, output
    assert (tmp_path / "two" / "tasks" / "A-1" / "own" / "scores-state").read_text() == "half"


def of_program(file):
    """Return the processes that run a program of this study."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "tests.a_program" in words and any(str(file.parent) in word for word in words):
                found.append(process)
    return found


@pytest.mark.slow
def test_ctrl_c_ends_the_program_and_the_same_command_goes_on(two, tmp_path):
    folder, _, _ = two
    file = written(tmp_path, TWO)
    process = study(file, tmp_path)
    for line in process.stdout:
        if "A-1" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "wmloop study" in output
    assert of_program(file) == []
    finish(study(file, tmp_path))
    assert table(tmp_path / "two" / "two.csv") == table(folder / "two.csv")


def strike(file, runs, whom, due, *words):
    """Begin a study and kill it, or the processes of its tasks, once that is `due`; return whether it was struck."""
    process = study(file, runs, *words)

    def victims():
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(process.pid).children()] if whom == "task" else [process.pid]
        return []

    while process.poll() is None and not (due() and victims()):
        time.sleep(0.01)
    struck = False
    for pid in victims() if process.poll() is None else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            struck = True
    process.communicate(timeout=120)
    return struck


def after(seconds):
    """Return what tells whether so many seconds have passed since."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


@pytest.mark.parametrize("whom", ["study", pytest.param("task", marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_comes_to_the_same_table(two, whom, tmp_path):
    folder, _, _ = two
    file, chance = written(tmp_path, TWO), random.Random(whom)
    struck = sum(strike(file, tmp_path, whom, after(chance.uniform(0.3, 2.5))) for _ in range(3))
    assert struck >= 1
    finish(study(file, tmp_path))
    assert table(tmp_path / "two" / "two.csv") == table(folder / "two.csv")
    assert of_program(file) == []


# ---- runs of wmloop


def trained(folder, frames=400, memory_steps=None):
    settings = {"preset": "smoke", "threads": 1, "device": "cpu", **tiny_config()}
    if memory_steps is not None:
        settings["memory"] = settings["memory"] | {"initial_steps": memory_steps}
    head = f'name = "own"\nseeds = [1]\nframes = {frames}\nepisodes = 3\n'
    rows = '\n[[row]]\nname = "z"\nsettings = {controller.inputs = "z"}\n'
    return written(folder, head + as_toml(settings, "settings") + rows, "own.toml")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    file = trained(folder)
    finish(study(file, folder))
    return folder / "own", file


def test_a_run_says_that_the_limits_of_its_study_ended_it(own):
    folder, _ = own
    assert "the limits of its study are used up" in (folder / "tasks" / "z-1" / "task.log").read_text()
    assert "the run z-1 has ended" in wmloop("watch", folder / "z-1").stderr


def test_the_runs_of_a_study_are_ordinary_runs_within_its_frames(own):
    folder, file = own
    listed = json.loads(wmloop("runs", "--json", runs=folder).stdout)["runs"]
    assert [run["run"] for run in listed] == ["z-1"]
    store = Store.open(folder / "z-1")
    assert store.verify() == []
    history = history_of(store, stored_config(store))
    (asked,) = tasks(read_study(file), folder)
    final = asked.result().finals["frames"]
    assert final.frames == max(point.frames for point in points_of(history).values() if point.frames <= 400)
    assert sum(version.metrics["frames"] for version in history.collected()) >= 400
    (kept,) = store.evaluations.all()
    assert kept.scores == final.scores
    again = wmloop("eval", folder / "z-1", "--episodes", "3", "--iteration", int(kept.version[:4]), "--json")
    assert [episode["score"] for episode in json.loads(again.stdout)["tracks"]] == final.scores


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["study", "task"])
def test_a_study_that_trains_comes_to_the_same_table_after_kills(own, whom, tmp_path):
    folder, _ = own
    file, chance = trained(tmp_path), random.Random(whom)
    (tmp_path / "alone").mkdir()
    begun = time.monotonic()
    finish(study(trained(tmp_path / "alone"), tmp_path / "alone"))
    whole = time.monotonic() - begun
    struck = sum(strike(file, tmp_path, whom, after(chance.uniform(0.3, 0.9) * whole)) for _ in range(5))
    assert struck >= 2
    finish(study(file, tmp_path))
    assert table(tmp_path / "own" / "own.csv") == table(folder / "own.csv")


def test_who_resumes_or_prunes_a_run_of_a_study_is_told_whose_it_is(finished, tmp_path, monkeypatch):
    run, place = tmp_path / "study" / "tiny", tmp_path / "study" / "tasks" / "tiny"
    shutil.copytree(finished.runs / "tiny", run)
    monkeypatch.setattr(sys.modules["wmloop.cli.resume"], "go_on", lambda *given: None)
    assert "of the study" not in wmloop("resume", run).stderr
    place.mkdir(parents=True)
    (place / "task.json").write_text("{}")
    assert "a run of the study in" in wmloop("resume", run).stderr
    assert "of the study" not in wmloop("resume", run, "--hours", "1").stderr
    refused = wmloop("prune", run)
    assert (refused.exit_code, "has still to score its agents" in " ".join(refused.stderr.split())) == (2, True)
    for words in (["--dry-run"], ["--keep-every", "1"]):
        assert wmloop("prune", run, *words).exit_code == 0
    (place / "result.json").write_text("{}")
    assert wmloop("prune", run).exit_code == 0


# ---- the studies that come along


STUDIES = sorted((ROOT / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_rows_of_each_study_that_comes_along_can_be_run(path, tmp_path):
    study = read_study(path)
    assert study.name == path.stem
    assert len(study.seeds) >= 3
    assert len({str(study.config(row, 1).model_dump()) for row in study.rows if row.command is None}) == sum(
        row.command is None for row in study.rows
    ), "two rows are the same"
    for task in tasks(study, tmp_path):
        if task.row.command is not None:
            words = words_of(task, tmp_path / "scores")
            assert words[:2] == [sys.executable, "-m"]
            assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").exists()


def test_every_study_that_is_spoken_of_comes_along():
    assert [path.stem for path in STUDIES] == ["critic", "curiosity", "figure7", "sparse", "temperature", "unrewarded"]
    names = [row.name for row in read_study(ROOT / "studies" / "critic.toml").rows]
    assert names == ["world-model", "attention-critic"]
