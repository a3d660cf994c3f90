"""Watching the agent: what is on the pictures, and where they are shown."""

import contextlib
import io
import itertools
import sys

import numpy as np
import pytest
import torch

from tests.tiny_env import MAX_STEPS, tiny_config
from wmloop import loop, play
from wmloop.config import build_config, parse_setting, to_toml
from wmloop.envs import PixelEnv
from wmloop.errors import UsageError
from wmloop.models.vision import to_frames, to_images
from wmloop.seeding import fresh_tracks
from wmloop.stages.collect import Task, drive
from wmloop.store import Store
from wmloop.view.showing import ClosedError, Terminal, Video, Window, open_showing

CPU = torch.device("cpu")
TRACK = fresh_tracks(1, 0)[0]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def configure(*settings):
    return build_config("smoke", tiny_config(), *map(parse_setting, ("budget.iterations=1", *settings)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = configure()
    store = Store.create(tmp_path_factory.mktemp("runs"), "tiny", to_toml(config), {})
    with store.lock():
        loop.run(store, config, CPU, lambda event: None, lambda: False)
    return store, config


@pytest.fixture
def env(run):
    with contextlib.closing(PixelEnv(run[1].env, render_mode="rgb_array")) as env:
        yield env


@pytest.fixture
def agent(run, env):
    return play.load_agent(*run, 0, env, CPU)


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
    assert play.choose(run[0], None)[0] == 0
    assert "best" in play.choose(run[0], None)[1]


def test_without_an_evaluation_the_newest_controller_is_served_and_that_is_said(run, tmp_path):
    iteration, why = play.choose(copy_of(run, tmp_path, {"evaluate"}), None)
    assert iteration == 0
    assert "none is evaluated" in why


def test_without_a_controller_the_next_step_is_named(run, tmp_path):
    with pytest.raises(UsageError, match=r"no controller yet: `wmloop resume copy`"):
        play.choose(copy_of(run, tmp_path, {"evaluate", "controller"}), None)


def test_an_iteration_without_a_controller_is_refused_with_those_that_have_one(run):
    with pytest.raises(UsageError, match=r"no controller of iteration 5: it has 0"):
        play.choose(run[0], 5)


# ---- in reality


def test_a_watched_episode_is_the_one_the_agent_drives_unwatched(run, env, agent):
    class OneCopy:
        """A pool of one copy in this process."""

        num_envs = 1

        def reset(self, seeds, decisions):
            return env.reset(seeds[0])[None]

        def step(self, actions):
            from wmloop.envs import PoolStep

            obs, reward, terminated, truncated, frames = env.step(actions[0])
            return PoolStep(obs[None], *(np.array([value]) for value in (reward, terminated, truncated, frames)))

    agent.start(1)
    (driven,) = drive(OneCopy(), [Task(TRACK, 0)], lambda t, frames: agent.act(frames), lambda n, o: None)
    moments = list(play.real_episode(env, agent, TRACK))
    assert moments[-1].score == pytest.approx(driven.score)
    assert moments[-1].frames == driven.frames
    assert len(moments) == len(driven) + 1
    assert ("ended by the environment" in moments[-1].ended) is driven.terminated
    assert all(not moment.ended for moment in moments[:-1])


def test_reality_is_shown_beside_what_v_sees_and_what_m_expected(env, agent):
    moments = list(itertools.islice(play.real_episode(env, agent, TRACK), 3))
    observation = env.reset(TRACK)
    with torch.inference_mode():
        images = to_images(torch.from_numpy(observation[None]))
        seen = to_frames(agent.vision.decode(agent.vision.encode(images)[0]))[0].numpy()
    first, second = moments[0].pictures, moments[1].pictures
    assert list(first) == ["real", "reconstruction", "dream"]
    assert first["real"].shape == (256, 256, 3)  # the environment's big picture, not what the agent sees
    assert (first["reconstruction"] == seen).all()
    assert (first["dream"] == seen).all()  # nothing was expected before the first look
    assert (second["dream"] != second["reconstruction"]).any()


def test_an_end_by_time_is_no_end_by_the_environment(env, agent):
    moments = list(play.real_episode(env, agent, TRACK))
    if moments[-1].frames == MAX_STEPS:
        assert moments[-1].ended == "time was up"
    else:
        assert moments[-1].ended == "ended by the environment (last reward -5.0)"


# ---- in the dream


def test_a_dream_goes_on_without_the_environment_and_ends(run, env, agent, monkeypatch):
    config = configure("env.action_repeat=3")  # 20 decisions make an episode
    moments = play.dreamt_episode(env, agent, config, TRACK)
    first = next(moments)
    monkeypatch.setattr(env, "step", lambda action: pytest.fail("the dream stepped the real environment"))
    rest = list(moments)
    assert (first.decision, first.score, first.frames) == (0, 0.0, 0)
    assert rest[-1].ended
    assert list(rest[-1].pictures) == ["dream"]
    assert rest[-1].frames == rest[-1].decision * 3 <= MAX_STEPS
    assert any((moment.pictures["dream"] != first.pictures["dream"]).any() for moment in rest)


def test_a_dream_ends_where_the_done_head_fires(run, env, agent):
    with torch.no_grad():
        agent.memory.outcome_head[2].bias[2] = 1000.0
    moments = list(play.dreamt_episode(env, agent, run[1], TRACK))
    assert len(moments) == 2
    assert "done head" in moments[-1].ended


def test_the_same_seed_dreams_the_same_dream(run, env, agent):
    config = configure("env.action_repeat=100")
    one, two, other = (
        [moment.score for moment in play.dreamt_episode(env, agent, config, seed)] for seed in (TRACK, TRACK, TRACK + 1)
    )
    assert one == two != other


def test_a_dream_cannot_branch_off_an_episode_that_is_over(run, env, agent, monkeypatch):
    observation = env.reset(TRACK)
    monkeypatch.setattr(env, "step", lambda action: (observation, 0.0, True, False, 1))
    with pytest.raises(UsageError, match="try another --seed"):
        next(play.dreamt_episode(env, agent, run[1], TRACK))


def test_pictures_are_composed_side_by_side():
    red, blue = np.full((40, 60, 3), (255, 0, 0), np.uint8), np.full((64, 64, 3), (0, 0, 255), np.uint8)
    canvas = play.compose({"real": red, "reconstruction": blue, "dream": blue})
    assert canvas.shape == (400, 800, 3)
    assert (canvas[:, :600] == (255, 0, 0)).all()
    assert (canvas[:, 600:] == (0, 0, 255)).all()
    assert play.compose({"dream": blue}).shape == (400, 400, 3)


# ---- where it is shown

FRAMES = [np.full((40, 60, 3), 25 * i, np.uint8) for i in range(10)]


@pytest.mark.parametrize(("name", "size"), [("drive.mp4", (60, 40)), ("drive.gif", (30, 20))])
def test_a_video_has_every_frame_at_the_agents_own_pace(tmp_path, name, size):
    av = pytest.importorskip("av")
    video = open_showing(str(tmp_path / name), 12.5)
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


def test_a_video_nobody_added_to_can_be_closed(tmp_path):
    pytest.importorskip("av")
    open_showing(str(tmp_path / "drive.mp4"), 12.5).close()


def test_other_files_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.mp4 or \.gif"):
        open_showing("drive.avi", 12.5)
    with pytest.raises(UsageError, match="no folder"):
        open_showing(str(tmp_path / "nowhere" / "drive.mp4"), 12.5)


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"pip install 'wmloop\[video\]'"):
        Video(tmp_path / "drive.mp4", 12.5)


def test_without_a_display_the_two_other_renderings_are_offered(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"no display.*--render terminal.*--render drive\.mp4"):
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


def test_a_window_shows_the_picture_and_closes_on_escape(window):
    import pygame

    window.show(FRAMES[4], "caption")
    assert pygame.display.get_surface().get_at((10, 10))[:3] == (100, 100, 100)
    assert pygame.display.get_caption()[0] == "caption"
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
    with pytest.raises(ClosedError):
        window.show(FRAMES[5], "caption")


def test_a_paused_window_waits_for_space(window, monkeypatch):
    import pygame

    def wait(fps):
        waits.append(fps)
        if len(waits) == 3:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))

    waits = []
    window.show(FRAMES[0], "caption")
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
    window._clock = type("Clock", (), {"tick": staticmethod(wait)})
    window.show(FRAMES[1], "caption")
    assert waits == [20, 20, 20, 1000.0]


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
    terminal.show(FRAMES[4], "caption " + "x" * 100)
    terminal.close()
    text = sys.stdout.getvalue()
    assert text.startswith("\x1b[?1049h")
    assert text.endswith("\x1b[?1049l")
    assert text.count("▀") == 23 * 69  # 60x40 pixels within 80 columns and 46 half rows
    assert "caption" in text
    assert "x" * 80 not in text


def test_a_terminal_keeps_the_agents_pace(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    monkeypatch.setattr("os.get_terminal_size", lambda: (80, 24))
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    terminal = Terminal(12.5)
    for frame in FRAMES[:3]:
        terminal.show(frame, "")
    assert 0.0 < slept[0] <= 0.08
    assert 0.15 < sum(slept[2:]) <= 0.24  # nobody slept really, so the third frame is due three paces from the start


def test_a_pipe_is_no_terminal_to_show_pictures_on(capsys):
    with pytest.raises(UsageError, match=r"--render drive\.mp4"):
        open_showing("terminal", 12.5)
