"""Real environments as wmloop sees them: one, many, shrunk, randomly driven, and dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.processes import workers
from tests.tiny_env import FALL, MARKS, MAX_STEPS, SPEED, TinyDrive, tiny_config
from wmloop.config import EnvConfig, RandomDriving, RolloutConfig, build_config
from wmloop.envs import EnvPool, RealEnv, versions
from wmloop.envs.known import in_words
from wmloop.envs.shrinking import SHOWN, BoxFilter
from wmloop.episodes import Cut
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError
from wmloop.spaces import BoxActions

ROOT = Path(__file__).parent.parent
TINY = build_config("smoke", tiny_config()).env


#: CarRacing with five actions, whose settings suit it.
CARS = {"id": "CarRacing-v3", "kwargs": {"continuous": False}, "random_policy": RandomDriving()}


def tiny(**changes: Any) -> EnvConfig:
    assert changes.keys() <= EnvConfig.model_fields.keys()  # a copy would take any
    return TINY.model_copy(update=changes)


def tiny_actions(copies: int, decisions: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (decisions, copies, 2)).astype(np.float32)


# the box filter


SIDE = SHOWN.height


def area_average(picture: np.ndarray) -> np.ndarray:
    """Average by brute force: cut each pixel in 64 equal parts, then mean over equal groups of parts."""
    height, width, _ = picture.shape
    rows = picture.astype(np.float64).repeat(SIDE, 0).reshape(SIDE, height, width, 3).mean(1)
    return rows.repeat(SIDE, 1).reshape(SIDE, SIDE, width, 3).mean(2)


@settings(max_examples=30)
@given(st.integers(1, 130), st.integers(1, 130), st.integers(0, 2**32 - 1))
@example(84, 96, 0)
@example(300, 260, 0)
def test_the_box_filter_is_the_area_average_rounded_to_nearest(height: int, width: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    difference = BoxFilter(picture.shape, None, SHOWN)(picture) - area_average(picture)
    assert np.abs(difference).max() <= 0.5 + 1e-9


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 255))
def test_the_box_filter_leaves_a_constant_picture_constant(height: int, width: int, value: int) -> None:
    shrunk = BoxFilter((height, width, 3), None, SHOWN)(np.full((height, width, 3), value, np.uint8))
    assert shrunk.shape == (SIDE, SIDE, 3)
    assert (shrunk == value).all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [32, 64, 96, 200])
def test_the_box_filter_preserves_the_mean_and_order_of_a_gradient(size: int, axis: int) -> None:
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    picture = np.moveaxis(np.broadcast_to(ramp[:, None, None], (size, size, 3)), 0, axis)
    shrunk = BoxFilter(picture.shape, None, SHOWN)(picture)
    assert abs(shrunk.mean() - picture.mean()) < 0.5
    assert (np.diff(shrunk.astype(int), axis=axis) >= 0).all()


def test_the_box_filter_looks_only_at_the_crop() -> None:
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[10:20, 30:60] = 200
    assert (BoxFilter(picture.shape, (10, 20, 30, 60), SHOWN)(picture) == 200).all()


# one environment


def test_a_step_repeats_the_action_sums_the_rewards_and_stops_at_the_end() -> None:
    once, held = RealEnv(tiny()), RealEnv(tiny(action_repeat=4))
    action = np.array([1, 0], np.float32)
    for env in (once, held):
        env.reset(3)
    total, ended, frames = 0.0, False, 0
    while not ended:
        singles = []
        while len(singles) < 4 and not ended:
            obs, reward, ended, _, _ = once.step(action)
            singles.append(reward)
        obs_held, reward, ended_held, _, frames = held.step(action)
        total += reward
        assert (reward, ended_held, frames) == (sum(singles), ended, len(singles))
        np.testing.assert_array_equal(obs_held, obs)
    assert frames < 4
    assert total in (-5.0, -4.0)


def test_actions_are_clipped_to_the_box() -> None:
    wild, tame = RealEnv(tiny()), RealEnv(tiny())
    for env in (wild, tame):
        env.reset(1)
    np.testing.assert_array_equal(
        wild.step(np.array([9, -9], np.float32))[0], tame.step(np.array([1, -1], np.float32))[0]
    )


def test_the_time_limit_truncates_and_does_not_terminate() -> None:
    env = RealEnv(tiny())
    env.reset(1)
    hover = np.array([0, FALL], np.float32)
    ends = [env.step(hover)[2:4] for _ in range(MAX_STEPS)]
    assert ends == [(False, False)] * (MAX_STEPS - 1) + [(False, True)]


def test_car_racing_is_cut_after_a_thousand_frames_or_as_asked() -> None:
    env = RealEnv(EnvConfig(kwargs={"max_episode_steps": 6}, action_repeat=4))
    env.reset(1)
    ends = [env.step(np.zeros(3, np.float32))[2:] for _ in range(2)]
    assert ends == [(False, False, 4), (False, True, 2)]
    assert RealEnv(EnvConfig()).frame_limit == 1000


def test_observations_are_small_and_renderings_are_full_size() -> None:
    env = RealEnv(EnvConfig(), render_mode="rgb_array")
    obs = env.reset(1)
    assert (obs.shape, obs.dtype) == ((64, 64, 3), np.uint8)
    assert env.render().shape == (400, 600, 3)
    assert env.actions.record() == {"low": [-1, 0, 0], "high": [1, 1, 1]}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_refused(bad: float) -> None:
    env = RealEnv(tiny())
    env.reset(1)
    with pytest.raises(DivergedError, match="finite"):
        env.step(np.array([0, bad], np.float32))


def test_a_reward_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    env = RealEnv(tiny())
    env.reset(1)
    monkeypatch.setattr(TinyDrive, "step", lambda self, action: (self._picture(), np.nan, False, False, {}))
    with pytest.raises(DivergedError, match="reward nan"):
        env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "CarRaceing-v3"}, "CarRacing-v3"),
        ({"id": "CarRacing-v99"}, "CarRacing-v3"),
        ({"id": "CarRacing-v2"}, "CarRacing-v3"),
        ({"id": "no_such_module:Env-v0"}, "no_such_module"),
        ({"id": "tests.tiny_env:wmloop/TinyDriv-v0"}, "wmloop/TinyDrive-v0"),
        ({"id": "not an id!"}, "cannot be made: Malformed"),
        ({"id": "CartPole-v1"}, r"random_policy.mean has 2 entries, and 'CartPole-v1' takes one of 2 actions"),
        ({"id": "CartPole-v1", "crop": (0, 9, 0, 9)}, "'CartPole-v1' shows no picture"),
        ({"id": "CartPole-v1", "mirrored_actions": (1, 0)}, "a vector of 4 numbers, of which there is no mirror image"),
        ({"id": "CartPole-v1", "arrow_keys": (0, 0, 1, 2, 1)}, "has the actions 0 to 1"),
        ({"observation": ("screen",)}, "which has no keys"),
        ({"id": "tests.strange_envs:strange/NeverDrawn-v0", "pixels": True}, "draws nothing"),
        (CARS | {"mirrored_actions": (0, 2, 1)}, "in order, the action that it is in the mirrored world"),
        (CARS | {"mirrored_actions": (0, 2, 3, 1, 4)}, "in order, the action that it is in the mirrored world"),
        ({"id": "CarRacing-v3", "kwargs": {"wings": 2}}, "wings"),
        ({"kwargs": {"wings": 2}}, "wings"),
        ({"random_policy": RandomDriving(mean=((0, 1),) * 3)}, "random_policy.mean has 3 entries"),
        ({"random_policy": RandomDriving(weights=(1, 2))}, "weights has 2 entries, and .* takes numbers"),
        (
            {"id": "CartPole-v1", "random_policy": RandomDriving(weights=(1, 1, 1))},
            "takes one of 2 actions: give 2 numbers",
        ),
        ({"id": "CartPole-v1", "random_policy": RandomDriving(weights=(0, 0))}, "weights are all 0"),
        ({"mirrored_actions": (2,)}, "mirrored_actions"),
        (
            {"id": "CarRacing-v3", "mirrored_actions": (0, 1)},
            r"sign is flipped, and action dimension 1 of .* lies in \[0, 1\]",
        ),
        ({"random_policy": RandomDriving(initial_offset=(1, 0))}, "is added over no agent steps"),
        ({"crop": (0, 84, 0, 96)}, "32x32"),
    ],
)
def test_what_does_not_fit_is_a_usage_error_that_says_so(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        RealEnv(tiny(**changes))
    assert "\n" not in str(caught.value)


def test_arrow_keys_that_name_actions_do_no_harm_where_numbers_are_decided() -> None:
    # LunarLander-v3's profile has some, and with kwargs.continuous=true it takes numbers
    assert RealEnv(tiny(arrow_keys=(0, 0, 1, 2, 1))).actions.record() == RealEnv(tiny()).actions.record()


@pytest.mark.parametrize(
    ("seen", "action", "words"),
    [
        (spaces.Box(0, 255, (32, 32, 3), np.uint8), spaces.Box(-np.inf, 1, (2,)), "no bound"),
        (spaces.Box(-np.inf, 1, (32, 32, 3), np.float32), spaces.Box(-1, 1, (2,)), "a Box with bounds, of shape"),
        (spaces.Box(-1, 1, (0,), np.float32), spaces.Box(-1, 1, (2,)), "a Box of up to 1024 numbers"),
    ],
)
def test_spaces_that_do_not_fit_are_usage_errors(
    seen: spaces.Box, action: spaces.Box, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TinyDrive.__init__

    def other(self: TinyDrive, render_mode: str | None = None) -> None:
        original(self, render_mode)
        self.observation_space, self.action_space = seen, action

    monkeypatch.setattr(TinyDrive, "__init__", other)
    with pytest.raises(UsageError, match=words):
        RealEnv(tiny())


# random driving


def test_random_driving_stays_in_its_bounds_and_repeats_for_the_same_generator_state() -> None:
    low, high = np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)
    walk = BoxActions(low, high).random_walk
    first, second, other = (walk(RandomDriving(), 200, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first.shape, first.dtype) == ((200, 3), np.float32)
    assert (first >= low).all()
    assert (first <= high).all()
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_random_driving_has_the_asked_mean_scale_and_memory(memory: float) -> None:
    config = RandomDriving(
        mean=((0.3, 0.3),),
        std=((0.1, 0.1),),
        autocorrelation=(memory, memory),
        initial_offset=(0.0,),
        initial_decisions=0,
    )
    actions = BoxActions([-10], [10]).random_walk(config, 40_000, np.random.default_rng(0))[:, 0]
    centred = actions - actions.mean()
    assert actions.mean() == pytest.approx(0.3, abs=0.01)
    assert actions.std() == pytest.approx(0.1, rel=0.05)
    assert (centred[1:] * centred[:-1]).mean() / centred.var() == pytest.approx(memory, abs=0.02)


@pytest.mark.parametrize(("low", "high"), [(-100, 100), (0, 1), (-0.001, 0.003)])
def test_random_actions_range_over_the_actions_own_range_where_nothing_is_configured(low: float, high: float) -> None:
    bounds = np.full(2, low, np.float32), np.full(2, high, np.float32)
    drawn = [BoxActions(*bounds).random_walk(RandomDriving(), 100, np.random.default_rng(s)) for s in range(40)]
    parts = (np.concatenate(drawn) - bounds[0]) / (bounds[1] - bounds[0])
    assert abs(parts.mean() - 0.5) < 0.05
    assert 0.2 < parts.std() < 0.45
    np.testing.assert_allclose(np.quantile(parts, [0.02, 0.98]), [0, 1], atol=0.05)


def test_the_boost_fades_out_linearly() -> None:
    config = RandomDriving(
        mean=((0.0, 0.0),), std=((0.0, 0.0),), autocorrelation=(0.5, 0.5), initial_offset=(0.8,), initial_decisions=4
    )
    actions = BoxActions([-1], [1]).random_walk(config, 6, np.random.default_rng(0))[:, 0]
    np.testing.assert_allclose(actions, [0.8, 0.6, 0.4, 0.2, 0, 0], atol=1e-6)


def test_episodes_of_random_driving_differ_in_their_mean() -> None:
    means = [
        BoxActions(-np.ones(3), np.ones(3)).random_walk(RandomDriving(), 100, np.random.default_rng(s))[:, 1].mean()
        for s in range(20)
    ]
    assert np.std(means) > 0.05


# pushes


def pushed(config: RolloutConfig, decisions: int, drivers: int = 1) -> np.ndarray:
    """Return (decisions, drivers, 2) offsets."""
    perturbations = BoxActions([-1, -1], [1, 1]).perturbations(
        config, [np.random.default_rng(i) for i in range(drivers)]
    )
    return np.stack([perturbations().copy() for _ in range(decisions)])


def test_pushes_come_at_their_rate_are_held_and_end() -> None:
    config = RolloutConfig(perturb_prob=0.05, perturb_decisions=(3, 6), perturb_std=0.5)
    offsets = pushed(config, 20_000)[:, 0]
    edges = np.flatnonzero((np.diff(offsets, axis=0) != 0).any(1)) + 1
    parts = np.split(offsets, edges)[1:-1]
    perturbations = [part for part in parts if part[0].any()]
    lengths = [len(part) for part in perturbations]
    assert min(lengths) == 3
    assert max(lengths) == 6
    free = sum(len(part) for part in parts if not part[0].any())
    assert len(perturbations) / free == pytest.approx(0.05, rel=0.15)
    assert np.std([part[0] for part in perturbations]) == pytest.approx(0.5, rel=0.1)


def test_each_driver_is_pushed_by_its_own_generator_alone() -> None:
    config = RolloutConfig(perturb_prob=0.2)
    np.testing.assert_array_equal(pushed(config, 50, drivers=3)[:, 0], pushed(config, 50)[:, 0])
    assert (pushed(config, 50, drivers=2)[:, 0] != pushed(config, 50, drivers=2)[:, 1]).any()


def test_a_rate_of_zero_pushes_nobody() -> None:
    assert not pushed(RolloutConfig(perturb_prob=0), 500).any()


# many environments


@pytest.fixture(scope="module")
def pool() -> Iterator[EnvPool]:
    with EnvPool(tiny(), 5) as five:
        yield five


def test_the_pool_drives_the_same_episodes_as_single_environments(pool: EnvPool) -> None:
    actions = tiny_actions(5, 80)
    singles = [RealEnv(tiny()) for _ in range(5)]
    obs = pool.reset([10, 11, 12, 13, 14])
    np.testing.assert_array_equal(obs, [env.reset(10 + i) for i, env in enumerate(singles)])
    ended = [False] * 5
    for t in range(80):
        step = pool.step(actions[t])
        for i, env in enumerate(singles):
            if ended[i]:
                assert (step.reward[i], step.terminated[i], step.truncated[i], step.frames[i]) == (0, False, False, 0)
                continue
            picture, *rest = env.step(actions[t, i])
            np.testing.assert_array_equal(step.obs[i], picture)
            assert [step.reward[i], step.terminated[i], step.truncated[i], step.frames[i]] == rest
            ended[i] = rest[1] or rest[2]
    assert all(ended)


def test_car_racing_in_a_pool_equals_car_racing_alone() -> None:
    actions = np.random.default_rng(0).uniform((-1, 0, 0), 1, (15, 3, 3)).astype(np.float32)
    singles = [RealEnv(EnvConfig()) for _ in range(3)]
    with EnvPool(EnvConfig(), 3) as cars:
        np.testing.assert_array_equal(cars.reset([1, 2, 3]), [env.reset(1 + i) for i, env in enumerate(singles)])
        for action in actions:
            step = cars.step(action)
            for i, env in enumerate(singles):
                picture, reward, *_ = env.step(action[i])
                np.testing.assert_array_equal(step.obs[i], picture)
                assert step.reward[i] == np.float32(reward)


def test_idle_copies_keep_their_picture_and_never_touch_their_environment(pool: EnvPool) -> None:
    pool.reset([1, 2, 3, 4, 5])
    aside = np.tile(np.array([1, 0], np.float32), (5, 1))  # out by the right side in some ten steps
    for _ in range(20):
        last = pool.step(aside)
    # TinyDrive raises when it is stepped after its end, so a copy that did not idle would have failed the pool
    again = pool.step(aside)
    assert not again.terminated.any()
    assert not again.truncated.any()
    assert again.reward.tolist() == again.frames.tolist() == [0] * 5
    np.testing.assert_array_equal(again.obs, last.obs)


def test_reset_touches_only_the_copies_that_have_a_seed(pool: EnvPool) -> None:
    before = pool.reset([1, 2, 3, 4, 5])
    moved = pool.step(np.tile(np.array([0.5, 0.9], np.float32), (5, 1))).obs
    after = pool.reset([None, 2, None, 4, None])
    np.testing.assert_array_equal(after[[1, 3]], before[[1, 3]])
    np.testing.assert_array_equal(after[[0, 2, 4]], moved[[0, 2, 4]])
    assert pool.step(np.zeros((5, 2), np.float32)).frames.tolist() == [1] * 5


def test_a_bounded_episode_is_truncated_at_its_last_decision_and_then_idles(pool: EnvPool) -> None:
    pool.reset([1, 2, 3, 4, 5], [1, 2, 3, None, 3])
    steps = [pool.step(np.zeros((5, 2), np.float32)) for _ in range(4)]
    assert [s.truncated.tolist() for s in steps] == [
        [True, False, False, False, False],
        [False, True, False, False, False],
        [False, False, True, False, True],
        [False] * 5,
    ]
    assert steps[3].frames.tolist() == [0, 0, 0, 1, 0]


def test_arrays_from_the_pool_are_the_callers_own(pool: EnvPool) -> None:
    first = pool.reset([1, 2, 3, 4, 5])
    kept = first.copy()
    second = pool.step(np.ones((5, 2), np.float32)).obs
    second[:] = 7
    pool.step(np.ones((5, 2), np.float32))
    np.testing.assert_array_equal(first, kept)
    assert (second == 7).all()


@pytest.mark.usefixtures("same_cores_after")
def test_halves_that_are_sent_and_received_apart_see_the_same_episodes(pool: EnvPool) -> None:
    actions = tiny_actions(5, 30)
    pool.reset([10, 11, 12, 13, 14])
    together = [pool.step(action) for action in actions]
    pool.reset([10, 11, 12, 13, 14])
    taken = {range(0, 5, 2): 0, range(1, 5, 2): 0}
    for copies in taken:
        pool.send(copies, actions[0, copies.start :: 2])
    while any(t < len(actions) for t in taken.values()):
        copies, step = pool.receive()
        for mine, whole in zip(step, together[taken[copies]], strict=True):
            np.testing.assert_array_equal(mine, whole[copies.start :: 2])
        taken[copies] += 1
        if taken[copies] < len(actions):
            pool.send(copies, actions[taken[copies], copies.start :: 2])


def test_a_reset_drops_the_steps_that_nobody_received(pool: EnvPool) -> None:
    first = pool.reset([1, 2, 3, 4, 5])
    pool.send(range(1, 5, 2), np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(pool.reset([1, 2, 3, 4, 5]), first)
    assert pool.step(np.zeros((5, 2), np.float32)).frames.tolist() == [1] * 5


@pytest.mark.usefixtures("two_workers")
def test_a_half_that_hangs_is_found_while_the_other_goes_on() -> None:
    with EnvPool(tiny(worker_timeout=1.0, kwargs={"stuck_at": 3}), 4) as pool:
        pool.reset([20, 21, 22, 23], [None, 2, 2, 2])

        def drive_on() -> None:
            for copies in (range(0, 4, 2), range(1, 4, 2)):
                pool.send(copies, np.zeros((2, 2), np.float32))
            while True:
                copies, step = pool.receive()
                if step.frames.any():  # else its episodes have ended
                    pool.send(copies, np.zeros((2, 2), np.float32))

        with pytest.raises(EnvironmentFailedError, match=r"copy 0 \(seed 20, .*no answer for 1 s"):
            drive_on()


@pytest.mark.usefixtures("two_workers")
def test_a_worker_that_was_stopped_and_goes_on_has_not_hung() -> None:
    with EnvPool(tiny(worker_timeout=1.0), 2) as pool:
        pool.reset([20, 21])
        os.kill(workers()[1].pid or 0, signal.SIGSTOP)
        pool.send(range(2), np.zeros((2, 2), np.float32))
        time.sleep(1.5)  # as when all was stopped by Ctrl-Z: nobody waits for anybody
        os.kill(workers()[1].pid or 0, signal.SIGCONT)
        assert pool.receive()[1].frames.tolist() == [1, 1]


@pytest.fixture
def same_cores_after() -> Iterator[None]:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    yield
    if before:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that can keep a process on a core")
@pytest.mark.usefixtures("same_cores_after")
def test_workers_stay_on_a_core_each_where_there_is_one_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: cores)
    with EnvPool(tiny(), 3):
        assert [os.sched_getaffinity(process.pid or 0) for process in workers()] == [{core} for core in cores]
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: [*cores, *cores])
    with EnvPool(tiny(), 1):
        (one,) = workers()
        assert os.sched_getaffinity(one.pid or 0) == set(cores)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.usefixtures("same_cores_after")
def test_whoever_drives_halves_waits_on_the_core_that_gets_free_and_leaves_it_with_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = set(sorted(os.sched_getaffinity(0))[:2])
    os.sched_setaffinity(0, every)
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: sorted(every))  # whatever limits there are besides
    halves = [range(k, 4, 2) for k in range(2)]
    with EnvPool(tiny(), 4) as pool:
        pool.reset([1, 2, 3, 4])
        for copies in halves:
            pool.send(copies, np.zeros((2, 2), np.float32))
        waiting = halves.copy()
        while waiting:
            asked_first = waiting[0].start
            waiting.remove(pool.receive()[0])  # either half may answer first
            assert os.sched_getaffinity(0) == {sorted(every)[asked_first]}
        pool.step(np.zeros((4, 2), np.float32))
        assert os.sched_getaffinity(0) == every
        pool.send(halves[1], np.zeros((2, 2), np.float32))
        pool.receive()
    assert os.sched_getaffinity(0) == every


def test_settings_that_do_not_fit_are_usage_errors_from_the_pool_too() -> None:
    with pytest.raises(UsageError, match="TinyDrive-v0"):
        EnvPool(tiny(id="tests.tiny_env:wmloop/TinyDriv-v0"), 2)


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch, same_cores_after: None) -> None:
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: [0, 1])


@pytest.mark.usefixtures("two_workers")
def test_a_killed_worker_is_named_at_once_and_the_pool_closes() -> None:
    pool = EnvPool(tiny(), 4)
    pool.reset([20, 21, 22, 23])
    victim = workers()[1]
    victim.kill()
    victim.join(5)
    start = time.monotonic()
    with pytest.raises(EnvironmentFailedError, match=r"environment copy [13] \(seed 2[13], .*died with exit code -9"):
        pool.step(np.zeros((4, 2), np.float32))
    with pytest.raises(EnvironmentFailedError, match="closed"):
        pool.reset([1, 2, 3, 4])
    pool.close()
    assert time.monotonic() - start < 6


@pytest.mark.usefixtures("two_workers")
def test_a_copy_that_hangs_is_named_after_the_timeout() -> None:
    pool = EnvPool(tiny(worker_timeout=1.0, kwargs={"stuck_at": 3}), 4)
    pool.reset([20, 21, 22, 23], [None, 2, 2, 2])
    for _ in range(2):
        pool.step(np.zeros((4, 2), np.float32))
    start = time.monotonic()
    with pytest.raises(EnvironmentFailedError, match=r"copy 0 \(seed 20, .*no answer for 1 s.*env\.worker_timeout"):
        pool.step(np.zeros((4, 2), np.float32))
    assert time.monotonic() - start < 8


@pytest.mark.usefixtures("two_workers")
def test_a_stopped_worker_does_not_hold_up_the_pools_end() -> None:
    pool = EnvPool(tiny(worker_timeout=1.0), 4)
    pool.reset([20, 21, 22, 23])
    hung = workers()[0].pid or 0
    os.kill(hung, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(EnvironmentFailedError, match=r"environment copy [02] .*no answer for 1 s"):
        pool.step(np.zeros((4, 2), np.float32))
    pool.close()
    assert time.monotonic() - start < 8
    assert not _alive(hung)


def test_an_error_inside_the_environment_names_copy_and_cause() -> None:
    with EnvPool(tiny(), 2) as pool:
        pool.reset([1, 2])
        with pytest.raises(EnvironmentFailedError, match=r"copy 1 \(seed nonsense, agent step 0\) failed with .*eed"):
            pool.reset([None, "nonsense"])  # type: ignore[list-item]


def test_an_action_that_is_not_finite_is_refused_by_the_pool() -> None:
    with EnvPool(tiny(), 2) as pool:
        pool.reset([1, 2])
        with pytest.raises(DivergedError, match=r"copy 1 .*nan"):
            pool.step(np.array([[0, 0], [0, np.nan]], np.float32))


#: Deliberately without the `__main__` guard, and with an import that no worker may repeat.
SCRIPT = textwrap.dedent("""
    import signal, sys, time
    print("main", flush=True)
    import numpy as np
    from tests.processes import workers
    from tests.test_envs import tiny
    from wmloop.envs import EnvPool

    asked = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    stuck = "stuck" in sys.argv
    pool = EnvPool(tiny(kwargs={"stuck_at": 1} if stuck else {}), 2)
    pool.reset([1, 2])
    print(*[process.pid for process in workers()], flush=True)
    if stuck:
        pool.step(np.zeros((2, 2), np.float32))
    while not asked:
        time.sleep(0.05)
    time.sleep(0.5)
    print(pool.step(np.zeros((2, 2), np.float32)).frames.sum(), flush=True)
    pool.close()
""")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _start(tmp_path: Path, *arguments: str) -> tuple[subprocess.Popen[str], list[int]]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "main\n"
    return process, [int(word) for word in process.stdout.readline().split()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_ctrl_c_leaves_the_workers_alone_and_quiet_even_below_an_unguarded_script(tmp_path: Path) -> None:
    process, workers = _start(tmp_path)
    assert len(workers) >= 1
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("2\n", "", 0)
    assert not any(map(_alive, workers))


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize("state", ["waiting", "stuck"])
def test_no_worker_outlives_a_killed_parent(state: str, tmp_path: Path) -> None:
    process, workers = _start(tmp_path, state)
    time.sleep(0.5)
    assert all(map(_alive, workers))
    process.kill()
    _, err = process.communicate(timeout=30)  # returns only when nobody holds the pipe any more
    deadline = time.monotonic() + 10
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, workers))
    assert err == ""


def test_what_workers_import_does_not_include_torch() -> None:
    code = "import sys, wmloop.envs.worker, wmloop.envs.carracing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# the tiny environment itself


def test_the_tiny_environment_pays_in_the_very_step_that_enters_the_lit_gate() -> None:
    env = TinyDrive()
    env.reset(seed=0)
    env.x, env.y, env.lit = MARKS[1][0] - 1.5 * SPEED, 10.0, 1
    rewards = [env.step(np.array([1, FALL], np.float32))[1] for _ in range(4)]
    assert rewards == [0, 1, 0, 0]
    assert env.lit == 0


def test_the_tiny_environment_ends_below_and_aside() -> None:
    for action in ([0, -1], [1, FALL], [-1, FALL]):
        env = TinyDrive()
        env.reset(seed=0)
        ends = []
        while not (ends and ends[-1][1]):
            ends.append(env.step(np.array(action, np.float32))[1:3])
        assert ends[-1] == (-5.0, True)


def test_versions_name_what_decides_an_episode() -> None:
    assert set(versions()) - {"pygame", "box2d-py"} <= {"gymnasium", "box2d", "pygame-ce", "numpy"}
    assert len(versions()) == 4
    assert "missing" not in versions().values()


# ---- episodes that somebody stops


@pytest.mark.parametrize(
    ("changes", "decisions", "max_unrewarded", "cut"),
    [
        ({"episode_frames": None}, 1000, None, Cut.ENVIRONMENT), ({"episode_frames": 5}, 1000, None, Cut.FRAMES),
        ({}, 5, None, Cut.DECISIONS), ({}, 1000, 5, Cut.UNREWARDED),
    ],
)  # fmt: skip
def test_a_cut_is_no_end_and_says_why(
    changes: dict[str, Any], decisions: int, max_unrewarded: int | None, cut: Cut
) -> None:
    idle = np.float32([[0.0, 0.4]])
    with EnvPool(tiny(**changes), 1, max_unrewarded=max_unrewarded) as pool:
        pool.reset([0], [decisions])
        steps = [pool.step(idle) for _ in range(MAX_STEPS)]
    last = next(i for i, step in enumerate(steps) if step.truncated[0])
    assert last == (MAX_STEPS if cut == Cut.ENVIRONMENT else 5) - 1
    assert [int(step.cut[0]) for step in steps[: last + 2]] == [0] * last + [cut] + [0] * (last + 1 < MAX_STEPS)
    assert not any(step.terminated[0] for step in steps)


def test_an_episode_is_truncated_after_some_decisions_without_reward_and_a_reward_begins_the_count_anew() -> None:
    right = np.float32([[1.0, 0.4]])
    with EnvPool(tiny(), 1, max_unrewarded=8) as pool:
        pool.reset([0])
        idle = [pool.step(np.float32([[0.0, 0.4]])) for _ in range(10)]
        assert [bool(step.truncated[0]) for step in idle] == [False] * 7 + [True] + [False] * 2
        rewarded = None
        for seed in range(20):
            pool.reset([seed])
            steps = [pool.step(right) for _ in range(8)]
            paid = [t for t, step in enumerate(steps) if step.reward[0] > 0]
            if paid and not any(step.terminated[0] for step in steps):
                rewarded = steps
                break
        assert rewarded is not None, "no seed starts near its gate: the test shows nothing"
        assert not rewarded[-1].truncated[0]


def test_a_few_numbers_whose_bounds_differ_are_told_with_those_of_each():
    box = spaces.Box
    assert (
        in_words(box(np.array([-1, 0], np.float32), np.ones(2, np.float32)))
        == "2 numbers from [-1.0, 0.0] to [1.0, 1.0]"
    )
    assert in_words(box(-2, 2, (3,))) == "3 numbers from -2 to 2"
    assert in_words(box(-np.arange(6.0), np.ones(6), dtype=np.float64)) == "6 numbers from -5 to 1"
