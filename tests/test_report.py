"""The report: facts from the store, what V and M are asked, and a page that needs nothing else."""

import base64
import dataclasses
import html.parser
import io
import itertools
import math
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import wmloop
from tests.tiny_env import TINY_ID
from wmloop import pipelines
from wmloop.agents.world_model import Agent
from wmloop.config import WorldModelConfig, build_config, with_settings
from wmloop.config.text import to_toml
from wmloop.history import History
from wmloop.models.networks import new_actor, new_critic, new_memory, new_vision
from wmloop.models.vision_memory import VisionMemory
from wmloop.opening import stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.player.moment import points
from wmloop.ranking import merit
from wmloop.report import Commands, Facts, compare, describe, drawing, groups, pictures, probe
from wmloop.report import facts as facts_of_run
from wmloop.report.charts import along, episode, goal_line
from wmloop.report.episode import Drive
from wmloop.report.html import cell, mean
from wmloop.report.words import world_model
from wmloop.serving.agent import Served
from wmloop.spaces import BoxActions, Pixels
from wmloop.store import Store

NO_COMMANDS = Commands([], [], {})


@pytest.fixture(scope="module")
def runs(twice, tmp_path_factory):
    """Return a folder with two finished runs of two iterations, `one` and `two`."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        shutil.copytree(twice.runs / "tiny", folder / name)
        shutil.rmtree(folder / name / "evaluations", ignore_errors=True)  # other tests may have scored it
    return folder


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    """Return the folder in which the report of `one` was written."""
    folder = tmp_path_factory.mktemp("report") / "here"
    done = wmloop("report", "one", "--to", folder, runs=runs)
    assert done.exit_code == 0, done.output
    return folder


def look(runs):
    store = Store.open(runs / "one")
    history = History(store, WORLD_MODEL)
    return probe.look(history, stored_config(store), Served.of(history, 1), 0, torch.device("cpu"), lambda text: None)


@pytest.fixture(scope="module")
def seen(runs):
    """Return what V and M of `one` make of fresh episodes."""
    return look(runs)


class Page(html.parser.HTMLParser):
    """Note every tag that is open, every address, and the words."""

    VOID = ("meta", "link", "img", "br", "source")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href", "xlink:href")]
        self.ids += [value for name, value in attrs if name == "id"]

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
    assert len(text) < 3_000_000
    links = [a.removeprefix("#") for a in page.addresses if a.startswith("#")]
    assert set(links) <= set(page.ids)
    assert not re.search(r"not recorded|\bnan\b|\binf\b", " ".join(page.words))
    return " ".join(page.words)


def test_a_report_says_what_the_store_says_and_needs_nothing_from_outside(runs, written):
    words = check(written / "report.html")
    scored = [v for v in Store.open(runs / "one").versions() if v.stage == "evaluate"]
    best = max(scored, key=lambda v: merit(v.metrics))
    assert f"{best.metrics['score']:.0f}" in words
    assert re.search(rf'env\.id\s+"{TINY_ID}"', words), "the environment is always told"
    for told in (
        "Learning",
        "V's reconstructions",
        "M's dream",
        "Time",
        "trainable parameters",
        "wmloop eval one",
        "fraction that terminated",
        "explained_variance",
        "recon_loss",
        "What the words mean",
        "seed 7",
        "TinyDrive",
        "wmloop start one --preset smoke --seed 7",
    ):
        assert told in words
    assert "CarRacing" not in words
    assert "World Models, V and M" not in words  # published scores are another environment's
    assert [path.name for path in written.iterdir()] == ["report.html"]


def test_a_report_lands_with_its_run_and_of_several_beside_them(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    shutil.copytree(runs / "one", tmp_path / "two")
    assert wmloop("report", "one", runs=tmp_path).exit_code == 0
    check(tmp_path / "one" / "report.html")
    assert wmloop("verify", "one", runs=tmp_path).exit_code == 0
    assert wmloop("report", "one", "two", runs=tmp_path).exit_code == 0
    check(tmp_path / "one-two-report.html")
    assert wmloop("report", "one", "two", "--to", tmp_path / "page.html", runs=tmp_path).exit_code == 0
    check(tmp_path / "page.html")


def test_an_episode_and_a_dream_move_and_stand_still_for_who_asks(written):
    text = (written / "report.html").read_text()
    films = re.findall(r'<source media="\(prefers-reduced-motion: reduce\)" srcset="data:image/png;base64,[^"]+">'
                       r'<img alt="[^"]+" src="data:image/webp;base64,([^"]+)">', text)  # fmt: skip
    assert len(films) == 2
    for film in films:
        picture = Image.open(io.BytesIO(base64.b64decode(film)))
        assert picture.is_animated
        assert picture.size == (64 + 4 + 64, 64)


def test_evaluations_are_on_the_page(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    store = Store.open(tmp_path / "one")
    facts = Facts.of(store, stored_config(store))
    scored = store.version(facts.best.iteration, "controller")
    record = {"created": "2026-11-29T10:00:00+00:00", "version": scored.name, "hash": scored.hash, "seed": 3}
    for _ in range(2):  # the same episodes twice are no more tracks
        store.evaluations.add({**record, "tracks": [{"seed": 1, "score": 2.5}, {"seed": 2, "score": 3.5}]})
    facts = Facts.of(store, stored_config(store))
    assert sorted(facts.fresh) == [2.5, 3.5]
    words = " ".join(Page(describe(facts, None, 0, NO_COMMANDS).decode()).words)
    assert "Evaluations on fresh episodes" in words
    assert "2026-11-29 10:00" in words
    assert "score on 2 fresh episodes" in words


def test_a_gap_as_large_as_the_return_is_told_in_points_alone(runs):
    store = Store.open(runs / "one")
    version = next(v for v in store.versions() if v.stage == "evaluate")
    told = dict(version.metrics) | {"return_gap": -3.2, "return_gap_points": -45.0, "return_gap_points_se": 2.0}
    point = facts_of_run.point_of(0, 1.0, 1.0, told, {"open_loop_bias": 30.0, "open_loop_correlation": 0.5})
    assert math.isnan(point.gap)
    assert math.isnan(point.bias)
    assert (point.gap_points, point.correlation) == (-45.0, 0.5)
    near = facts_of_run.point_of(0, 1.0, 1.0, told | {"return_gap": -0.2}, {})
    assert near.gap == -0.2
    del told["return_gap_points"]
    older = facts_of_run.point_of(0, 1.0, 1.0, told | {"predicted_return": 7.0, "real_return": 5.0}, {})
    assert older.gap_points == 2.0


def test_every_figure_of_training_that_is_drawn_has_its_meaning(runs):
    store = Store.open(runs / "one")
    curves = Facts.of(store, stored_config(store)).curves
    drawn = {curve.metric for curve in curves}
    assert {"approx_kl", "entropy", "explained_variance", "recon_loss", "nll"} <= drawn
    assert all(curve.meaning for curve in curves)
    assert not drawn & {"units", "frames"}


def test_curves_are_where_their_iterations_are(runs):
    store = Store.open(runs / "one")
    curves = Facts.of(store, stored_config(store)).curves
    for curve in curves:
        assert [x for x, _ in curve.ends] == [1.0, 2.0]
        assert [x for x, _ in curve.way] == sorted(x for x, _ in curve.way)
        assert all(0 < x < 2 and x % 1 for x, _ in curve.way)
    assert any(curve.way for curve in curves)


def test_runs_that_differ_only_by_seed_are_one_line_with_a_band(runs):
    store = Store.open(runs / "one")
    one = Facts.of(store, stored_config(store))
    config = with_settings(one.config, {"seed": 8})
    points = [point._replace(score=point.score + 2.0) for point in one.points]
    other = dataclasses.replace(one, name="other", config=config, points=points)
    apart = dataclasses.replace(one, name="apart", config=with_settings(one.config, {"dream": {"horizon": 7}}))
    group, alone = groups.grouped([one, other, apart])
    assert [facts.name for facts in group.runs] == ["one", "other"]
    assert [facts.name for facts in alone.runs] == ["apart"]
    middle, deviation, count = group.best()
    assert count == 2
    assert middle == pytest.approx(one.best.score + 1.0)
    assert deviation == pytest.approx(math.sqrt(2.0))
    page = compare([one, other, apart], [("one", ["wmloop eval one"])]).decode()
    words = " ".join(Page(page).words)
    assert "one, other differ in the seed alone" in words
    assert "mean of 2: one, other" in words
    assert re.search(r"dream\.horizon +5 +5 +7 ", words)


@pytest.mark.parametrize("name", ["world-model", "hs18", "hs18-dream"])
def test_how_c_learns_is_told_of_each_pipeline(name):
    told = world_model([pipelines.get(name)])["C"]
    assert ("inside M's dreams" in told) == (name != "hs18")
    assert ("CMA-ES" in told) == (name != "world-model")
    assert ("not clearly below the best" in told) == (name != "hs18")
    both = world_model([pipelines.get(one) for one in ("world-model", name, "world-model")])["C"]
    assert both.count("C learns inside M's dreams") == 1
    assert (f"In {name}:" in both) == (name != "world-model")


def test_a_folder_where_the_page_would_go_is_refused(runs, tmp_path):
    (tmp_path / "report.html").mkdir()
    refused = wmloop("report", "one", "--to", tmp_path, runs=runs)
    assert refused.exit_code == 2
    assert "is a folder: choose another place with --to" in " ".join(refused.stderr.split())


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(runs):
    store = Store.open(runs / "one")
    one = Facts.of(store, stored_config(store))
    other = dataclasses.replace(one, name="_other", config=with_settings(one.config, {"dream": {"horizon": 7}}))
    figure = groups.together(groups.grouped([one, other]), "frames")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["one", "_other"]


def test_runs_of_one_seed_are_never_taken_for_several(runs):
    store = Store.open(runs / "one")
    one = Facts.of(store, stored_config(store))

    def like(name, **changes):
        return dataclasses.replace(one, name=name, config=with_settings(one.config, changes))

    longer, other, third = like("longer", budget={"iterations": 9}), like("other", seed=99), like("third", seed=98)
    told = groups.grouped([one, longer, other, third])
    assert [[facts.name for facts in group.runs] for group in told] == [["one", "other", "third"], ["longer"]]


@pytest.mark.parametrize(
    ("rewards", "cut"),
    [
        ([-1.0] * 149 + [10.0], False), ([0.0] * 149 + [1.0], False), ([-1.0, 0.0] * 70 + [1.0] * 10, False),
        ([0.0, 1.0] * 75, False), ([0.5, 1.0] * 75 + [100.0], True),
    ],
)  # fmt: skip
def test_a_chart_of_rewards_hides_none_but_one_far_above_all_others(rewards, cut):
    drive = Drive(1, sum(rewards), 5, np.zeros((len(rewards), 1)), np.array(rewards))
    middle = episode(drive).axes[1]
    low, high = middle.get_ylim()
    assert low <= min(rewards) < high
    assert (high < max(rewards)) == cut


def test_numbers_are_told_with_the_digits_that_they_have():
    assert [cell(x) for x in (0.0, 123.4, 12.34, 1.234, 0.1234, 0.00042)] == [
        "0.00", "123", "12.3", "1.23", "0.123", "0.000420"
    ]  # fmt: skip
    assert mean(0.001, 0.0005) == "0.00100 ± 0.00050"
    assert [mean(1.5, 0.25), mean(0.0, 0.0), mean(912.3, 35.9)] == ["1.50 ± 0.25", "0.00 ± 0.00", "912 ± 36"]
    assert [points(x) for x in (0.0, 3.24, -0.1, 0.94, 0.00042, 900.04)] == [
        "0.0",
        "3.2",
        "-0.10",
        "0.94",
        "0.00042",
        "900.0",
    ]
    assert points(0.25, "+") == "+0.25"


def test_a_run_without_single_tracks_has_its_mark_among_the_spreads(runs):
    store = Store.open(runs / "one")
    one = Facts.of(store, stored_config(store))
    bare = dataclasses.replace(one, name="bare", tracks=[])
    (axes,) = groups.spreads([one, bare]).axes
    assert len(axes.containers) == 1
    assert axes.containers[0].lines[0].get_ydata() == pytest.approx([one.best.score])


@pytest.mark.parametrize(("goal", "drawn"), [(10.0, True), (14.0, True), (905.0, False), (-300.0, False)])
def test_a_far_goal_is_named_and_does_not_flatten_the_curves(goal, drawn):
    _, axes = drawing.axes()
    axes.plot([0, 1], [1.0, 12.0])
    before = axes.get_ylim()
    goal_line(axes, goal, [1.0, 12.0])
    assert any(
        f"goal {goal:g}" in text for text in (axes.get_title("right"), *(text.get_text() for text in axes.texts))
    )
    assert (len(axes.lines) == 2) == drawn
    assert drawn or axes.get_ylim() == before


def test_ticks_of_iterations_are_whole():
    _, axes = drawing.axes()
    axes.plot([0, 1], [1.0, 12.0])
    drawing.whole_ticks(axes)
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_work_is_told_in_seconds_minutes_or_hours(runs):
    store = Store.open(runs / "one")
    one = Facts.of(store, stored_config(store))
    for hours, told in (
        (0.01, ("seconds of work", 3600.0)),
        (0.5, ("minutes of work", 60.0)),
        (9.0, ("hours of work", 1.0)),
    ):
        long = dataclasses.replace(one, points=[one.points[0]._replace(hours=hours)])
        assert along([long], "hours") == told


def test_figures_have_the_page_s_colours():
    _, axes = drawing.axes(xlabel="iteration")
    axes.plot([0, 1], [1.0, 12.0], color=drawing.REAL)
    drawn = drawing.svg(axes.figure)
    assert "var(--c0072b2)" in drawn
    assert "currentColor" in drawn
    assert drawing.INK not in drawn
    assert "#000000" not in drawn
    assert ' id="axes_1"' not in drawn


def test_a_report_of_an_agent_that_was_imported_leaves_out_what_is_not_recorded(runs, tmp_path):
    assert wmloop("export", "one", "--to", tmp_path / "agent.safetensors", runs=runs).exit_code == 0
    assert wmloop("import", tmp_path / "agent.safetensors", "given", runs=tmp_path).exit_code == 0
    assert wmloop("report", "given", "--trust-env", "--to", tmp_path / "here", runs=tmp_path).exit_code == 0
    words = check(tmp_path / "here" / "report.html")
    assert not re.search(r"\b0\.0 s\b", words)
    assert "This agent was imported" in words
    assert "of work" not in words
    assert "wmloop resume" not in words


def test_a_report_on_a_world_model_that_draws_no_pictures_says_so_and_shows_the_rest(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(VisionMemory, "decode", lambda self, features: None)
    assert wmloop("report", "one", "--to", tmp_path / "here", runs=runs).exit_code == 0
    words = check(tmp_path / "here" / "report.html")
    assert "does not predict images" in words
    assert "What is missing there is not available" not in words
    assert "Terminations" in words
    assert "rewards predicted one agent step ahead" in words
    assert "error of the predicted images" not in words


def test_words_from_strangers_stay_words(runs, seen, tmp_path):
    store = Store.open(runs / "one")
    facts = Facts.of(store, stored_config(store))
    facts.made.update(cpu="<script>alert(1)</script>", versions=["none"])
    (tmp_path / "page.html").write_bytes(describe(facts, seen, 1, Commands(["<b>"], [], {"<i>": "<u>"})))
    words = check(tmp_path / "page.html")
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
    assert "the time of each stage" in words


def test_a_probe_branches_its_dreams_inside_the_episodes(runs, seen):
    assert seen.real.shape == seen.seen.shape == seen.came.shape == seen.expected.shape == (6, 64, 64, 3)
    assert 1 <= len(seen.strips) <= 3
    for strip in seen.strips:
        assert strip.real.shape == strip.seen.shape == strip.dreamt.shape == (len(seen.steps), 64, 64, 3)
    assert seen.dream_error.shape == seen.stay_error.shape
    assert 1 == seen.steps[0] <= seen.steps[-1] <= len(seen.dream_error)
    assert np.isfinite(seen.dream_error).all()
    assert seen.seen_error < 64
    decisions = len(seen.reward)
    assert seen.done.shape == (decisions, 2)
    assert ((seen.done >= 0) & (seen.done <= 1)).all()
    assert seen.reward[:, 1].sum() == pytest.approx(sum(seen.scores), abs=1e-3)
    # eyes open or closed, the same seed gives the same pictures
    np.testing.assert_array_equal(look(runs).dream_error, seen.dream_error)


def test_the_layers_listed_are_all_there_are_and_as_many_as_the_seeds():
    cpu, actions = torch.device("cpu"), BoxActions([-1, 0, 0], [1, 1, 1])
    config = WorldModelConfig(vision={"network": "ha2018"})
    memory = new_memory(config, config.vision.latent_size, 3, cpu)
    world = VisionMemory(new_vision(config, cpu), memory, 10.0)
    agent = Agent(world, new_actor(config, memory.features, actions, cpu), actions)
    agent.critic = new_critic(config, memory.features, cpu)
    features = torch.zeros(1, config.vision.latent_size + config.memory.hidden_size)
    listed = probe.networks(agent, features, Pixels(64, 64))

    def total(layers):
        return sum(layer.parameters for layer in layers)

    for name, network in (("V, the VAE", world.vision), ("M, the MDN-RNN", world.memory), ("C's actor", agent.actor)):
        assert total(listed[name]) == sum(part.numel() for part in network.parameters() if part.requires_grad)
    assert (total(listed["V, the VAE"]), total(listed["C's actor"])) == (4_348_547, 181_318)
    own = [layer for layer in listed["M, the MDN-RNN"] if layer.name.startswith(("lstm", "mixture_head"))]
    assert total(own) == 422_368


def test_a_grid_places_pictures_where_they_belong():
    rows = [np.full((3, 4, 5, 3), shade, np.uint8) for shade in (10, 200)]
    sheet = pictures.grid(rows)
    assert sheet.shape == (2 * 4 + 4, 3 * 5 + 2 * 4, 4)
    for i, j in itertools.product(range(2), range(3)):
        assert (sheet[8 * i : 8 * i + 4, 9 * j : 9 * j + 5] == [*[(10, 200)[i]] * 3, 255]).all()
    assert (sheet[4:8] == 0).all()


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
