"""Vectors in front of people: plots, dreams drawn by the environment, keys of discrete actions, the report."""

import contextlib
import itertools
import re

import numpy as np
import pytest
import torch

from tests.test_play import Script
from tests.vector_envs import vector_env
from tests.vector_world import PointEnv, VectorWorld, point_agent
from wmloop.agents.agent import Exploration
from wmloop.agents.random_walk import RandomWalk
from wmloop.agents.world_model import Agent
from wmloop.config import EnvConfig, build_config
from wmloop.display.keys import Controls, from_held
from wmloop.display.plots import COLOURS, MOMENTS, MOST, Plot
from wmloop.display.showing import ClosedError
from wmloop.envs import PoolStep, RealEnv, RemoteEnv, engine
from wmloop.envs.drawing import DrawingEnv
from wmloop.models import networks
from wmloop.models.encoder import Parts, Vectors, make_encoder
from wmloop.models.vision_memory import VisionMemory
from wmloop.models.world_model import decode_vector
from wmloop.player import Comparison, Dreamt, Plain, Player, Real
from wmloop.report import charts, probe
from wmloop.report.html import Page
from wmloop.report.worlds import watched, worlds
from wmloop.spaces import BoxActions, DiscreteActions, PictureAndVector, Pixels, Vector

CPU = torch.device("cpu")


# ---- plots


def rows_of(picture, name):
    """Return the middle row of a name's line in each column that has it, by column."""
    there = (picture[20:] == COLOURS[name]).all(-1)
    return {int(x): float(np.flatnonzero(there[:, x]).mean()) for x in np.flatnonzero(there.any(0))}


def test_a_plot_rises_where_the_number_does_and_ends_with_the_latest_moment():
    plot = Plot()
    for t in range(MOMENTS // 2):
        plot.add({"real": np.array([t / 10], np.float32)})
    picture = plot.draw(400, 300)
    assert (picture.shape, picture.dtype) == ((400, 300, 3), np.uint8)
    rows = rows_of(picture, "real")
    heights = [rows[x] for x in sorted(rows)]
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(heights))
    assert heights[0] - heights[-1] > 250
    assert max(rows) == pytest.approx(149, abs=3)  # half of the moments


def test_what_is_expected_lies_above_what_is_real_where_it_is_greater_and_gaps_stay_empty():
    plot = Plot()
    for t in range(MOMENTS):
        vectors = {"real": np.zeros(1, np.float32), "expected": np.ones(1, np.float32)}
        plot.add(vectors if t < 50 else vectors | {"dream": np.full(1, 0.5, np.float32)})
    picture = plot.draw(200, 400)
    real, expected, dream = (rows_of(picture, name) for name in COLOURS)
    assert expected[100] < real[100]
    assert expected[300] < dream[300] < real[300]
    assert min(dream) > 190  # there was none before


@pytest.mark.parametrize("size", [1, 4, 7, MOST, 100])
def test_a_plot_of_any_size_shows_numbers_that_never_change(size):
    plot = Plot()
    assert not plot
    plot.add({})
    assert not plot
    for _ in range(3):
        plot.add({"real": np.full(size, 2.5, np.float32)})
    assert plot
    assert (plot.draw(400, 400) == COLOURS["real"]).all(-1).any()


# ---- pictures of vectors, by the environment


def config_of(name, **more):
    return EnvConfig(id=vector_env(name), num_envs=2, **more)


def test_an_environment_whose_picture_follows_its_state_draws_any_vector():
    with contextlib.closing(DrawingEnv(config_of("Follows"))) as env:
        for place in (-1.0, 0.0, 0.5):
            drawn = env.draw(np.array([place], np.float32))
            assert np.flatnonzero(drawn[0, :, 0]).tolist() == [round((place + 1) / 2 * 47)]


@pytest.mark.parametrize("name", ["Stubborn", "Undrawn", "Both"])
def test_an_environment_whose_picture_does_not_follow_draws_none(name):
    with contextlib.closing(DrawingEnv(config_of(name))) as env:
        assert env.draw(env.reset(3)) is None


def test_a_copy_draws_and_the_one_that_is_driven_stays_where_it_is():
    with contextlib.closing(RemoteEnv(config_of("Follows"))) as env:
        env.reset(5)
        before = env.render()
        drawn = env.draw(np.array([-1.0], np.float32))
        assert np.flatnonzero(drawn[0, :, 0]).tolist() == [0]
        np.testing.assert_array_equal(env.render(), before)


# ---- what comes back out of features


def test_a_vector_comes_back_out_of_its_latents_beside_a_picture_or_alone():
    rng = np.random.default_rng(0)
    spec = PictureAndVector(Pixels(64, 64), Vector(3))
    vectors = (5 * rng.standard_normal((6, 3)) + 2).astype(np.float32)
    pictures = rng.integers(0, 255, (6, 64, 64, 3), np.uint8)
    joined = np.stack([spec.join(p, v) for p, v in zip(pictures, vectors, strict=True)])
    for one, vector in zip(joined, vectors, strict=True):
        np.testing.assert_array_equal(spec.numbers(one), vector)
    for parts, seen in ((Parts(True, 3), joined), (Parts(False, 3), vectors)):
        encoder = make_encoder(parts, "light", 4)
        encoder.look([torch.from_numpy(seen)])
        told = encoder.vector(encoder.see(torch.from_numpy(seen))[0])
        np.testing.assert_allclose(told.detach(), vectors, rtol=1e-4, atol=1e-4)
    assert make_encoder(Parts(True, 0), "light", 4).vector(torch.zeros(1, 4)) is None
    assert Pixels(64, 64).numbers(pictures[0]) is None


def test_a_world_model_that_tells_no_vectors_needs_no_word_for_it():
    assert decode_vector(VectorWorld(), torch.zeros(1, 2)) is None


# ---- the player


def world_agent(env):
    """Return an agent with untrained networks for an environment of vectors."""
    torch.manual_seed(0)
    config = build_config("smoke", {"env": {"id": env.config.id}})
    memory = networks.new_memory(config, 1, env.actions.size, CPU)
    actor = networks.new_actor(config, memory.features, env.actions, CPU)
    return Agent(
        VisionMemory(Vectors(1), memory, 1.0), actor, env.actions, networks.new_critic(config, memory.features, CPU)
    )


@pytest.fixture
def env():
    config = config_of("Follows")
    with contextlib.closing(RealEnv(config, "rgb_array")) as env:
        env.config = config
        yield env


def test_reality_tells_the_vector_that_is_observed_and_the_one_expected_and_dreamt(env):
    agent, drawn = world_agent(env), []
    real = Real(env, agent, lambda vector: drawn.append(vector) or np.zeros((8, 8, 3), np.uint8))
    real.reset(1)
    assert list(real.moment.pictures) == ["real", "expected"]
    assert list(real.moment.vectors) == ["real", "expected"]
    real.dreaming = True
    for _ in range(3):
        real.step()
        assert real.moment.vectors["real"].shape == (1,)
    assert list(real.moment.pictures) == list(real.moment.vectors) == ["real", "expected", "dream"]
    expected = agent.world.decode_vector(agent.world.expected(real.state).features)[0]
    np.testing.assert_array_equal(real.moment.vectors["expected"], expected)
    np.testing.assert_array_equal(drawn[-2], expected)
    np.testing.assert_array_equal(drawn[-1], real.moment.vectors["dream"])
    dream = Dreamt(real, 60, 1)
    dream.begin(1)
    assert list(dream.moment.pictures) == list(dream.moment.vectors) == ["dream"]


def test_a_vector_without_a_renderer_is_plotted_in_every_world(env):
    real = Real(env, world_agent(env))
    env.render = lambda: None
    for place in ("real", "both", "dream"):
        script = Script({}, longest=3)
        with contextlib.suppress(ClosedError):
            Player(script, real, Dreamt(real, 60, 1), place, "line", 10.0).play([1])
        picture = script.shown[-1][0]
        assert picture.shape == (400, 800, 3)
        for name, there in (("real", place != "dream"), ("expected", place != "dream"), ("dream", place != "real")):
            assert (picture[20:] == COLOURS[name]).all(-1).any() == there, (place, name)


def test_two_agents_are_compared_by_their_vectors(env):
    class Still:
        def start(self, num_envs):
            return None

        def act(self, carry, observations, exploration: Exploration | None = None):
            return np.ones(len(observations), np.int64), None

    worlds_ = {"one": Plain(env, Still()), "two": Plain(env, Still())}
    both = Comparison(worlds_)
    both.reset(2)
    assert both.moment.vectors.keys() == both.moment.pictures.keys() == worlds_.keys()
    env.render = lambda: None
    both.reset(2)
    assert both.moment.pictures == {}
    assert both.moment.vectors.keys() == worlds_.keys()


def test_a_picture_and_a_vector_at_once_are_shown_beside_each_other():
    with contextlib.closing(RealEnv(config_of("Both"), "rgb_array")) as env:
        world = Plain(env, RandomWalk(np.full((100, 1), 2)))
        script = Script({}, longest=3)
        with contextlib.suppress(ClosedError):
            Player(script, world, None, "real", "both", 10.0).play([1])
        picture = script.shown[-1][0]
        assert picture.shape == (400, 800, 3)  # the picture, and the plot of place and steps
        assert world.moment.vectors["real"][1] == world.moment.decision
        assert picture[:, :400].max() == 255


# ---- keys


def test_a_number_key_is_an_action_and_the_arrows_are_as_the_environment_names_them(env):
    actions = env.actions
    assert int(actions.from_keys(*from_held({"2"}))) == 2
    assert int(actions.from_keys(*from_held({"left", "2"}))) == 2
    assert int(actions.from_keys(*from_held({"7"}))) == int(actions.from_keys(*Controls())) == 1  # there is no seventh
    assert int(actions.from_keys(*from_held({"left"}))) == 0
    assert actions.describe(np.asarray(2)) == "2 RIGHT"
    assert dict(actions.keys()) == {
        "arrows, w a s d": "no key: 1 NOOP, left: 0 LEFT, right: 2 RIGHT, up: 1 NOOP, down: 1 NOOP",
        "0 to 2": "the action of that number",
    }
    assert DiscreteActions(30).keys()[-1][0] == "0 to 9"
    assert DiscreteActions(4).describe(np.asarray(3)) == "3"


@pytest.mark.parametrize(("size", "told"), [(1, "left, right: action 0"), (2, "left, right: action 0; down, up: action 1"),
                                            (3, "left, right: action 0; up: action 1; down: action 2")])  # fmt: skip
def test_the_help_tells_which_numbers_of_an_action_the_arrows_are(size, told):
    actions = BoxActions([-1] * size, [1] * size)
    assert actions.keys() == [("arrows, w a s d", told)]
    assert actions.from_keys(*from_held({"3", "right"})).tolist() == [1.0] + [0.0] * (size - 1)


def test_the_question_mark_shows_the_keys_of_the_actions_and_a_number_acts(env):
    script = Script({1: ["m"], 2: ["?"]}, hand=Controls(digit=2), longest=4)
    with contextlib.suppress(ClosedError):
        Player(script, Plain(env, RandomWalk(np.ones((100, 1), np.int64))), None, "real", "line", 10.0).play([1])
    assert "policy's action 1 NOOP" in script.shown[0][2][1]
    lines = script.shown[3][2]
    assert "your action 2 RIGHT" in lines[1]
    assert any("left: 0 LEFT" in line for line in lines)


# ---- the report


class Points:
    """An engine: points that episodes of 40 decisions push about."""

    actions, observations = PointEnv.actions, Vector(2)

    def __init__(self, config, num_envs, max_unrewarded=None, output=None):
        self.num_envs, self._sent = num_envs, []
        self._points, self._left = [PointEnv() for _ in range(num_envs)], [0] * num_envs

    def reset(self, seeds, decisions=None):
        for i, seed in enumerate(seeds):
            if seed is not None:
                self._points[i].reset(seed)
                self._left[i] = 40
        return np.stack([point.point for point in self._points])

    def send(self, copies, actions):
        self._sent.append((copies, actions))

    def receive(self):
        copies, actions = self._sent.pop(0)
        seen, paid = zip(*(self._points[i].step(a)[:2] for i, a in zip(copies, actions, strict=True)), strict=True)
        for i in copies:
            self._left[i] -= 1
        over = np.array([self._left[i] == 0 for i in copies])
        count = len(copies)
        return copies, PoolStep(np.stack(seen), np.array(paid, np.float32), np.zeros(count, bool), over,
                                np.ones(count, np.int64), over.astype(np.int8))  # fmt: skip

    def pin_thread(self, copies):
        pass

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Telling(VectorWorld):
    """The point's world model, which tells the point, too; and one number that it gets wrong."""

    wrong = 0.0

    def decode_vector(self, features):
        return features.numpy() + np.array([0.0, self.wrong], np.float32)


class Served:
    def __init__(self, world):
        self._world = world

    def agent_in(self, env, history, config, device):
        agent = point_agent()
        agent.world = self._world
        return agent


def probed(world, monkeypatch):
    monkeypatch.setitem(engine.ENGINES.own, "points", Points)
    config = build_config("smoke", {"env": {"engine": "points", "num_envs": 2}})
    return probe.look(None, config, Served(world), 0, CPU, lambda text: None)


def told(seen):
    page = Page("page")
    watched(page, seen.drive, seen.dream, "The agent")
    worlds(page, seen)
    return page.text().decode()


def test_where_the_model_is_the_world_its_vectors_come_as_expected_and_as_dreamt(monkeypatch):
    seen = probed(Telling(), monkeypatch)
    made = seen.vectors
    np.testing.assert_allclose(made.error, 0, atol=1e-5)
    np.testing.assert_allclose(made.dream_error, 0, atol=1e-4)
    assert (made.change > 0.01).all()
    assert made.stay_error[-1] > 0.1
    assert len(made.tracks) == 3
    for track in made.tracks:
        assert track.real.shape == track.dreamt.shape == (21, 2)
        np.testing.assert_allclose(track.dreamt, track.real, atol=1e-4)
    real, dreamt = seen.dream.vectors
    np.testing.assert_allclose(dreamt, real, atol=1e-3)
    assert seen.dream.pictures is None
    np.testing.assert_array_equal(seen.drive.vectors[:, 0].shape, seen.drive.rewards.shape)


def test_a_number_that_the_model_gets_wrong_is_found(monkeypatch):
    world = Telling()
    world.wrong = 0.5
    np.testing.assert_allclose(probed(world, monkeypatch).vectors.error, [0, 0.5], atol=1e-5)


def test_the_report_shows_vectors_as_plots_and_no_pictures(monkeypatch):
    text = told(probed(Telling(), monkeypatch))
    words = re.sub(r"<[^>]+>", " ", text)
    for wanted in (
        "The observed vector, one agent step ahead",
        "The observed vector, open loop",
        "M's dream",
        "real episode",
    ):
        assert wanted in words
    for other in ("V's reconstructions", "images", "<img"):
        assert other not in text


def test_a_report_on_a_world_model_without_words_for_its_vectors_says_so(monkeypatch):
    seen = probed(VectorWorld(), monkeypatch)
    assert (seen.vectors, seen.dream, seen.draws) == (None, None, False)
    assert "does not predict images or vectors" in told(seen)


@pytest.mark.parametrize("size", [1, 5, 60])
def test_a_chart_has_a_panel_for_each_number_as_far_as_there_is_room(size):
    figure = charts.vectors({"real": np.zeros((9, size)), "M": np.ones((7, size))}, 3)
    drawn = [axes for axes in figure.axes if axes.lines]
    assert len(drawn) == min(size, charts.MOST)
    real, dreamt = drawn[0].lines
    assert (list(real.get_xdata()), list(dreamt.get_xdata())) == (list(range(3, 12)), list(range(3, 10)))
