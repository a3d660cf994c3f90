"""The player: what is on the pictures, what keys do, and where it is shown."""

import contextlib
import io
import itertools
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_env import FALL, MAX_STEPS
from wmloop.agents.collector import EpisodeTask, drive
from wmloop.agents.random_walk import RandomWalk
from wmloop.config.text import to_toml
from wmloop.display.keys import Controls, from_held, parse_keys
from wmloop.display.lettering import draw_text, with_lines
from wmloop.display.places import open_showing
from wmloop.display.showing import ClosedError
from wmloop.display.terminal import Terminal
from wmloop.display.video import Video
from wmloop.display.window import Window
from wmloop.envs import PoolStep, RealEnv
from wmloop.errors import UsageError
from wmloop.history import History
from wmloop.models.vision import to_frames, to_images
from wmloop.opening import stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.player import Comparison, Dreamt, Player, Real, player, worlds
from wmloop.seeding import fresh_seeds
from wmloop.serving.agent import Served
from wmloop.serving.choice import choose
from wmloop.spaces import BoxActions
from wmloop.store import Store

CPU = torch.device("cpu")
TRACK = fresh_seeds(1, 0)[0]


@pytest.fixture(scope="module")
def run(finished):
    store = Store.open(finished.runs / "tiny")
    return store, stored_config(store)


@pytest.fixture
def env(run):
    with contextlib.closing(RealEnv(run[1].env, render_mode="rgb_array")) as env:
        yield env


@pytest.fixture
def agent(run, env):
    return Served.of(History(run[0], WORLD_MODEL), 0).agent(run[1], env.actions, CPU)


@pytest.fixture
def real(run, env, agent):
    return Real(env, agent)


def episode(world, track=TRACK):
    """Return all moments of an episode that C drives."""
    world.reset(track)
    moments = [world.moment]
    while not world.moment.ended:
        world.step()
        moments.append(world.moment)
    return moments


def copy_of(run, tmp_path, leave_out):
    """Return a run with the same versions but those of a stage."""
    store, config = run
    new = Store.create(tmp_path, "copy", to_toml(config), {})
    for version in store.versions():
        if version.stage not in leave_out:
            (new.path / "iterations" / "0000").mkdir(parents=True, exist_ok=True)
            target = new.path / "iterations" / version.name
            target.mkdir()
            for file in version.path.iterdir():
                (target / file.name).write_bytes(file.read_bytes())
    return new


# ---- whose agent


def test_the_best_evaluated_agent_is_served(run):
    assert choose(History(run[0], WORLD_MODEL), None)[0] == 0
    assert "best" in choose(History(run[0], WORLD_MODEL), None)[1]


def test_without_an_evaluation_the_newest_controller_is_served_and_that_is_said(run, tmp_path):
    iteration, why = choose(History(copy_of(run, tmp_path, {"evaluate"}), WORLD_MODEL), None)
    assert iteration == 0
    assert "none is evaluated" in why


def test_without_a_controller_the_next_step_is_named(run, tmp_path):
    with pytest.raises(UsageError, match=r"no agent yet: `wmloop resume copy --runs .*`"):
        choose(History(copy_of(run, tmp_path, {"evaluate", "controller"}), WORLD_MODEL), None)


def test_an_iteration_without_a_controller_is_refused_with_those_that_have_one(run):
    with pytest.raises(UsageError, match=r"no agent of iteration 5: there are those of 0"):
        choose(History(run[0], WORLD_MODEL), 5)


# ---- in reality


def test_a_watched_episode_is_the_one_the_agent_drives_unwatched(env, agent, real, monkeypatch):
    class OneCopy:
        """A pool of one copy in this process."""

        num_envs, actions, observations = 1, env.actions, env.observations

        def reset(self, seeds, decisions):
            return env.reset(seeds[0])[None]

        def send(self, copies, actions):
            self.sent = copies, env.step(actions[0])

        def receive(self):
            copies, (obs, *rest) = self.sent
            return copies, PoolStep(obs[None], *(np.array([value]) for value in (*rest, 0)))

        def pin_thread(self, copies):
            pass

    threads, act = set(), agent.act

    def counting(*given):
        threads.add(torch.get_num_threads())
        return act(*given)

    monkeypatch.setattr(agent, "act", counting)
    torch.set_num_threads(2)
    (driven,) = drive(OneCopy(), [EpisodeTask(TRACK, 0)], {range(1): agent}, lambda n, o: None)
    monkeypatch.undo()
    assert (threads, torch.get_num_threads()) == ({1}, 2)  # a second thread would wait on a worker's core
    torch.set_num_threads(1)
    for dreaming in (False, True):  # which only adds pictures
        real.dreaming = dreaming
        moments = episode(real)
        assert moments[-1].score == pytest.approx(driven.score)
        assert moments[-1].frames == driven.frames
        assert len(moments) == len(driven) + 1
        assert ("terminated" in moments[-1].ended) is driven.terminated
        assert all(not moment.ended for moment in moments[:-1])
        np.testing.assert_allclose([m.action for m in moments[:-1]], driven.actions, atol=1e-6)
        assert [m.reward for m in moments[1:]] == pytest.approx(driven.rewards.tolist())
        assert all(0 <= moment.done <= 1 and np.isfinite(moment.value) for moment in moments)


def test_reality_is_shown_beside_what_v_sees_and_what_m_expected(env, agent, real):
    moments = episode(real)
    observation = env.reset(TRACK)
    with torch.inference_mode():
        images = to_images(torch.from_numpy(observation[None]))
        seen = to_frames(agent.world.vision.decode(agent.world.vision.encode(images)[0]))[0].numpy()
    first, second = moments[0].pictures, moments[1].pictures
    assert list(first) == ["real", "reconstruction", "expected"]
    assert first["real"].shape == (256, 256, 3)  # the environment's big picture, not what the agent sees
    assert (first["reconstruction"] == seen).all()
    assert (first["expected"] == seen).all()  # nothing was expected before the first look
    assert (second["expected"] != second["reconstruction"]).any()


class Watched:
    """The imagination of a real episode, which notes of each decision of its dream whether it began from where reality is."""

    def __init__(self, real):
        self.real, self.own, self.noise_size, self.from_reality = (
            real,
            real.imagination,
            real.imagination.noise_size,
            [],
        )

    def imagine(self, state, action, uniform, normal):
        if self.real.dreaming:  # else it is the dream that stands alone
            self.from_reality.append(torch.equal(state.features, self.real.state.features))
        return self.own.imagine(state, action, uniform, normal)


def test_with_both_worlds_the_dream_goes_on_alone_and_looks_up_now_and_then(real):
    real.dreaming = True
    real.reset(TRACK)
    real.imagination = watched = Watched(real)
    for _ in range(2 * worlds.OPEN_LOOP + 1):
        real.step(RandomWalk(np.array([[[0, FALL]]], np.float32)))  # it hovers
    alone = [False] * (worlds.OPEN_LOOP - 1)
    assert watched.from_reality == [True, *alone, True, *alone, True]
    assert list(real.moment.pictures) == ["real", "reconstruction", "expected", "dream"]


def test_a_person_drives_and_m_is_told(env, agent, real, monkeypatch):
    real.reset(TRACK)
    told, observe = [], agent.world.observe

    def spy(state, action, frames):
        told.append(action[0].tolist())
        return observe(state, action, frames)

    monkeypatch.setattr(agent.world, "observe", spy)
    rewards = []
    action = np.array([0.5, 0.25], np.float32)
    for _ in range(5):
        real.step(RandomWalk(action[None, None]))
        rewards.append(real.moment.reward)
    assert told == [pytest.approx([0.5, 0.25])] * 5
    env.reset(TRACK)
    assert [env.step(action)[1] for _ in range(5)] == pytest.approx(rewards)


@pytest.mark.parametrize(
    ("action", "ended"), [([0.0, FALL], "truncated"), ([1.0, FALL], "terminated (last reward -5.0)")]
)
def test_an_end_by_time_is_no_end_by_the_environment(real, action, ended):
    driver = RandomWalk(np.array(action, np.float32)[None, None])
    real.reset(TRACK)
    while not real.moment.ended:
        real.step(driver)
    assert real.moment.ended == ended
    assert (real.moment.frames == MAX_STEPS) == (ended == "truncated")
    last = real.moment
    real.step()  # after the end nothing happens
    assert real.moment is last


# ---- in the dream


def test_a_dream_goes_on_without_the_environment_and_ends(env, real, monkeypatch):
    dream = Dreamt(real, 20, 3)  # 20 decisions make an episode
    dream.reset(TRACK)
    first = dream.moment
    monkeypatch.setattr(env, "step", lambda action: pytest.fail("the dream stepped the real environment"))
    rest = []
    while not dream.moment.ended:
        dream.step()
        rest.append(dream.moment)
    assert (first.decision, first.score, first.frames) == (0, 0.0, 0)
    assert list(rest[-1].pictures) == ["dream"]
    assert rest[-1].frames == rest[-1].decision * 3 <= MAX_STEPS
    assert rest[-1].score == pytest.approx(sum(moment.reward for moment in rest), abs=1e-3)
    assert any((moment.pictures["dream"] != first.pictures["dream"]).any() for moment in rest)


def test_a_dream_ends_where_the_done_head_fires(real):
    with torch.no_grad():
        real.agent.world.memory.outcome_head[2].bias[2] = 1000.0
    real.temperature = 1.0  # the weights have changed
    moments = episode(Dreamt(real, 60, 1))
    assert len(moments) == 2
    assert "as M predicts" in moments[-1].ended


def test_the_same_seed_dreams_the_same_dream(real):
    dream = Dreamt(real, 4, 100)
    one, two, other = ([moment.score for moment in episode(dream, seed)] for seed in (TRACK, TRACK, TRACK + 1))
    assert one == two != other


def test_a_dream_branches_off_the_first_half_of_an_episode_that_is_short(env, real, monkeypatch):
    drive, count = env.step, itertools.count(1)

    def short(action):
        observation, reward, *_, frames = drive(action)
        return observation, reward, next(count) % 7 == 0, False, frames

    monkeypatch.setattr(env, "step", short)
    dream = Dreamt(real, 60, 1)
    dream.reset(TRACK)
    assert (real.moment.decision, dream.moment.ended) == (3, "")
    dream.step()
    assert dream.moment.decision == 1


def test_the_dreams_temperature_turns_within_bounds_and_means_something(real):
    dream, scores = Dreamt(real, 4, 100), []
    for key, bound in (("T", player.MAX_TEMPERATURE), ("t", player.MIN_TEMPERATURE)):
        perform(real, {1: [key] * 60}, longest=3)
        assert real.temperature == bound
        scores.append([moment.score for moment in episode(dream)])
    assert scores[0] != scores[1]
    real.temperature = 1.0


def test_two_agents_are_compared_on_one_track(run, env, real):
    with contextlib.closing(RealEnv(run[1].env, render_mode="rgb_array")) as second:
        agent = Served.of(History(run[0], WORLD_MODEL), 0).agent(run[1], env.actions, CPU)
        agent.critic = None
        same = Real(second, agent)
        moments = episode(Comparison({"one": real, "two": same}))
    assert list(moments[0].pictures) == ["one", "two"]
    for moment in moments:
        np.testing.assert_array_equal(moment.pictures["one"], moment.pictures["two"])
    assert moments[-1].ended.count(f"{real.moment.score:.1f}") == 2
    assert np.isnan(same.moment.value)


# ---- what keys do


class Script:
    """A showing on which keys are pressed before given pictures, and a hand stays where it is."""

    def __init__(self, keys, hand=None, longest=300):
        self.keys, self.held, self.shown = keys, hand or Controls(), []
        self._longest = longest

    def show(self, picture, caption, lines=()):
        self.shown.append((picture, caption, list(lines)))
        if len(self.shown) > self._longest:
            raise ClosedError

    def pressed(self):
        return self.keys.get(len(self.shown), [])

    def hand(self):
        return self.held

    def close(self):
        pass


def perform(real, keys, place="real", tracks=(TRACK,), **more):
    script = Script(keys, **more)
    dream = Dreamt(real, MAX_STEPS, 1)
    playing = Player(script, real, dream, place, "tiny", 10.0)
    with contextlib.suppress(ClosedError):
        playing.play(tracks)
    return script, playing


def test_without_a_key_each_track_is_driven_to_its_end(real):
    script, playing = perform(real, {}, tracks=fresh_seeds(2, 0))
    assert len(playing.results) == 2
    for number, (track, told) in enumerate(zip(fresh_seeds(2, 0), playing.results, strict=True), 1):
        last = episode(real, track)[-1]
        assert (
            told
            == f"episode {number} (real, environment seed {track}): score {last.score:.1f}, {last.frames} frames, {last.ended}"
        )
    assert all(lines[1].startswith("policy's action") for _, _, lines in script.shown)


def test_m_hands_the_wheel_over_and_back(env, real):
    hand = Controls(steer=1.0)
    script, _ = perform(real, {1: ["m"]}, hand=hand, longest=4)
    assert "your action" in script.shown[-1][2][1]
    env.reset(TRACK)
    by_hand = env.actions.from_keys(*hand)
    real.reset(TRACK)
    first = real.moment.action
    rewards = [env.step(first)[1], *(env.step(by_hand)[1] for _ in range(3))]
    assert f"return {sum(rewards):.1f}" in script.shown[4][2][0]
    script, _ = perform(real, {1: ["m"], 2: ["m"]}, hand=hand, longest=4)
    assert "policy's action" in script.shown[-1][2][1]


def test_space_holds_the_episode_and_a_dot_lets_one_decision_pass(real):
    script, _ = perform(real, {2: ["space"], 5: ["."], 8: ["space"]}, longest=10)
    decisions = [round(float(caption.split(" frames")[0].split()[-1])) for _, caption, _ in script.shown]
    assert decisions == [0, 1, 2, 2, 2, 2, 3, 3, 3, 4, 5]
    assert "paused" in script.shown[3][2][1]
    assert "paused" not in script.shown[9][2][1]


def test_tab_goes_through_the_worlds_and_reality_waits_for_the_dreamer(real):
    script, _ = perform(real, {2: ["tab"], 4: ["tab"], 6: ["tab"]}, longest=8)
    worlds_seen = [caption.split(" · ")[1].split(", ")[1] for _, caption, _ in script.shown]
    assert worlds_seen == [*["environment"] * 2, *["environment + dream"] * 2, *["dream"] * 2, *["environment"] * 3]
    frames = [int(caption.split(" frames")[0].split()[-1]) for _, caption, _ in script.shown]
    assert frames == [0, 1, 2, 3, 0, 1, 4, 5, 6]


def test_r_begins_the_track_again(real):
    script, playing = perform(real, {3: ["r"]}, tracks=(TRACK,), longest=500)
    captions = [caption for _, caption, _ in script.shown]
    assert captions[0] == captions[4]
    assert len(playing.results) == 1


def test_t_turns_the_temperature_and_the_question_mark_shows_the_keys(real):
    script, _ = perform(real, {1: ["T", "T"], 2: ["t"], 3: ["?"], 4: ["?"]}, place="dream", longest=6)
    assert "temperature 1.15" in script.shown[2][2][1]
    assert real.temperature == pytest.approx(1.15)
    assert any("record a video" in line for line in script.shown[3][2])
    assert ["? shows the keys" in script.shown[i][2] for i in (3, 4)] == [False, True]
    assert "? hides the keys" in script.shown[3][2]
    assert not any("record a video" in line for line in script.shown[4][2])


def test_v_records_what_is_shown_until_it_is_pressed_again(real, tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    script, playing = perform(real, {2: ["v"], 7: ["v"]}, longest=9)
    (path,) = tmp_path.iterdir()
    assert playing.results == [f"recorded {path.name}"]
    assert f"recording to {path.name}" in script.shown[2][2]
    recording = [lines[1].endswith("   recording") for _, _, lines in script.shown]
    assert recording == [2 <= i < 7 for i in range(len(recording))]
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_a_recording_that_cannot_be_made_is_said_and_the_play_goes_on(real, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)
    script, _ = perform(real, {2: ["v"]}, longest=4)
    assert any("wmloop[video]" in line for line in script.shown[2][2])


def test_q_leaves_at_once(real):
    playing = Player(script := Script({3: ["q"]}), real, Dreamt(real, 60, 1), "real", "tiny", 10.0)
    with pytest.raises(ClosedError):
        playing.play([TRACK])
    assert len(script.shown) == 3


def test_a_driver_may_look_at_the_end_and_begin_again(real):
    script, playing = perform(real, {1: ["m"], 50: ["r"]}, hand=Controls(steer=1.0), longest=60)  # into the wall
    assert "terminated" in script.shown[49][2][2]
    assert "score 0.0, 0 frames" in script.shown[51][1]
    assert playing.results == []


def test_the_dream_that_goes_along_begins_anew_when_it_is_turned_to_again(real):
    real.imagination = watched = Watched(real)
    # real, both from 1, the dream from 4, real from 6, both from 8
    perform(real, {1: ["tab"], 4: ["tab"], 6: ["tab"], 8: ["tab"]}, longest=11)
    assert watched.from_reality[:4] == [True, False, False, True]


def test_the_temperature_is_that_of_both_dreams(real):
    script, _ = perform(real, {1: ["T"]}, place="both", longest=3)
    assert real.temperature == pytest.approx(1.15)
    assert "temperature 1.15" in script.shown[2][2][1]


@pytest.mark.parametrize(
    ("text", "keys"),
    [("m", ["m"]), (" \t", ["space", "tab"]), ("\x1b[A\x1bOD", ["up", "left"]), ("\x1b", ["escape"]), ("\x1b[5~q", ["q"]),
     ("tT", ["t", "T"]), ("\x1b[1;5A", [])],
)  # fmt: skip
def test_terminals_spell_keys_in_their_own_ways(text, keys):
    assert parse_keys(text) == keys


def test_a_hand_means_an_action_within_the_bounds():
    three = BoxActions([-1, 0, 0], [1, 1, 0.5])
    assert three.from_keys(*from_held({"left", "up"})).tolist() == [-1, 1, 0]
    assert three.from_keys(*from_held({"left", "right", "down"})).tolist() == [0, 0, 0.5]
    assert BoxActions([-2, -3], [2, 3]).from_keys(*Controls(0.5, 0, 1)).tolist() == [1, -3]
    assert BoxActions([-2], [2]).from_keys(*Controls(-1)).tolist() == [-2]
    assert BoxActions([0.5], [1]).from_keys(*Controls()).tolist() == [0.5]


def test_pictures_are_composed_side_by_side():
    red, blue = np.full((40, 60, 3), (255, 0, 0), np.uint8), np.full((64, 64, 3), (0, 0, 255), np.uint8)
    canvas = player.compose({"real": red, "reconstruction": blue, "dream": blue})
    assert canvas.shape == (400, 800, 3)
    assert (canvas[30:, :600] == (255, 0, 0)).all()
    assert (canvas[30:200, 600:] == (0, 0, 255)).all()
    assert (canvas[230:, 600:] == (0, 0, 255)).all()
    for top, left in ((0, 0), (0, 600), (200, 600)):  # each says what it is
        assert (canvas[top : top + 20, left : left + 60] == 235).any()
    assert player.compose({"dream": blue}).shape == (400, 400, 3)
    assert player.compose(dict.fromkeys("abcd", blue)).shape == (400, 800, 3)
    assert player.compose({"one": red, "two": red}, equal=True).shape == (400, 1200, 3)


def test_lines_are_written_though_pygame_was_quit_meanwhile():
    import pygame

    before = draw_text(["a line"], 100)
    pygame.quit()  # as an environment does that closes
    assert np.array_equal(draw_text(["a line"], 100), before)
    assert draw_text(["another"], 100).max() > 100


def test_lines_are_written_below_a_picture():
    picture = np.zeros((10, 200, 3), np.uint8)
    assert with_lines(picture, []) is picture
    written = with_lines(picture, ["return 512", ""])
    assert written.shape == (50, 200, 3)
    assert (written[:10] == 0).all()
    assert written[10:30].max() > 200
    assert written[30:].max() < 50


# ---- where it is shown

FRAMES = [np.full((40, 60, 3), 25 * i, np.uint8) for i in range(10)]


@pytest.mark.parametrize(("name", "size"), [("drive.mp4", (60, 40)), ("drive.gif", (30, 20))])
def test_a_video_has_every_frame_at_the_agents_own_pace(tmp_path, name, size):
    av = pytest.importorskip("av")
    video = open_showing(tmp_path / name, 12.5)
    for frame in FRAMES:
        video.show(frame, "caption")
    video.close()
    with av.open(str(tmp_path / name)) as container:
        decoded = list(container.decode(video=0))
    assert len(decoded) == len(FRAMES)
    assert (decoded[0].width, decoded[0].height) == size
    assert decoded[-1].time - decoded[0].time == pytest.approx(9 / 12.5, abs=0.02)
    for frame, picture in zip(FRAMES, decoded, strict=True):
        assert picture.to_ndarray(format="rgb24").mean() == pytest.approx(frame.mean(), abs=6)


def test_pictures_of_another_shape_keep_theirs_in_a_video(tmp_path):
    av = pytest.importorskip("av")
    video = open_showing(tmp_path / "drive.mp4", 12.5)
    video.show(np.full((40, 80, 3), 200, np.uint8), "")
    video.show(np.full((40, 40, 3), 200, np.uint8), "")
    video.close()
    with av.open(str(tmp_path / "drive.mp4")) as container:
        first, second = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    assert first.shape == second.shape == (40, 80, 3)
    assert first[20, 5].mean() > 150
    assert second[20, 5].mean() < 60
    assert second[20, 40].mean() > 150


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_video_may_be_closed_twice(tmp_path, name):
    video = Video(tmp_path / name, 10.0)
    for _ in range(3):
        video.show(np.zeros((64, 64, 3), np.uint8), "")
    video.close()
    size = (tmp_path / name).stat().st_size
    video.close()
    assert (tmp_path / name).stat().st_size == size > 0


def test_a_video_nobody_added_to_can_be_closed(tmp_path):
    pytest.importorskip("av")
    open_showing(tmp_path / "drive.mp4", 12.5).close()


def test_other_files_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.mp4 or \.gif"):
        open_showing(Path("drive.avi"), 12.5)
    with pytest.raises(UsageError, match="no folder"):
        open_showing(tmp_path / "nowhere" / "drive.mp4", 12.5)


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"pip install 'wmloop\[video\]'"):
        Video(tmp_path / "drive.mp4", 12.5)


def test_without_a_display_the_two_other_renderings_are_offered(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"no display.*--render terminal.*--to episode\.mp4"):
        open_showing("window", 12.5)


def test_a_window_that_cannot_open_offers_them_too(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "nonesuch")
    with pytest.raises(UsageError, match=r"nonesuch.*--render terminal"):
        open_showing("window", 12.5)


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window(1000.0)
    yield window
    window.close()


def post(*events):
    import pygame

    for kind, key, text in events:
        more = {"unicode": text} if kind == pygame.KEYDOWN else {}
        pygame.event.post(pygame.event.Event(kind, key=key, **more))


def test_a_window_shows_the_picture_and_is_closed_by_its_button(window):
    import pygame

    window.show(FRAMES[4], "caption", ["a line"])
    screen = pygame.display.get_surface()
    assert screen.get_at((400, 220))[:3] == (100, 100, 100)
    assert screen.get_at((10, 220))[:3] == (0, 0, 0)  # beside it
    assert pygame.surfarray.array3d(screen)[:, 440:].max() > 200  # letters
    assert pygame.display.get_caption()[0] == "caption"
    window.show(np.full((400, 1200, 3), 50, np.uint8), "other", ["a line"] * 5)
    assert pygame.display.get_surface() is screen
    assert screen.get_size() == (800, 460)
    assert [screen.get_at((x, 180))[:3] for x in (1, 798)] == [(50, 50, 50)] * 2
    assert screen.get_at((1, 20))[:3] == (0, 0, 0)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    with pytest.raises(ClosedError):
        window.pressed()


def test_a_window_names_keys_as_a_terminal_does_and_knows_which_are_held(window):
    import pygame

    down, up = pygame.KEYDOWN, pygame.KEYUP
    window.show(FRAMES[0], "caption")
    window.pressed()
    post((down, pygame.K_m, "m"), (down, pygame.K_t, "T"), (down, pygame.K_TAB, "\t"), (down, pygame.K_SPACE, " "))
    post(
        (down, pygame.K_ESCAPE, "\x1b"), (down, pygame.K_LEFT, ""), (down, pygame.K_SLASH, "?"), (down, pygame.K_w, "w")
    )
    assert window.pressed() == ["m", "T", "tab", "space", "escape", "left", "?", "w"]
    assert window.hand() == Controls(-1.0, 1.0, 0.0)
    post((up, pygame.K_LEFT, ""), (up, pygame.K_w, ""))
    assert window.pressed() == []
    assert window.hand() == Controls()


def test_a_game_pad_drives_where_no_key_is_held(monkeypatch):
    import pygame

    class Pad:
        def get_numaxes(self):
            return 6

        def get_axis(self, i):
            return {0: 0.5, 5: 1.0, 2: -1.0}[i]

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(pygame.joystick, "get_count", lambda: 1)
    monkeypatch.setattr(pygame.joystick, "Joystick", lambda number: Pad())
    with contextlib.closing(Window(1000.0)) as window:
        window.show(FRAMES[0], "caption")
        window.pressed()
        assert window.hand() == Controls(0.5, 1.0, 0.0)
        post((pygame.KEYDOWN, pygame.K_LEFT, ""))
        assert window.pressed() == ["left"]
        assert window.hand() == Controls(-1.0, 0.0, 0.0)


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_the_picture_and_is_given_back(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    monkeypatch.setattr("os.get_terminal_size", lambda: (80, 24))
    terminal = Terminal(1000.0)
    terminal.show(FRAMES[4], "caption " + "x" * 100, ["a line"])
    terminal.close()
    text = sys.stdout.getvalue()
    assert text.startswith("\x1b[?1049h")
    assert text.endswith("\x1b[?1049l")
    assert "a line" in text
    assert text.count("▀") == 22 * 66  # 60x40 pixels within 80 columns and 44 half rows
    assert "caption" in text
    assert "x" * 80 not in text


def test_a_terminal_keeps_the_agents_pace(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    monkeypatch.setattr("os.get_terminal_size", lambda: (80, 24))
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)  # nobody sleeps really
    terminal = Terminal(12.5)
    for frame in FRAMES[:3]:
        terminal.show(frame, "")
    assert slept == pytest.approx([0.08, 0.16, 0.24])


def test_a_pipe_is_no_terminal_to_show_pictures_on(capsys):
    with pytest.raises(UsageError, match=r"--to episode\.mp4"):
        open_showing("terminal", 12.5)


def test_a_terminal_reads_keys_unechoed_and_is_given_back_as_it_was(monkeypatch):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    person, ours = pty.openpty()
    before = termios.tcgetattr(ours)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    with open(ours, closefd=False) as stdin:  # a descriptor, no path
        monkeypatch.setattr(sys, "stdin", stdin)
        terminal = Terminal(1000.0)
        os.write(person, b"\x1b[Cm")
        assert terminal.pressed() == ["right", "m"]
        assert terminal.hand() == Controls(steer=1.0)
        now = time.monotonic()
        with monkeypatch.context() as later:
            later.setattr("time.monotonic", lambda: now + 1)
            assert terminal.hand() == Controls()
        assert terminal.pressed() == []
        assert not termios.tcgetattr(ours)[3] & termios.ECHO
        terminal.close()
        assert termios.tcgetattr(ours) == before
    os.close(person)
    os.close(ours)
