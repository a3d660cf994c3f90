"""Programs that come along as rows of a study: the environment they get, and what they write."""

import argparse
import json

import numpy as np
import pytest

from benchmarks import random_policy
from benchmarks.row import FIVE, Face, Row, play, settings_of
from tests.tiny_env import TINY_ID, tiny_config
from wmloop.config import build_config
from wmloop.envs import RealEnv
from wmloop.seeding import HELD_OUT, evaluation_seeds, fresh_seeds
from wmloop.study.results import read_lines

CONFIG = build_config("smoke", tiny_config())


def options(to, **given):
    first = fresh_seeds(1, 3)[0]
    known = {
        "env": TINY_ID,
        "seed": 1,
        "frames": 300.0,
        "minutes": None,
        "episodes": 3,
        "first_episode": first,
        "to": to,
    }
    return argparse.Namespace(**(known | given))


def still(observation):
    return np.array([0.0, 0.4], np.float32)


def left(observation):
    return np.array([-1.0, 0.4], np.float32)


def luma(picture):
    return np.floor(picture.astype(np.int64) @ np.array([299, 587, 114]) / 1000 + 0.5)


def test_a_face_shows_the_newest_grey_pictures_of_wmloops_own_environment():
    face, real = Face(CONFIG, stack=3), RealEnv(CONFIG.env)
    seen, _ = face.reset(seed=5)
    grey = [luma(real.reset(5))]
    assert seen.shape == face.observation_space.shape == (3, *grey[0].shape)
    assert (seen == grey[0]).all()
    for _ in range(4):
        seen, reward, *_, info = face.step(still(seen))
        picture, paid, *_, frames = real.step(still(seen))
        grey.append(luma(picture))
        assert (reward, info["frames"]) == (paid, frames)
    assert (seen == np.array(grey[-3:])).all()


def test_episodes_to_learn_from_are_never_those_that_score(monkeypatch):
    seeds = []
    monkeypatch.setattr(RealEnv, "reset", lambda self, seed: seeds.append(seed) or np.zeros((64, 64, 3), np.uint8))
    face = Face(CONFIG, seed=7)
    for _ in range(20):
        face.reset()
    assert len(set(seeds)) == 20
    assert max(seeds) < HELD_OUT


def driven(face, act, seed):
    """Return the rewards of an episode, and whether it was truncated."""
    observation, _ = face.reset(seed=seed)
    rewards, over = [], False
    while not over:
        observation, reward, terminated, truncated, _ = face.step(act(observation))
        rewards, over = [*rewards, reward], terminated or truncated
    return rewards, truncated


def test_an_episode_that_pays_nothing_is_cut_where_it_is_to_be_learnt_from():
    assert driven(Face(CONFIG, unrewarded=5), still, 1) == ([0.0] * 5, True)
    assert len(driven(Face(CONFIG), still, 1)[0]) > 5


def test_rewards_are_scaled_where_a_program_asks_for_it():
    seeds = range(6)
    plain, scaled = ([driven(Face(CONFIG, scale=scale), left, seed)[0] for seed in seeds] for scale in (1.0, 10.0))
    assert {1.0, -5.0} <= {reward for rewards in plain for reward in rewards}
    assert scaled == [[reward / 10 for reward in rewards] for rewards in plain]


def test_a_number_stands_for_an_action_where_they_are_listed():
    listed = np.array([[0.0, 0.4], [-1.0, 0.4]], np.float32)
    face, plain = Face(CONFIG, actions=listed), Face(CONFIG)
    assert face.action_space.n == 2
    assert play(face, lambda _: 1, [4, 5]) == play(plain, left, [4, 5])
    assert FIVE.shape == (5, 3)


@pytest.mark.parametrize("frames", [300.0, 200.0])
def test_a_row_tells_its_curve_and_its_best_agent_within_the_limit(frames, tmp_path):
    acts = {"still": still, "left": left}
    row = Row(options(tmp_path / "scores", frames=frames), Face(CONFIG), 4)
    rounds = [(90.0, "left"), (180.0, "still"), (270.0, "left")]
    assert row.goes_on
    assert not row.due(10.0, 4.0)
    assert row.due(frames / 10, 1.0)
    for at, name in rounds:
        row.evaluate(at, acts[name], name)
    row.finish(acts.__getitem__)
    result = read_lines(tmp_path / "scores", {"frames": frames}, 3)
    within = [(at, name) for at, name in rounds if at <= frames]
    means = {name: np.mean(play(Face(CONFIG), act, evaluation_seeds(4))[0]) for name, act in acts.items()}
    assert [(point.frames, point.score) for point in result.points] == [(at, means[name]) for at, name in rounds]
    best = max((name for _, name in within), key=means.get)
    assert result.finals["frames"].frames == within[-1][0]
    assert result.finals["frames"].scores == play(Face(CONFIG), acts[best], fresh_seeds(3, 3))[0]
    assert result.made["cpu"]


def test_a_row_ends_when_no_evaluation_can_be_within_a_limit_any_more(tmp_path):
    row = Row(options(tmp_path / "scores"), Face(CONFIG), 1)
    for step in range(1, 11):
        assert row.goes_on
        row.evaluate(30.0 * step - 1, still, None)
    assert not row.goes_on
    assert Row(options(tmp_path / "more", frames=None, minutes=60.0), Face(CONFIG), 1).goes_on


def test_the_random_policy_is_the_same_for_the_same_seed_and_tells_both_limits(tmp_path, monkeypatch):
    def told(seed, name):
        words = ["--env", TINY_ID, "--seed", seed, "--episodes", "3", "--first-episode", str(HELD_OUT), "--to", name]
        monkeypatch.setattr("sys.argv", ["random_policy", *map(str, words)])
        random_policy.main()
        return read_lines(tmp_path / name, {"frames": 1.0, "minutes": 1.0}, 3)

    monkeypatch.chdir(tmp_path)
    first, again, other = told(1, "a"), told(1, "b"), told(2, "c")
    assert first.finals == again.finals
    assert first.finals["frames"] == first.finals["minutes"]
    assert first.finals["frames"].scores != other.finals["frames"].scores
    assert json.loads((tmp_path / "a").read_text().splitlines()[-1])["frames"] == 0


def test_an_environment_without_a_profile_has_the_time_limit_that_it_declares_and_one_without_pictures_no_face(
    tmp_path, monkeypatch
):
    assert settings_of("MountainCarContinuous-v0").env.episode_frames == 999
    assert (settings_of("BipedalWalker-v3").env.episode_frames, settings_of("CarRacing-v3").env.episode_frames) == (
        1600,
        1000,
    )
    with pytest.raises(SystemExit, match="Pendulum-v1 shows no pictures"):
        Face(settings_of("Pendulum-v1"))
    words = [
        "--env",
        "MountainCarContinuous-v0",
        "--episodes",
        "1",
        "--first-episode",
        str(HELD_OUT),
        "--to",
        str(tmp_path / "a"),
    ]
    monkeypatch.setattr("sys.argv", ["random_policy", *words])
    random_policy.main()
    (score,) = read_lines(tmp_path / "a", {"frames": 1.0}, 1).finals["frames"].scores
    assert -100 < score < 0  # it acts until the end, and each step costs


@pytest.mark.slow
@pytest.mark.parametrize("way", ["dqn", "a2c", "a2c-discrete"])
def test_stable_baselines3_trains_in_it_and_writes_what_a_study_reads(way, tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    from benchmarks import sb3

    monkeypatch.setattr(sb3, "settings_of", lambda environment: CONFIG)
    two = np.array([[0.0, 0.4], [-1.0, 0.4]], np.float32)
    if way != "a2c":
        monkeypatch.setitem(sb3.WAYS, way, sb3.WAYS[way]._replace(actions=lambda environment: two))
    to = tmp_path / "scores"
    words = [way, "--env", TINY_ID, "--seed", "1", "--frames", "6000", "--minutes", "none", "--episodes", "3"]
    monkeypatch.setattr(
        "sys.argv", ["sb3", *words, "--first-episode", str(HELD_OUT), "--to", str(to), "--threads", "1"]
    )
    sb3.main()
    result = read_lines(to, {"frames": 6000.0}, 3)
    assert len(result.points) == 10
    assert [point.frames <= 600 * (place + 1) for place, point in enumerate(result.points)] == [True] * 10
    assert result.finals["frames"].frames == result.points[-1].frames > 5900
