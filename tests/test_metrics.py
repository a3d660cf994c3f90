"""The catalogue of figures: every one that a run writes is described where its stage is, and none that no run writes."""

import csv

import pytest

from tests.commands import wmloop
from tests.tiny_env import tiny_config
from tools import reference
from wmloop import pipelines
from wmloop.config import RunConfig, build_config
from wmloop.config.text import to_toml
from wmloop.pipelines.metrics import Metric
from wmloop.store import Store


@pytest.fixture(scope="module")
def written(tmp_path_factory, twice):
    """Return the figures that tiny runs write, by pipeline and stage: runs whose goal is met, and one that goes on."""
    runs = tmp_path_factory.mktemp("runs")
    common = {name: group for name, group in tiny_config().items() if name in RunConfig.model_fields}
    goal = {"budget": {"goal": -1000.0, "iterations": 1}, "seed": 3, "threads": 1}
    stores = [("world-model", Store.open(twice.runs / "tiny"))]
    seen = common | {name: tiny_config()[name] for name in ("rollout", "vision", "memory")}
    seen["rollout"] |= {"max_unrewarded": 50, "frames": 600}
    evolved = {name: group for name, group in tiny_config().items() if name not in ("dream", "controller")}
    evolved["evolution"] = {"generations": 1, "population_size": 4, "episodes": 1}
    layers = {
        "world-model": tiny_config(),
        "vanilla-ppo": common | {"ppo": {"update_epochs": 1}},
        "ppo-features": seen,
        "hs18": evolved,
        "hs18-dream": evolved,
    }
    layers["world-model"]["controller"] |= {"curiosity": 0.1}
    for pipeline, layer in layers.items():
        path = runs / f"{pipeline}.toml"
        path.write_text(to_toml(build_config("smoke", layer, goal, {"pipeline": pipeline})))
        done = wmloop("start", pipeline, "--config", path, "--progress", "none", runs=runs)
        assert done.exit_code == 0, done.output
        store = Store.open(runs / pipeline)
        assert store.journal.events()[0][-1]["reason"] == "goal", pipeline
        stores.append((pipeline, store))
    found = {}
    for pipeline, store in stores:
        for version in store.versions():
            found.setdefault((pipeline, version.stage), set()).update(version.metrics)
    return found


def test_every_figure_that_a_run_writes_is_described_by_one_entry(written):
    for (pipeline, stage), names in written.items():
        described = pipelines.get(pipeline).row(stage).metrics
        for name in names:
            assert sum(metric.covers(name) for metric in described) == 1, f"{pipeline}, {stage}: {name}"
    for name in pipelines.PIPELINES.own:
        assert "confirmed_score_low" in written[name, pipelines.get(name).scored_by]


def test_no_figure_is_described_that_no_run_writes(written):
    rows = csv.DictReader((reference.DOCS / reference.NORMAL).read_text().splitlines()[1:])
    known = {(pipeline, stage, name) for (pipeline, stage), names in written.items() for name in names}
    known |= {("world-model", *row["figure"].split(".", 1)) for row in rows}
    for pipeline in pipelines.PIPELINES.own:
        for stage in pipelines.get(pipeline).stages:
            for metric in stage.metrics:
                # of a short run's random rollouts, and returns near zero, not all is written
                shared = stage.name in ("rollout", "evaluate")
                systems = {pipeline, "world-model"} if shared else {pipeline}
                own = [name for system, place, name in known if system in systems and place == stage.name]
                told = any(map(metric.covers, own))
                assert told or metric.name == "truncations_frames", f"{pipeline}, {stage.name}: {metric.name}"


def test_every_entry_says_what_it_means_and_which_way_is_better():
    for pipeline in pipelines.PIPELINES.own:
        for stage in pipelines.get(pipeline).stages:
            assert stage.metrics, stage.name
            for metric in stage.metrics:
                assert metric.unit, metric.name
                assert metric.meaning, metric.name
                assert metric.better in ("higher", "lower", "near 0", ""), metric.name


def test_a_star_in_a_name_stands_for_the_part_that_varies():
    metric = Metric("terminated_*_ended", "", "", "")
    assert metric.covers("terminated_0.1_0.5_ended")
    assert not metric.covers("terminated_0.1_0.5_expected")
