"""A package that is not wmloop adds an environment, a world model, an agent, a pipeline and an engine."""

import dataclasses
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.processes import ROOT, Process
from wmloop import loop
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.errors import UsageError
from wmloop.store import Store

OUTSIDE = ROOT / "tests" / "outside"
PAGE = (ROOT / "docs" / "extending.md").read_text()
#: In the order in which the page shows them.
MODULES = ("environment", "world_model", "agent", "settings", "pipeline", "stages", "engine")
PUSH = "wmloop_outside.environment:Push-v0"
SAME = (
    "--seed", "1", "--device", "cpu", "--threads", "1", "--set", "precision=fp32", "--set", "linear.episodes=40",
    "--set", "store.snapshot_seconds=0", "--progress", "plain",
)  # fmt: skip


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def install(folder, name, groups):
    """Write what pip leaves of a package that brings entry points, `{group: {name: value}}`."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


class Place(NamedTuple):
    """A folder in which somebody works who has installed the package."""

    folder: Path
    environment: dict[str, str]

    def begin(self, *arguments):
        return Process(arguments, self.environment, merged=True, folder=self.folder)

    def wmloop(self, *arguments):
        process = self.begin(*arguments)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def refused(self, *arguments):
        process = self.begin(*arguments)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 2, output
        assert not (self.folder / "runs").exists()
        return output


def place(folder):
    project = tomllib.loads((OUTSIDE / "pyproject.toml").read_text())["project"]
    install(folder / "site", project["name"].replace("-", "_"), project["entry-points"])
    path = os.pathsep.join(map(str, (ROOT, OUTSIDE, folder / "site")))
    (folder / "work").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "WMLOOP_RUNS"}
    return Place(folder / "work", environment | {"PYTHONPATH": path})


def hashes(store):
    assert store.verify() == []
    return {f"{v.name}/{file}": record.sha256 for v in store.versions() for file, record in v.files.items()}


def kill_at(process, run, draft, file, committed):
    """Kill a process once it has saved a file of a draft, before it commits that."""
    with process:
        while process.poll() is None and not list((run / draft).glob(file)):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, output
    assert not (run / committed).exists(), output


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Return the place where the run `offset` was begun as the page says, killed in two stages and resumed."""
    made = place(tmp_path_factory.mktemp("stranger"))
    run, resume = made.folder / "runs" / "push", ("resume", "push", "--progress", "plain")
    (begin,) = (line for line in commands() if line[0] == "start")
    process = made.begin(*begin, *SAME)
    kill_at(process, run, "iterations/0000/.draft-controller", "snapshot-*", "iterations/0000/controller")
    kill_at(made.begin(*resume), run, "iterations/0001/.draft-collect", "episodes-*", "iterations/0001/collect")
    made.wmloop(*resume)
    return made


def commands():
    """Return the page's commands, without the name of the program."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "wmloop"]


def test_the_page_shows_the_package_as_it_is():
    files = [(OUTSIDE / "wmloop_outside" / f"{name}.py").read_text() for name in MODULES]
    assert blocks("python")[:-1] == files
    assert blocks("toml") == [(OUTSIDE / "pyproject.toml").read_text()]
    assert {path.stem for path in (OUTSIDE / "wmloop_outside").glob("*.py")} == {"__init__", *MODULES}


@pytest.mark.slow
def test_a_run_killed_inside_two_stages_and_resumed_is_the_one_that_was_never_interrupted(stranger, tmp_path):
    whole = place(tmp_path)
    engine = "env.engine=wmloop_outside.engine:Here"
    whole.wmloop("start", "push", "--pipeline", "linear", "--set", f"env.id={PUSH}", "--set", engine, *SAME)
    torn, never = (Store.open(made.folder / "runs" / "push") for made in (stranger, whole))
    assert len(hashes(torn)) > 20
    assert hashes(torn) == hashes(never)
    assert [dict(v.metrics) for v in torn.versions()] == [dict(v.metrics) for v in never.versions()]


def test_the_profile_s_goal_is_reached_and_confirmed(stranger):
    scored = [v for v in Store.open(stranger.folder / "runs" / "push").versions() if v.stage == "evaluate"]
    assert scored[0].metrics["score"] < -1.0 <= scored[-1].metrics["confirmed_score_low"]


def test_every_other_command_on_the_page_does_what_it_says(stranger):
    pytest.importorskip("av")
    pytest.importorskip("matplotlib")
    said = {}
    for line in commands():
        if line[0] != "start":
            said[" ".join(line[:4] if "--in" in line else line[:2])] = stranger.wmloop(*line)
    for name in ("push", "dream", "copy"):
        assert (stranger.folder / f"{name}.gif").read_bytes()[:4] == b"GIF8"
    assert "confirmed" in said["log push"]
    assert "push" in said["runs"]
    assert re.search(r"score +-0\.\d", said["eval push"])
    assert re.search(r"dream +M predicted a return of -\d\.\d+, the real one was -\d\.\d+", said["eval push"])
    assert re.search(
        r"\(dream, environment seed \d+\): predicted return -?\d\.\d+, 20 frames, truncated at the time limit",
        said["play push --in dream"],
    )
    text = (stranger.folder / "runs" / "push" / "report.html").read_text()
    assert all(stage in text for stage in ("collect", "model", "controller", "evaluate"))
    for section in (
        "Above: observations",
        "One agent step ahead",
        "Open loop",
        "Terminations",
        "predicted minus real",
    ):
        assert section in text


def test_what_the_world_model_promises_is_measured_and_is_what_is_paid(stranger):
    scored = [v.metrics for v in Store.open(stranger.folder / "runs" / "push").versions() if v.stage == "evaluate"]
    for metrics in scored:
        assert metrics["real_return"] == pytest.approx(metrics["score"], abs=1e-3)  # each decision was asked about
        assert metrics["predicted_terminations"] == metrics["terminations"] == 0
    assert scored[-1]["predicted_return"] == pytest.approx(scored[-1]["real_return"], abs=0.1)


def test_the_program_on_the_page_takes_the_agent(stranger):
    (stranger.folder / "program.py").write_text(blocks("python")[-1])
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=stranger.folder, env=stranger.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    score, promised = map(float, done.stdout.split())
    assert -2.5 < score < 0
    assert -0.5 < promised < 0.1  # it begins where the real episode, half over, has brought the point to the middle


#: What is wrong at once, by name.
WRONG = """
import dataclasses

import gymnasium
from wmloop_outside.engine import Here
from wmloop_outside.environment import Push
from wmloop_outside.pipeline import LINEAR


def stage(name, entry):
    stages = tuple(dataclasses.replace(s, entry=entry) if s.name == name else s for s in LINEAR.stages)
    return dataclasses.replace(LINEAR, stages=stages)


NO_ARGUMENT = stage("model", lambda ctx: {})
NO_STAGE = stage("model", "wmloop_outside.stages:train")
NO_LOADER = dataclasses.replace(LINEAR, load="wmloop_outside.agents:load")
NO_SETTINGS = dataclasses.replace(LINEAR, settings=dict)
PROFILE = {"env": {"colour": "red"}}
LINER = {"liner": {"updates": 3}}


class Deaf(Here):
    receive = property()


class Square(Here):
    def _seen(self, copies):
        return super()._seen(copies)[:, :32]


class Stuck(Push):
    def step(self):
        pass


gymnasium.register("Stuck-v0", entry_point="wrong:Stuck")
"""
LINEAR = ("--pipeline", "linear", "--set", f"env.id={PUSH}")


@pytest.mark.parametrize(
    ("points", "arguments", "said"),
    [
        ({}, ("--pipeline", "wrong:NO_ARGUMENT"), "'model' .* is called with the outputs of collect as arguments"),
        ({}, ("--pipeline", "wrong:NO_STAGE"), "the stage 'model': .* cannot be imported: .*'train'"),
        ({}, ("--pipeline", "wrong:NO_LOADER"), "the attribute 'load' .* No module named 'wmloop_outside.agents'"),
        ({}, ("--pipeline", "wrong:NO_SETTINGS"), "no subclass of RunConfig"),
        ({"pipelines": {"gone": "nowhere:GONE"}}, ("--pipeline", "gone"), "'gone': .* No module named 'nowhere'"),
        ({}, ("--set", "env.engine=wrong:Deaf"), "made Deaf, which lacks receive"),
        (
            {},
            ("--set", "env.engine=wrong:Square"),
            "gives another episode than the engine 'processes': .* in an observation",
        ),
        ({"engines": {"here": "wrong:Here"}}, (), "each register the engine 'here'"),
        ({"profiles": {"Push-v0": "wrong:PROFILE"}}, (), "each register the profile 'Push-v0'"),
        (
            {"profiles": {"Stuck-v0": "wrong:PROFILE"}},
            ("--set", "env.id=wrong:Stuck-v0"),
            "the profile of 'wrong:Stuck-v0' in wrong:PROFILE of the package rival: unknown setting 'env.colour'",
        ),
        (
            {"profiles": {"Stuck-v0": "wrong:LINER"}},
            ("--set", "env.id=wrong:Stuck-v0"),
            "in wrong:LINER of the package rival: unknown group 'liner' .did you mean 'linear'",
        ),
        (
            {},
            ("--set", "env.id=wrong:Stuck-v0"),
            r"has a step that cannot be called .*: write `def step\(self, action\)`",
        ),
    ],
)
def test_what_is_wrong_from_outside_is_refused_at_start_with_what_is_missing(tmp_path, points, arguments, said):
    made = place(tmp_path)
    (tmp_path / "site" / "wrong.py").write_text(WRONG)
    if points:
        install(tmp_path / "site", "rival", {f"wmloop.{kind}": names for kind, names in points.items()})
    assert re.search(said, made.refused("start", "x", "--preset", "smoke", *LINEAR, *arguments))


@pytest.fixture
def outside(monkeypatch):
    """Return the package's modules by name, in this process."""
    monkeypatch.syspath_prepend(str(OUTSIDE))
    return {name: importlib.import_module(f"wmloop_outside.{name}") for name in MODULES}


def wider(world, imagine):
    def imagined(self, *given):
        state, outcome = imagine(self, *given)
        return state._replace(features=state.features.repeat(1, 2)), outcome

    return imagined


def take(outside, patch, what):
    """Take away or spoil what cannot be looked at before it is made, and return the pipeline."""
    world, agent = outside["world_model"].LinearWorld, outside["agent"].PointAgent
    pipeline, act = outside["pipeline"].LINEAR, agent.act
    match what:
        case "act" | "critic":
            patch.delattr(agent, what)
        case "carry":
            patch.setattr(agent, "act", lambda self, carry, *given: (act(self, self.start(1), *given)[0], None))
        case "imagine":
            patch.delattr(world, "imagine")
        case "width":
            patch.setattr(world, "imagine", wider(world, world.imagine))
        case "actions":
            patch.setattr(agent, "act", lambda self, *given: (act(self, *given)[0][:, :1], None))
        case "figures" | "score":
            stages = [
                dataclasses.replace(stage, entry=lambda ctx, **_: None if what == "figures" else {"frames": 1.0})
                if stage.name == {"figures": "collect", "score": "evaluate"}[what]
                else stage
                for stage in pipeline.stages
            ]
            pipeline = dataclasses.replace(pipeline, stages=tuple(stages))
    return pipeline


@pytest.mark.parametrize(
    ("what", "stage", "said"),
    [
        ("imagine", "controller", "a world model dreams by LinearWorld, which lacks imagine"),
        ("width", "controller", r"features of shape \(8, 4\) instead of \(8, 2\), for features of shape \(8, 2\)"),
        ("act", "evaluate", "the function 'load' .* returned PointAgent, which lacks act"),
        ("critic", "evaluate", "whose agents have a world model, returned PointAgent, which lacks critic"),
        ("carry", "evaluate", "an agent with a world model carries NoneType, which lacks state, action"),
        ("actions", "evaluate", r"returned actions of shape \(1, 1\) where the environment takes \(1, 2\)"),
        ("figures", "collect", "the stage 'collect' .* returned NoneType instead of its metrics"),
        ("score", "evaluate", "the stage 'evaluate' .* returned no metric 'score': it returned frames"),
    ],
)
def test_what_is_made_only_later_is_refused_where_it_is_first_used(outside, monkeypatch, tmp_path, what, stage, said):
    few = {"episodes": 2, "updates": 1, "num_dreams": 8}
    layer = {"env": {"id": PUSH, "engine": "wmloop_outside.engine:Here", "num_envs": 2, "episode_frames": 20}}
    named = {"pipeline": "wmloop_outside.pipeline:LINEAR", "linear": few, "evaluate": {"episodes": 2}, "seed": 1}
    config = build_config("smoke", layer, named)
    pipeline = take(outside, monkeypatch, what)
    store = Store.create(tmp_path, "x", to_toml(config), {})
    with store.lock(), pytest.raises(UsageError, match=said):
        loop.run(store, config, pipeline, torch.device("cpu"), lambda event: None, lambda: False)
    assert stage not in {version.stage for version in store.versions()}
