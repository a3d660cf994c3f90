"""Pipelines: tables of stages, and what is wrong with one, said before anything is trained."""

import dataclasses
import subprocess
import sys

import pytest

from tests.commands import wmloop
from wmloop import pipelines
from wmloop.errors import UsageError
from wmloop.pipelines import Pipeline, Stage
from wmloop.pipelines.world_model import WORLD_MODEL


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
