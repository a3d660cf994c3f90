"""Vectors and actions in the live view: what stages report of an episode and of a dream, and the plots of it."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.test_view import PICTURE, after, at_work, drawn
from tests.vector_envs import vector_env
from tests.vector_world import VectorWorld, point_agent
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.random_walk import RandomWalk
from wmloop.config import EnvConfig, build_config
from wmloop.display.frames import half_blocks
from wmloop.dreams import Noise
from wmloop.envs import EnvPool
from wmloop.events import Picture, Track
from wmloop.models.networks import new_actor, new_critic
from wmloop.models.policies import Categorical
from wmloop.models.world_model import State
from wmloop.spaces import BoxActions, DiscreteActions
from wmloop.training import driving
from wmloop.training.dream_ppo import DreamPPO
from wmloop.training.driving import Ticker
from wmloop.training.viewer import DreamViewer
from wmloop.view.rows import row_width
from wmloop.view.tracks import plots
from wmloop.view.words import bars, curve

CPU = torch.device("cpu")
BARS, BLANK = "▁▂▃▄▅▆▇█", "\u2800"


def track(kind, steps, numbers, actions=0, begin=0.0):
    """Return a track whose number i rises from `begin` by i + 1 a step; actions are 0 and 1 in turn, or so many numbers."""
    vectors = begin + np.arange(steps + 1, dtype=np.float32)[:, None] * np.arange(1, numbers + 1, dtype=np.float32)
    done = np.linspace(-1, 1, steps)[:, None].repeat(actions, 1) if actions else np.arange(steps) % 2
    return Track(0, "rollout", kind, vectors, done)


def texts(rows):
    return ["".join(span.text for span in row) for row in rows]


def without_pictures():
    return dataclasses.replace(at_work(), pictures={})


def shown(*tracks, pictures=()):
    """Return a run at work that shows these tracks, and kinds of pictures."""
    return after([*tracks, *(Picture(0, "", kind, PICTURE) for kind in pictures)], without_pictures())


# ---- plots


def test_an_episode_and_a_dream_are_plotted_beside_each_other_on_one_scale():
    tracks = {"real": track("real", 7, 2), "dream": track("dream", 3, 2, begin=4.0)}
    assert texts(plots(tracks, 60, 10)) == [
        "── observation and action ─ ── real ────────────── ── dream ",
        "0             0 to 7        ▁▂▃▄▅▆▇█               ▅▆▇█     ",
        "1             0 to 14.0     ▁▂▃▄▅▆▇█               ▃▄▅▆     ",
        "action        0 to 1        0101010                010      ",
    ]


def test_wide_and_tall_plots_are_lines_and_actions_stay_digits():
    tracks = {"real": track("real", 7, 1)}
    rows = texts(plots(tracks, 60, 20, 8))
    assert rows[0] == "── observation and action ─ ── real, by agent step ─────────"
    assert [row[:27].rstrip() for row in rows[1:]] == ["0             0 to 7", "", "", "action        0 to 1"]
    assert [row[28:].rstrip() for row in rows[1:]] == ["     ⣀⡤⠏", "   ⡤⠖⠃", "⣀⡖⠋⠁", "0101010"]


def test_what_was_done_stands_below_what_it_was_done_at():
    moving = Track(0, "", "real", np.arange(101, dtype=np.float32)[:, None], np.arange(100) % 10)
    number, action = texts(plots({"real": moving}, 60, 10))[1:]
    assert len(number) == len(action) == 60
    assert number[28:] == bars(list(range(69, 101)), 69, 100)  # the latest that fit
    assert action[28:] == "9" + "0123456789" * 3 + " "  # nothing was done yet at the last


def test_of_a_dream_the_beginning_is_shown():
    tracks = {"real": track("real", 100, 1), "dream": track("dream", 100, 1)}
    row = texts(plots(tracks, 60, 10))[1]
    assert "      0 to 100   " in row
    assert row[-15:] == bars(list(range(15)), 0, 100)


def test_where_not_all_fit_the_head_counts_and_actions_are_among_them():
    rows = texts(plots({"real": track("real", 5, 17, 6)}, 80, 10))
    assert len(rows) == 10
    assert "9 of 23 numbers" in rows[0]
    assert [row.split("  ")[0] for row in rows[1:]] == [*"012345", "action 0", "action 1", "action 2"]
    assert len(plots({"real": track("real", 5, 17, 6)}, 80, 100)) == 24


def test_of_a_picture_task_there_are_the_actions_alone():
    rows = texts(plots({"real": track("real", 5, 0)}, 60, 10))
    assert rows[0].startswith("── action ──")
    assert [row.split()[0] for row in rows[1:]] == ["action"]


def test_what_is_not_finite_is_a_gap_and_spoils_no_scale():
    wild = track("dream", 5, 1)
    wild.vectors[2:4, 0] = np.nan, np.inf
    assert texts(plots({"dream": wild}, 60, 10))[1].split("5", 1)[1].strip() == "▁▂  ▇█"
    wild.vectors[:] = np.nan
    assert "nan" in texts(plots({"dream": wild}, 60, 10))[1]


def test_no_plot_where_there_is_no_room_for_one():
    tracks = {"real": track("real", 5, 4), "dream": track("dream", 5, 4)}
    assert plots(tracks, 80, 1) == plots(tracks, 40, 10) == plots({}, 80, 10) == []


@given(
    st.integers(0, 40), st.integers(0, 20), st.integers(0, 4), st.integers(0, 150), st.integers(-3, 40),
    st.integers(-3, 60), st.sampled_from([("real",), ("dream",), ("real", "dream")]),
)  # fmt: skip
def test_plots_keep_to_their_room(steps, numbers, actions, width, room, comfortable, kinds):
    rows = plots({kind: track(kind, steps, numbers, actions) for kind in kinds}, width, room, min(comfortable, room))
    assert len(rows) <= max(room, 0)
    assert all(row_width(row) == width for row in rows)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 4))
def test_a_curve_tells_each_value_to_a_dot(values, rows):
    low, high = min(values), max(values)
    drawn = curve(values, low, high, rows)
    assert [len(row) for row in drawn] == [len(values)] * rows
    right = [0x80, 0x20, 0x10, 0x08]  # of a column the right dot is the value, the left ones lead to it
    for at, value in enumerate(values):
        dots = [
            4 * below + i
            for below, row in enumerate(reversed(drawn))
            for i in range(4)
            if row[at] != " " and (ord(row[at]) - ord(BLANK)) & right[i]
        ]
        assert len(dots) == 1
        if high > low:
            assert abs(dots[0] / (4 * rows - 1) - (value - low) / (high - low)) <= 0.5 / (4 * rows - 1) + 1e-9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_a_bar_is_no_lower_than_that_of_a_lesser_value(values):
    levels = [BARS.index(bar) for bar in bars(values, min(values), max(values))]
    ordered = [level for _, level in sorted(zip(values, levels, strict=True))]
    assert ordered == sorted(ordered)


# ---- on the screen


def test_the_screen_of_a_vector_task_shows_both_worlds_without_colours():
    screen = drawn(shown(track("real", 60, 4), track("dream", 12, 4)), 80, 24)
    assert screen[14] == "── observation and action ─ ── real, by agent step ─────────────── ── dream ────"
    assert screen[15].startswith("0             0 to 60.0     ▄")
    assert screen[19].startswith("action        0 to 1        1010")
    assert [cell_len(row) for row in screen] == [80] * 24
    for wanted in ("nll", "M 500 gap +0%  best", "open loop", "Ctrl-C saves and stops"):
        assert any(wanted in row for row in screen), wanted


def test_on_a_narrow_screen_scores_and_as_many_numbers_as_fit_are_there():
    screen = "\n".join(drawn(shown(track("real", 60, 8), track("dream", 50, 8)), 60, 24))
    for wanted in ("5 of 9 numbers", "score     540", "M         650", "action        0 to 1"):
        assert wanted in screen, wanted


def test_a_large_screen_has_taller_plots_and_no_fewer_figures():
    state = shown(track("real", 60, 4), track("dream", 12, 4))
    screen = drawn(state, 120, 40)
    rows = [at for at, row in enumerate(screen) if re.match(r"[0-3]  +0 to", row)]
    assert np.diff(rows).tolist() == [3, 3, 3]
    plain = {row.strip() for row in drawn(without_pictures(), 120, 40) if row.strip()}
    assert plain <= {row.strip() for row in screen}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
@pytest.mark.parametrize("numbers", [0, 3, 40])
def test_pictures_and_plots_share_the_screen(width, height, numbers):
    painted = []

    def paint(image, rows, columns):
        painted.append(rows)
        return half_blocks(image, rows, columns)

    kinds = ("real", "reconstruction", "dream")
    state = shown(track("real", 60, numbers), track("dream", 12, numbers), pictures=kinds)
    screen = drawn(state, width, height, paint=paint)
    assert [cell_len(row) for row in screen] == [width] * height
    assert len(painted) == 3
    assert min(painted) >= 6
    assert any(row.split() in ([*kinds], ["real", "reconstruct…", "dream"]) for row in screen)
    assert any(row.startswith("action  ") for row in screen) is (numbers > 0 or height == 40)
    if not numbers:  # what is done costs no picture its size
        alone = painted.copy()
        painted.clear()
        drawn(shown(pictures=kinds), width, height, paint=paint)
        assert painted == alone


# ---- what stages tell


class Told:
    """A stage's context that keeps what it is told."""

    def __init__(self):
        self.tracks, self.images = [], []

    def progress(self, done):
        pass

    def check_stop(self):
        pass

    def log_image(self, kind, image):
        self.images.append((kind, image))

    def log_track(self, kind, vectors, actions):
        self.tracks.append((kind, vectors, actions))


@pytest.mark.parametrize(("name", "picture"), [("Follows", False), ("Both", True)])
def test_the_first_episode_of_a_wave_is_told_whole_at_its_end_and_not_again(name, picture, monkeypatch):
    monkeypatch.setattr(
        driving, "time", SimpleNamespace(monotonic=lambda: 1.0)
    )  # no time passes: in between only the beginning is told
    told = Told()
    with EnvPool(EnvConfig(id=vector_env(name), num_envs=2), 2) as pool:
        walk = np.stack([[pool.actions.sample(np.random.default_rng(t))] * 2 for t in range(9)])
        agents = {copies: RandomWalk(walk[:, copies.start :: copies.step]) for copies in halves(2)}
        wave = [EpisodeTask(1, 4), EpisodeTask(2, 9)]
        episode, _ = drive(pool, wave, agents, Ticker(told, pool.observations, 0))
        numbers = np.stack([pool.observations.numbers(seen) for seen in episode.observations])
    assert len(episode) == 4
    assert [len(actions) for _, _, actions in told.tracks] == [1, 4]
    kind, vectors, actions = told.tracks[-1]
    assert kind == "real"
    np.testing.assert_array_equal(vectors, numbers)
    np.testing.assert_array_equal(actions, episode.actions)
    assert len(told.images) == (4 if picture else 0)


class Telling(VectorWorld):
    """The point's world, which tells where the point is."""

    def __init__(self):
        self.asked = 0

    def decode_vector(self, features):
        self.asked += 1
        return features.numpy()


def test_a_dream_is_told_at_once_and_the_next_when_its_steps_have_passed():
    told, world, agent = Told(), Telling(), point_agent()
    features = torch.arange(10.0).reshape(5, 2)
    viewer = DreamViewer(told, world, agent.actor, BoxActions([-2, -2], [2, 2]))
    for update in range(11):
        viewer.next(features + update, torch.full((4, 2), 3.0))
    assert world.asked == len(told.tracks) == 3  # updates 0, 5 and 10: nobody pays for the others
    for update, (kind, vectors, actions) in zip((0, 5, 10), told.tracks, strict=True):
        assert kind == "dream"
        np.testing.assert_array_equal(vectors, features + update)
        np.testing.assert_array_equal(actions, np.full((4, 2), 2.0))  # what is executed is within bounds
    assert told.images == []


def test_discrete_actions_are_told_as_those_chosen():
    told = Told()
    actions = torch.eye(3)[[2, 0, 1, 1]]

    def policy(features):
        return Categorical(torch.zeros(len(features), 3).log_softmax(-1))

    DreamViewer(told, VectorWorld(), policy, DiscreteActions(3)).next(torch.zeros(5, 2), actions)
    ((_, vectors, done),) = told.tracks
    assert vectors.shape == (5, 0)  # a world model without words for vectors
    assert (done.tolist(), done.dtype.kind) == ([2, 0, 1, 1], "i")


def learnt(actions, told):
    """Return the weights of an actor and a critic after updates on dreams of the point, which are shown if `told` is given."""
    torch.manual_seed(0)
    config, world = build_config("smoke"), Telling()
    actor, critic = new_actor(config, 2, actions, CPU), new_critic(config, 2, CPU)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 1e-2)
    trained = DreamPPO(world.imagination(1.0), actor, critic, optimizer, config.controller)
    viewer = DreamViewer(told, world, actor, actions) if told else None
    chance = torch.Generator().manual_seed(1)
    for _ in range(6):
        point = torch.randn(8, 2, generator=chance)
        noise = Noise.draw(4, 8, world.noise_size, actions.size, chance)
        batch, _ = trained.update(State(point, point[:, :0]), noise, chance)
        if viewer:
            viewer.next(batch.features[:, 0], batch.action[:, 0])
    return [*actor.parameters(), *critic.parameters(), torch.randn(1)]


@pytest.mark.parametrize("actions", [BoxActions([-1, -1], [1, 1]), DiscreteActions(2)], ids=["box", "discrete"])
def test_whoever_looks_at_dreams_changes_no_bit_of_what_is_learnt_in_them(actions):
    told = Told()
    for one, other in zip(learnt(actions, None), learnt(actions, told), strict=True):
        assert torch.equal(one, other)
    assert len(told.tracks) == 2
