"""The report: facts from the store, what V and M are asked, and a page that needs nothing else."""

import html.parser
import itertools
import math
import shutil
import sys

import numpy as np
import pytest
import torch

from tests.commands import wmloop
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.history import History
from wmloop.models.controller import GaussianActor
from wmloop.models.memory import Memory
from wmloop.models.vision import Vision
from wmloop.models.vision_memory import VisionMemory
from wmloop.opening import stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.ranking import merit
from wmloop.report import Facts, describe, plots, probe
from wmloop.serving.agent import Served
from wmloop.store import Store


@pytest.fixture(scope="module")
def runs(twice, tmp_path_factory):
    """Return a folder with two finished runs of two iterations, `one` and `two`."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        shutil.copytree(twice.runs / "tiny", folder / name)
    return folder


class Page(html.parser.HTMLParser):
    """Note every tag that is open, every address, and the words."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def check(path):
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    outside = [a for a in page.addresses if not a.startswith(("data:", "#"))]
    assert outside == []
    assert "@import" not in text
    assert "<script" not in text
    assert len(text) < 5_000_000
    return " ".join(page.words)


def test_a_report_says_what_the_store_says_and_needs_nothing_from_outside(runs, tmp_path):
    done = wmloop("report", "one", "--to", tmp_path / "here", runs=runs)
    assert done.exit_code == 0, done.output
    words = check(tmp_path / "here" / "report.html")
    scored = [v for v in Store.open(runs / "one").versions() if v.stage == "evaluate"]
    best = max(scored, key=lambda v: merit(v.metrics))
    assert f"{best.metrics['score']:.0f}" in words
    for told in (
        "Learning",
        "What V sees",
        "M dreams",
        "Time",
        "trainable parameters",
        "wmloop eval one",
        "share that ended",
    ):
        assert told in words
    for name in ("learning-frames", "learning-hours", "trust", "tracks", "ahead", "rewards", "time"):
        assert (tmp_path / "here" / f"{name}.svg").read_text().startswith("<svg")
        assert (tmp_path / "here" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_runs_are_held_against_each_other_on_one_page(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert wmloop("report", "one", "two", runs=runs).exit_code == 0
    words = check(tmp_path / "one-two-report" / "report.html")
    assert words.count("one") >= 2
    assert words.count("two") >= 2


def test_a_report_of_an_agent_that_was_imported_says_what_is_not_recorded(runs, tmp_path):
    assert wmloop("export", "one", "--to", tmp_path / "agent.safetensors", runs=runs).exit_code == 0
    assert wmloop("import", tmp_path / "agent.safetensors", "given", runs=tmp_path).exit_code == 0
    assert wmloop("report", "given", "--trust-env", "--to", tmp_path / "here", runs=tmp_path).exit_code == 0
    assert "not recorded" in check(tmp_path / "here" / "report.html")


def test_a_report_on_a_world_model_that_draws_no_pictures_says_so_and_shows_the_rest(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(VisionMemory, "decode", lambda self, features: None)
    assert wmloop("report", "one", "--to", tmp_path / "here", runs=runs).exit_code == 0
    words = check(tmp_path / "here" / "report.html")
    assert "no pictures of its dreams" in words
    assert "What V sees" not in words
    assert "Does M know when it ends?" in words
    assert (tmp_path / "here" / "rewards.svg").exists()
    assert not (tmp_path / "here" / "ahead.svg").exists()


def test_words_from_strangers_stay_words(runs, tmp_path):
    store = Store.open(runs / "one")
    facts = Facts.of(store, stored_config(store))
    facts.made.update(cpu="<script>alert(1)</script>", versions=["none"])
    seen = probe.look(
        facts.config, Served.of(History(store, WORLD_MODEL), 1), 0, torch.device("cpu"), lambda text: None
    )
    words = check(describe(facts, seen, 1, ["<b>"], tmp_path))
    assert "<script>alert(1)</script>" in words
    assert "<b>" in words


def test_a_folder_that_is_a_file_is_refused_with_the_next_step(runs, tmp_path):
    (tmp_path / "file").touch()
    done = wmloop("report", "one", "--to", tmp_path / "file", runs=runs)
    assert done.exit_code == 2
    assert "--to DIR" in done.output


def test_facts_add_up(runs):
    store = Store.open(runs / "one")
    facts = Facts.of(store, stored_config(store))
    versions = store.versions()
    assert len(facts.points) == 2
    assert facts.points[-1].hours == pytest.approx(sum(v.seconds for v in versions) / 3600)
    assert facts.collected == sum(v.metrics["frames"] for v in versions if v.stage == "rollout")
    assert facts.points[-1].frames == facts.collected
    assert facts.bytes == sum(v.num_bytes for v in versions)
    best = facts.best
    evaluation = store.version(best.iteration, "evaluate")
    assert best.score == evaluation.metrics["score"]
    kept = [track.score for track in facts.tracks if not track.further]
    assert np.mean(kept) == pytest.approx(best.score)


def test_an_iteration_that_was_stopped_counts_as_work_and_not_as_an_evaluation(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    shutil.rmtree(tmp_path / "one" / "iterations" / "0001")
    shutil.rmtree(tmp_path / "one" / "iterations" / "0000" / "evaluate")
    store = Store.open(tmp_path / "one")
    facts = Facts.of(store, stored_config(store))
    assert facts.points == []
    assert {i: list(spent) for i, spent in facts.seconds.items()} == {0: ["rollout", "vision", "memory", "controller"]}
    assert facts.collected == sum(v.metrics["frames"] for v in store.versions() if v.stage == "rollout")
    assert wmloop("report", "one", "--to", tmp_path / "here", runs=tmp_path).exit_code == 0
    words = check(tmp_path / "here" / "report.html")
    assert "No iteration has been evaluated yet" in words
    assert "minutes of each stage" in words


def test_a_probe_branches_its_dreams_inside_the_episodes(runs, monkeypatch):
    monkeypatch.setattr(probe, "_AHEAD", 4)
    monkeypatch.setattr(probe, "_WARM", 1)
    monkeypatch.setattr(probe, "_STEPS", (1, 2, 4))
    store = Store.open(runs / "one")
    seen = probe.look(
        stored_config(store), Served.of(History(store, WORLD_MODEL), 1), 0, torch.device("cpu"), lambda text: None
    )
    assert seen.real.shape == seen.seen.shape == seen.came.shape == seen.expected.shape == (6, 64, 64, 3)
    assert 1 <= len(seen.strips) <= 3
    for strip in seen.strips:
        assert strip.real.shape == strip.seen.shape == strip.dreamt.shape == (3, 64, 64, 3)
    assert seen.dream_error.shape == seen.stay_error.shape == (4,)
    assert np.isfinite(seen.dream_error).all()
    assert seen.seen_error < 64
    decisions = len(seen.reward)
    assert seen.done.shape == (decisions, 2)
    assert ((seen.done >= 0) & (seen.done <= 1)).all()
    assert seen.reward[:, 1].sum() == pytest.approx(sum(seen.scores), abs=1e-3)
    # eyes open or closed, the same seed gives the same pictures
    again = probe.look(
        stored_config(store), Served.of(History(store, WORLD_MODEL), 1), 0, torch.device("cpu"), lambda text: None
    )
    np.testing.assert_array_equal(again.dream_error, seen.dream_error)


def test_the_layers_listed_are_all_there_are():
    memory, vision, actor = Memory(), Vision("ha2018"), GaussianActor()

    def total(layers):
        return sum(layer.parameters for layer in layers)

    z, action, features = torch.zeros(1, 1, 32), torch.zeros(1, 1, 3), torch.zeros(1, 288)
    assert total(probe._layers(vision, lambda: vision.decode(vision.encode(torch.zeros(1, 3, 64, 64))[0]))) == 4_348_547
    assert total(probe._layers(actor, lambda: actor(features))) == 181_318
    listed = probe._layers(memory, lambda: (memory(z, action, memory.start(1)), memory.mixture_head(features[:, :256])))
    assert total(listed) == 422_368


def test_a_grid_places_pictures_where_they_belong():
    rows = [np.full((3, 4, 5, 3), shade, np.uint8) for shade in (10, 200)]
    sheet = plots.grid(rows, scale=1)
    assert sheet.shape == (2 * 4 + 4, 3 * 5 + 2 * 4, 3)
    for i, j in itertools.product(range(2), range(3)):
        assert (sheet[8 * i : 8 * i + 4, 9 * j : 9 * j + 5] == (10, 200)[i]).all()
    assert (sheet[4:8] == 255).all()


def test_a_run_without_an_evaluation_has_no_best(tmp_path):
    store = Store.create(tmp_path, "new", to_toml(build_config("smoke")), {})
    facts = Facts.of(store, stored_config(store))
    assert facts.best is None
    assert facts.points == []
    assert math.isfinite(facts.collected)
    done = wmloop("report", "new", "--to", tmp_path / "here", runs=tmp_path)
    assert done.exit_code == 2
    assert "wmloop resume new" in done.output


def test_without_matplotlib_the_extra_is_named(runs, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("wmloop.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = wmloop("report", "one", "--to", tmp_path / "here", runs=runs)
    assert done.exit_code == 2
    assert "pip install 'wmloop[report]'" in done.output
