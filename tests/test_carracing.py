"""OnDemandCarRacing is gymnasium's CarRacing: the same bytes, rewards and ends, drawn only when asked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pygame
import pytest
from gymnasium.envs.box2d.car_racing import PLAYFIELD, CarRacing

from wmloop.envs import carracing
from wmloop.envs.carracing import OnDemandCarRacing
from wmloop.errors import DivergedError


class SampledCarRacing(CarRacing):
    """gymnasium's own CarRacing that can be told to skip drawing frames nobody compares: its drawing is slow."""

    drawing = True

    def _render(self, mode: str) -> Any:
        return super()._render(mode) if self.drawing else None


def drive(style: str, seed: int, frames: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = np.empty((frames, 3), np.float32)
    walk = np.zeros(3)
    for t in range(frames):
        walk = 0.9 * walk + 0.44 * rng.standard_normal(3)
        if style == "walk":
            actions[t] = 0.3 * walk[0], 0.5 + 0.3 * walk[1], 0.2 * walk[2] - 0.1
        elif style == "white":
            actions[t] = rng.uniform((-1, 0, 0), (1, 1, 1))
        elif style == "away":
            actions[t] = 0, 0.3, 0
        elif style == "spin":
            actions[t] = 1, 1, 0.95 * (t % 50 > 40)
    return actions


def differing_bytes(seed: int, actions: np.ndarray, compare: Iterable[int], **kwargs: Any) -> tuple[int, bool]:
    """Drive three cars alike; return the differing bytes over the compared frames, and whether the episode ended."""
    compared = set(compare)
    reference = SampledCarRacing(**kwargs)
    always = OnDemandCarRacing(**kwargs)
    asked = OnDemandCarRacing(lazy=True, **kwargs)
    first, _ = reference.reset(seed=seed)
    differing = int((first != always.reset(seed=seed)[0]).sum())
    asked.reset(seed=seed)
    differing += int((first != asked.observe()).sum())
    for t, action in enumerate(actions):
        reference.drawing = t in compared
        expected = reference.step(action)
        seen = always.step(action)
        assert seen[1:] == expected[1:] == asked.step(action)[1:]
        if t in compared:
            differing += int((expected[0] != asked.observe()).sum())
            differing += int((expected[0] != seen[0]).sum())
        if expected[2]:
            return differing, True
    return differing, False


@pytest.mark.parametrize(("style", "seed"), [("walk", 2), ("white", 2)])
def test_every_frame_of_the_zoom_and_one_in_four_later_equal_gymnasiums(style: str, seed: int) -> None:
    frames = [*range(60), *range(63, 200, 4)]
    assert differing_bytes(seed, drive(style, seed, 200), frames) == (0, False)


def test_the_black_beyond_the_playfield_equals_gymnasiums() -> None:
    actions = drive("away", 3, 600)
    counting = OnDemandCarRacing(lazy=True)
    counting.reset(seed=3)
    length = next(t for t, action in enumerate(actions) if counting.step(action)[2])
    assert max(map(abs, counting.car.hull.position)) > PLAYFIELD
    assert differing_bytes(3, actions, range(length - 9, length + 1)) == (0, True)


def test_randomised_colours_equal_gymnasiums() -> None:
    assert differing_bytes(4, drive("walk", 4, 40), range(3, 40, 4), domain_randomize=True) == (0, False)


def test_a_second_episode_in_the_same_environment_equals_a_fresh_one() -> None:
    used, fresh = OnDemandCarRacing(lazy=True), OnDemandCarRacing(lazy=True)
    used.reset(seed=8)
    for action in drive("spin", 8, 200):
        used.step(action)
    used.reset(seed=9)
    fresh.reset(seed=9)
    for action in drive("walk", 9, 100):
        assert used.step(action)[1:] == fresh.step(action)[1:]
    np.testing.assert_array_equal(used.observe(), fresh.observe())


@pytest.mark.parametrize("part", ["omega", "speed"])
def test_indicators_that_stick_out_of_the_black_bar_equal_gymnasiums(part: str) -> None:
    reference, fast = CarRacing(render_mode="state_pixels"), OnDemandCarRacing(lazy=True)
    pictures = []
    for env in (reference, fast):
        env.reset(seed=5)
        assert env.car is not None
        if part == "omega":
            env.car.wheels[2].omega = 900.0
        else:
            env.car.hull.linearVelocity = (0.0, 300.0)
        pictures.append(reference.render() if env is reference else fast.observe())
    assert (pictures[0][600 * 96 // 800 : 690 * 96 // 800, 10:30] != 0).any()
    np.testing.assert_array_equal(*pictures)


def test_an_unproven_gymnasium_draws_by_its_own_code_and_still_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        CarRacing, "_render_road", lambda self, zoom, translation, angle: None
    )  # as another one may draw
    actions, compared = drive("walk", 6, 12), range(3, 12, 4)
    assert differing_bytes(6, actions, compared)[0] > 0
    monkeypatch.setattr(carracing, "PROVEN_VERSIONS", ())
    assert differing_bytes(6, actions, compared) == (0, False)
    env = OnDemandCarRacing(lazy=True)
    before = env.reset(seed=6)[0]
    assert env.step(np.zeros(3, np.float32))[0] is before


def test_the_picture_for_people_equals_gymnasiums() -> None:
    reference, fast = CarRacing(render_mode="rgb_array"), OnDemandCarRacing(render_mode="rgb_array", lazy=True)
    for env in (reference, fast):
        env.reset(seed=7)
        for action in drive("walk", 7, 10):
            env.step(action)
    picture = fast.render()
    assert picture.shape == (400, 600, 3)
    np.testing.assert_array_equal(picture, reference.render())


def test_drawing_survives_a_window_that_was_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    before, reference = OnDemandCarRacing(lazy=True), CarRacing()
    before.reset(seed=10)
    expected = before.observe()
    window = OnDemandCarRacing(render_mode="human", lazy=True)
    window.reset(seed=10)
    during = window.observe()
    window.close()  # quits pygame, and with it every font and display
    np.testing.assert_array_equal(during, expected)
    np.testing.assert_array_equal(before.observe(), expected)
    reference.reset(seed=10)
    for env in (before, reference):
        env.reward = 4321.0  # a score that nobody has drawn yet
        picture = env.step(np.zeros(3, np.float32))[0]
    np.testing.assert_array_equal(before.observe(), picture)
    assert (picture != expected).any()


def test_lazy_steps_draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    env = OnDemandCarRacing(lazy=True)
    env.reset(seed=1)
    drawn, shrink = [], pygame.transform.smoothscale  # which every picture comes through
    monkeypatch.setattr(pygame.transform, "smoothscale", lambda *arguments: drawn.append(1) or shrink(*arguments))
    for action in drive("walk", 1, 5):
        env.step(action)
    assert not drawn
    env.observe()
    assert drawn


def test_a_picture_is_not_overwritten_by_the_next_one() -> None:
    env = OnDemandCarRacing()
    first = env.reset(seed=1)[0]
    kept = first.copy()
    for action in drive("walk", 1, 3):
        env.step(action)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_actions_that_are_not_finite_are_refused(bad: float) -> None:
    env = OnDemandCarRacing(lazy=True)
    env.reset(seed=1)
    with pytest.raises(DivergedError, match="finite"):
        env.step(np.array([0, bad, 0], np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("style", ["walk", "white", "away", "spin"])
@pytest.mark.parametrize("seed", [11, 12, 2**30])
def test_whole_episodes_equal_gymnasiums(style: str, seed: int) -> None:
    assert differing_bytes(seed, drive(style, seed, 600), range(600))[0] == 0


@pytest.mark.slow
def test_drawing_one_frame_in_four_is_at_least_five_and_a_half_times_as_fast_as_gymnasium() -> None:
    def frames_per_second(env: CarRacing, frames: int, ask: int) -> float:
        env.reset(seed=1)
        start = time.process_time()
        for t, action in enumerate(drive("walk", 1, frames)):
            env.step(action)
            if ask and t % ask == ask - 1:
                env.observe()  # type: ignore[attr-defined]
        return frames / (time.process_time() - start)

    plain = max(frames_per_second(CarRacing(), 120, 0) for _ in range(2))
    every = max(frames_per_second(OnDemandCarRacing(), 240, 0) for _ in range(2))
    due = max(frames_per_second(OnDemandCarRacing(lazy=True), 800, 4) for _ in range(2))
    assert due > 5.5 * plain
    assert every > 2.2 * plain


def test_road_that_has_paid_is_painted_in_one_grey_and_the_rest_in_three_a_few_levels_apart() -> None:
    # A picture does tell a second lap from a first, if only by a few grey levels (docs/experiments/2026-11-24-ranks.md).
    car = OnDemandCarRacing(lazy=True)
    car.reset(seed=5)
    for action in drive("walk", 5, 120):
        car.step(action)
    paid, unpaid = (
        {tuple(map(int, tile.color)) for tile in car.road if tile.road_visited is visited} for visited in (True, False)
    )
    assert len(paid) == 1
    assert len(unpaid) == 3
    assert paid < unpaid
    shades = [shade for (shade, _, _) in unpaid]
    assert 0 < max(shades) - min(shades) < 8
