"""What docs/results and its pictures are made of: `python -m tools.results page` and `picture`."""

import dataclasses
import json
import math
import re
import statistics
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.tiny_env import MAX_STEPS
from tools import gallery, page, results
from tools.seeds import Seed
from wmloop.config import with_settings
from wmloop.config.text import to_toml
from wmloop.errors import UsageError
from wmloop.models.vision_memory import VisionMemory
from wmloop.opening import history_of, stored_config
from wmloop.ranking import interval
from wmloop.store import Store

SVG = "{http://www.w3.org/2000/svg}"
#: Scores on fresh episodes, by the run's seed.
FRESH = {7: [2.5, 3.5, 6.25], 8: [1.0, 4.0], 9: [0.5, 0.25, 0.75]}


def made(twice, folder, seed, changes=None, fresh=FRESH):
    """Return the folder of a run with the versions of the finished one, whose settings say that it is another."""
    origin = Store.open(twice.runs / "tiny")
    config = with_settings(stored_config(origin), {"seed": seed, **(changes or {})})
    store = Store.create(folder, f"s{seed}", to_toml(config), origin.facts, origin.versions())
    if seed in fresh:
        score(store, fresh[seed])
    return store.path


def score(store, scores, digest=None):
    best = history_of(store, stored_config(store)).best_evaluation()
    agent = store.version(best.iteration, "controller")
    tracks = [{"seed": 100 + i, "score": one} for i, one in enumerate(scores)]
    told = {"created": "2026-11-29T10:00:00+00:00", "version": agent.name, "hash": digest or agent.hash, "seed": 12}
    store.evaluations.add({**told, "tracks": tracks})


@pytest.fixture
def three(twice, tmp_path):
    """Return the folders of three runs that differ only by seed."""
    return [made(twice, tmp_path / "runs", seed) for seed in FRESH]


def table(text, head):
    """Return the rows of the table whose head has this column, by the columns' names."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|") and head in cells(line))
    names, rows = cells(lines[first]), []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, cells(line), strict=True)))
    return rows


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def near(shown, value):
    """Return whether a figure as it is shown is the value, rounded to its last digit."""
    digits = len(shown.partition(".")[2])
    return math.isclose(float(shown), value, abs_tol=0.5 * 10**-digits + 1e-9)


def test_a_pages_numbers_are_those_of_its_runs(three, tmp_path):
    page.write(tmp_path, "tiny", [three[1], three[0], three[2]])
    text = (tmp_path / "tiny.md").read_text()
    rows = table(text, "worst")
    assert [row["seed"] for row in rows] == ["7", "8", "9"]
    for row, path in zip(rows, three, strict=True):
        store = Store.open(path)
        versions = {(v.iteration, v.stage): v for v in store.versions()}
        best = history_of(store, stored_config(store)).best_evaluation()
        fresh = FRESH[int(row["seed"])]
        assert row["real frames"] == f"{sum(versions[i, 'rollout'].metrics['frames'] for i in (0, 1)):.0f}"
        assert near(row["minutes"], sum(v.seconds for v in versions.values()) / 60)
        assert near(row["predicted return"], best.metrics["predicted_return"])
        assert near(row["real return"], best.metrics["real_return"])
        assert near(row["gap"].split()[0], best.metrics["return_gap_points"])
        mean, _, deviation = row["**fresh episodes**"].strip("*").partition(" ± ")
        assert near(mean, statistics.fmean(fresh))
        assert near(deviation, statistics.stdev(fresh))
        low, _, high = row["95% of the mean"].partition(" to ")
        assert near(low, interval(fresh)[0])
        assert near(high, interval(fresh)[1])
        assert near(row["worst"], min(fresh))
    for row in table(text, "iterations 0, 1, ..."):
        shown = row["iterations 0, 1, ..."].split(", ")
        assert all(near(score.strip("*"), versions[i, "evaluate"].metrics["score"]) for i, score in enumerate(shown))
        assert [score.startswith("**") for score in shown] == [i == best.iteration for i in (0, 1)]


def test_a_page_says_what_its_runs_recorded_of_where_they_were_made(three, tmp_path):
    page.write(tmp_path, "tiny", three)
    text = (tmp_path / "tiny.md").read_text()
    facts = Store.open(three[0]).facts
    for said in (
        f"Python {facts['python']}",
        f"torch {facts['versions']['torch']}",
        facts["cpu"],
        "tools.results page tiny",
    ):
        assert said in text
    assert facts["platform"] not in text
    assert str(tmp_path) not in text, "a page names no folder of the machine that wrote it"
    commands = text.partition("```text\n")[2].partition("```")[0].splitlines()
    assert sum(" --seed 8 " in line and line.startswith("wmloop start s8 ") for line in commands) == 1
    assert "wmloop eval s8 --episodes 2 --seed 12 --runs again" in commands
    assert len(commands) == len(set(commands)) == 6


def test_a_curve_is_well_formed_and_has_a_line_for_each_seed_and_the_goal(twice, tmp_path):
    paths = [made(twice, tmp_path / "runs", seed, {"budget": {"goal": 1.0}}) for seed in FRESH]
    page.write(tmp_path, "tiny", paths)
    text = (tmp_path / "tiny.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    words = {"".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")}
    assert {"seed 7", "seed 8", "seed 9", "real frames collected"} <= words
    assert any(word.startswith("goal 1") for word in words)
    assert "var(" not in text, "there is no page around it that sets variables"
    assert "currentColor" not in text
    assert text == page.curve([Seed.of(path) for path in paths]), "the same runs give the same file"


def test_a_run_that_has_no_fresh_evaluation_is_told_with_the_command_that_makes_one(twice, three, tmp_path):
    bare = made(twice, tmp_path / "runs", 10)
    with pytest.raises(UsageError, match=re.escape(f"wmloop eval s10 --episodes 100 --seed N --runs {bare.parent}")):
        page.write(tmp_path, "tiny", [*three, bare])
    assert not list(tmp_path.glob("tiny.*"))
    score(Store.open(bare), [3.0, 4.0], digest="0" * 64)  # of an agent that has been made anew since
    with pytest.raises(UsageError, match="wmloop eval s10"):
        page.write(tmp_path, "tiny", [*three, bare])
    score(Store.open(bare), [3.0, 4.0])
    page.write(tmp_path, "tiny", [*three, bare])
    assert [row["seed"] for row in table((tmp_path / "tiny.md").read_text(), "worst")] == ["7", "8", "9", "10"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"env": {"id": "CartPole-v1"}, "dream": {"horizon": 7}}, "env.id"),
        ({"dream": {"horizon": 7}}, "dream.horizon"),
        ({"budget": {"goal": 3.0}}, "budget.goal"),
    ],
)
def test_runs_of_two_tasks_or_settings_are_refused_and_what_differs_is_named(twice, three, tmp_path, changes, named):
    other = made(twice, tmp_path / "others", 10, changes, {10: [1.0]})
    with pytest.raises(UsageError, match=rf"s7 and s10 differ in {re.escape(named)} \("):
        page.write(tmp_path, "tiny", [*three, other])
    assert not list(tmp_path.glob("tiny.*"))


def test_what_a_run_has_of_its_machine_makes_it_no_other(twice, three, tmp_path):
    other = made(twice, tmp_path / "others", 10, {"threads": 3, "store": {"keep_best": 4}}, {10: [1.0]})
    page.write(tmp_path, "tiny", [*three, other])
    assert (tmp_path / "tiny.md").exists()


def test_a_seed_counts_once(twice, three, tmp_path):
    again = made(twice, tmp_path / "others", 8)
    with pytest.raises(UsageError, match="there are several of 8"):
        page.write(tmp_path, "tiny", [*three, again])


@pytest.mark.parametrize("name", ["index", "../tiny", "Tiny", "", "tiny.md"])
def test_a_page_has_a_plain_name(three, tmp_path, name):
    with pytest.raises(UsageError, match="cannot name a page"):
        page.write(tmp_path, name, three)


def confirmed(path, goal, when):
    """Return the run as if these of its evaluations had confirmed a goal."""
    seed = Seed.of(path)
    config = with_settings(seed.facts.config, {"budget": {"goal": goal}})
    told = {"confirmed_score": goal + 1.0, "confirmed_score_low": goal, "confirmed_score_se": 0.5}
    scored = {i: {**metrics, **(told if i in when else {})} for i, metrics in seed.scored.items()}
    return seed._replace(facts=dataclasses.replace(seed.facts, config=config), scored=scored)


def test_frames_and_minutes_are_those_to_the_goal_or_else_of_the_whole_run(three):
    seeds = [confirmed(three[0], 2.0, {0, 1}), confirmed(three[1], 2.0, {1}), confirmed(three[2], 2.0, set())]
    text = page.page("tiny", seeds, False)
    rows = table(text, "worst")
    most = seeds[0].facts.config.budget.iterations
    assert [row["iterations to the goal"] for row in rows] == ["1", "2", f"not reached in 2 of {most}"]
    points = seeds[0].facts.points
    assert [float(row["real frames"]) for row in rows] == [points[0].frames, points[1].frames, points[1].frames]
    assert near(rows[0]["minutes"], 60 * points[0].hours)
    said = f"2 of 3 seeds reached the goal of 2, with {points[0].frames:.0f} to {points[1].frames:.0f} real frames."
    assert said in text
    assert "3 of 3" not in text


def test_published_scores_stand_beside_those_of_the_seeds(three):
    seeds = []
    for path in three:
        seed = Seed.of(path)
        config = with_settings(seed.facts.config, {"env": {"id": "Pendulum-v1"}})
        seeds.append(seed._replace(facts=dataclasses.replace(seed.facts, config=config)))
    text = page.page("pendulum", seeds, False)
    assert text.startswith("# Pendulum-v1\n\nA pendulum to swing up")
    rows = {row["system"]: row["mean score"] for row in table(text, "mean score")}
    assert rows["SAC"] == "-157 ± 89"
    assert rows["wmloop, seed 8"] == "**2.5 ± 2.1**"
    assert "RL Baselines3 Zoo" in text
    assert "Beside published scores" not in page.page("tiny", [Seed.of(path) for path in three], False)


def test_a_picture_that_lies_beside_a_page_is_on_it(three, tmp_path):
    page.write(tmp_path, "tiny", three)
    assert "tiny.png" not in (tmp_path / "tiny.md").read_text()
    (tmp_path / "tiny.png").touch()
    page.write(tmp_path, "tiny", three)
    assert "](tiny.png)" in (tmp_path / "tiny.md").read_text()


def test_the_list_of_pages_has_each_with_what_came_of_it(three, tmp_path):
    page.write(tmp_path, "tiny", three)
    page.write(tmp_path, "small", three[:2])
    rows = table((tmp_path / "index.md").read_text(), "result")
    assert [row["task"].partition("](")[2] for row in rows] == ["small.md)", "tiny.md)"]
    verdict = (tmp_path / "tiny.md").read_text().split("\n\n")[2]
    assert rows[1]["result"] == verdict
    assert "4.08, 2.50, 0.50 (seeds 7, 8, 9)" in verdict
    assert "\nsmall\ntiny\n" in (tmp_path / "index.md").read_text().partition("{toctree}")[2]


def test_the_list_in_the_documentation_is_of_the_pages_there():
    assert (page.FOLDER / "index.md").read_text() == page.index(page.FOLDER), (
        "write a page again, or the list by itself"
    )


def test_a_picture_shows_a_held_out_episode_above_the_dream_of_the_same_moments(twice, tmp_path, capsys):
    results.main(["picture", str(twice.runs / "tiny"), str(tmp_path / "both.png")])
    pair = gallery.beside(Store.open(twice.runs / "tiny"))
    store = Store.open(twice.runs / "tiny")
    best = history_of(store, stored_config(store)).best_evaluation()
    held = {one["seed"]: one["score"] for one in json.loads((best.path / "tracks-0000.json").read_text())}
    assert held[pair.seed] == pytest.approx(pair.score), "it is an episode that the run was scored on, driven again"
    assert pair.real.shape == pair.dreamt.shape == (len(pair.steps), 64, 64, 3)
    assert pair.steps[0] == 1
    assert pair.steps == sorted(set(pair.steps))
    assert pair.decision + pair.steps[-1] <= MAX_STEPS
    assert not np.array_equal(pair.real, pair.dreamt)
    with Image.open(tmp_path / "both.png") as picture:
        sheet = np.asarray(picture.convert("RGB"))
    assert (sheet[: 2 * 64 : 2, : 2 * 64 : 2] == pair.real[0]).all()
    assert (sheet[2 * 68 :: 2, : 2 * 64 : 2] == pair.dreamt[0]).all()
    assert (tmp_path / "both.png").stat().st_size < 150_000
    assert f"held-out episode {pair.seed}" in capsys.readouterr().out


def test_the_tasks_of_runs_are_one_row_of_what_people_see(twice, tmp_path):
    run = str(twice.runs / "tiny")
    results.main(["tasks", run, run, str(tmp_path / "row.png")])
    with Image.open(tmp_path / "row.png") as picture:
        assert picture.size == (240 + 6 + 240, 160)
        row = np.asarray(picture.convert("RGBA"))
    assert (row[:, :240] == row[:, 246:]).all(), "the same run twice"
    assert not row[:, 240:246, 3].any()
    assert (row[:, :240, 3] == 255).all()
    assert row[:, :240, :3].std() > 5, "something is drawn"


def test_a_picture_of_noise_is_small_all_the_same(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    pair = gallery.Pair(1, 2.0, 3, list(range(8)), noise, noise[::-1])
    monkeypatch.setattr(gallery, "beside", lambda store: pair)
    monkeypatch.setattr(Store, "open", lambda path: None)
    gallery.write(tmp_path, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size < 150_000
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.size == (2 * (8 * 68 - 4), 2 * (2 * 68 - 4))


def test_a_world_model_that_draws_nothing_has_no_picture(twice, tmp_path, monkeypatch):
    monkeypatch.setattr(VisionMemory, "decode", lambda self, features: None)
    with pytest.raises(UsageError, match="no picture to show"):
        gallery.write(twice.runs / "tiny", tmp_path / "both.png")
    assert not (tmp_path / "both.png").exists()


@pytest.mark.parametrize(
    "words", [[], ["page", "tiny"], ["picture", "run"], ["draw", "run", "file"], ["tasks", "file"]]
)
def test_words_that_say_nothing_are_answered_with_what_can_be_said(words):
    with pytest.raises(SystemExit, match=r"python -m tools\.results page TASK RUN RUN RUN"):
        results.main(words)
