"""Pipelines: tables of stages, and what is wrong with one, said before anything is trained."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from tests.commands import wmloop
from wmloop import loop, pipelines
from wmloop.config import RunConfig
from wmloop.config.text import to_toml
from wmloop.errors import UsageError
from wmloop.history import History
from wmloop.pipelines import Pipeline, Stage
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.retention import required_by_next
from wmloop.store import Store


def work(ctx, drive=None):
    return {}


DRIVE, SCORE = Stage("drive", work, carries=("drive",)), Stage("score", work, needs=("drive",))
ROLES = {
    "collected_by": "drive",
    "scored_by": "score",
    "agent": "drive",
    "load": lambda *_, drive: None,
    "accept": lambda config, actions, tensors: None,
}


@pytest.mark.parametrize(
    ("stages", "roles", "said"),
    [
        ((), {}, "has no stages"),
        ((DRIVE, DRIVE), {}, "two stages of one name"),
        ((DRIVE, SCORE), {"agent": "pilot"}, "no stage 'pilot': its stages are drive, score"),
        ((SCORE, DRIVE), {}, "'score' .* reads 'drive', which is no stage before it"),
        ((DRIVE, Stage("score", work, carries=("learn",))), {}, "reads 'learn', which is no stage of drive, score"),
        ((DRIVE, Stage("score", work, needs=("drive",), carries=("drive",))), {}, "reads a stage twice"),
        ((DRIVE, dataclasses.replace(SCORE, once=True)), {}, "'score' .* done once, and reads 'drive', which is not"),
        ((dataclasses.replace(DRIVE, once=True), SCORE), {}, "'drive' .* done once, and reads 'drive', which is not"),
        ((Stage("drive", work, once=True), SCORE), {}, "done once, and is the one that makes or scores its agents"),
        ((DRIVE, SCORE), {"collected_by": ("drive", "walk")}, "no stage 'walk'"),
    ],
)
def test_a_table_that_cannot_be_performed_is_refused_with_what_is_wrong(stages, roles, said):
    with pytest.raises(UsageError, match=said):
        Pipeline("mine", stages, **ROLES | roles)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("nowhere.at_all:run", "No module named 'nowhere'"),
        ("wmloop.stages.rollout:perform", "has no attribute 'perform'"),
        ("wmloop.stages.rollout", "cannot be imported"),
        (lambda ctx: {}, "is called with the outputs of drive as arguments"),
        (lambda ctx, *, learn, drive=None: {}, "is called with the outputs of drive as arguments"),
    ],
)
def test_a_stage_that_is_not_there_or_takes_other_versions_is_refused(entry, said):
    Pipeline("mine", (DRIVE, SCORE), **ROLES).check()
    with pytest.raises(UsageError, match=said):
        Pipeline("mine", (dataclasses.replace(DRIVE, entry=entry), SCORE), **ROLES).check()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"load": "nowhere:load"}, r"the attribute 'load' .* cannot be imported"),
        ({"load": lambda config, actions, device: None}, r"the function 'load' .* and the stage outputs drive"),
        ({"accept": "nowhere:accept"}, r"the attribute 'accept' .* cannot be imported"),
        ({"accept": lambda config: None}, r"the function 'accept' .* is called with \(config, actions, tensors\)"),
        ({"fits": "nowhere:fits"}, r"the attribute 'fits' .* cannot be imported"),
        ({"fits": lambda actions: None}, r"the function 'fits' .* is called with \(config, actions, observations\)"),
    ],
)
def test_an_agent_that_cannot_be_loaded_checked_or_fitted_is_refused(changed, said):
    with pytest.raises(UsageError, match=said):
        Pipeline("mine", (DRIVE, SCORE), **ROLES | changed).check()


def test_our_own_pipelines_can_be_performed():
    for name in pipelines.PIPELINES.own:
        assert pipelines.get(name).name == name
        pipelines.get(name).check()


def test_an_unknown_pipeline_is_refused_with_those_that_there_are_and_makes_no_run(tmp_path):
    done = wmloop("start", "mine", "--preset", "smoke", "--pipeline", "world-modell", runs=tmp_path / "runs")
    assert done.exit_code == 2
    assert "did you mean 'world-model'?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_agent_is_what_its_stage_and_those_that_it_needs_hold():
    assert {part.name: part.agent_files for part in WORLD_MODEL.parts} == {
        "vision": ("model.safetensors",),
        "memory": ("model.safetensors",),
        "controller": ("actor.safetensors",),
    }


def test_what_only_looks_at_stages_waits_for_no_torch():
    program = (
        "import sys, wmloop.history, wmloop.retention, wmloop.serving.choice, wmloop.pipelines.world_model, wmloop.view"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program + "; print({'torch', 'gymnasium'} & set(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "set()"


def test_what_is_done_once_is_read_by_every_iteration_and_all_that_collects_is_learnt_from_in_order(tmp_path):
    read = []

    def collect(ctx, **versions):
        read.append((ctx.stage, ctx.iteration, sorted(version.name for version in versions.values())))
        read.append([version.name for version in ctx.collected()])
        return {"frames": 10.0 + ctx.iteration, "units": 1.0, "score": float(ctx.iteration)}

    def score(ctx, **versions):
        return {"score": float(ctx.iteration)}

    mine = Pipeline(
        "mine",
        (
            Stage("walk", collect, once=True),
            Stage("drive", collect, needs=("walk",), carries=("drive",)),
            Stage("score", score, needs=("drive",)),
        ),
        **ROLES | {"collected_by": ("drive", "walk")},
    )
    config = RunConfig(budget={"iterations": 3})
    store = Store.create(tmp_path, "run", to_toml(config), {})
    assert loop.run(store, config, mine, torch.device("cpu"), lambda event: None, lambda: False) == "iterations"
    assert [version.name for version in store.versions()] == [
        "0000/walk", "0000/drive", "0000/score", "0001/drive", "0001/score", "0002/drive", "0002/score",
    ]  # fmt: skip
    assert read == [
        ("walk", 0, []), [],
        ("drive", 0, ["0000/walk"]), ["0000/walk"],
        ("drive", 1, ["0000/drive", "0000/walk"]), ["0000/walk", "0000/drive"],
        ("drive", 2, ["0000/walk", "0001/drive"]), ["0000/walk", "0000/drive", "0001/drive"],
    ]  # fmt: skip
    history = History(store, mine)
    assert history.next_position() == (3, 1)
    for replay, kept in ((2, {"0000/walk", "0002/drive"}), (3, {"0000/walk", "0001/drive", "0002/drive"})):
        needed = {version.name for version in required_by_next(history, 2, replay)}
        assert needed == kept | {"0002/score"}
