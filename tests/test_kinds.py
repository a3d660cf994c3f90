"""The kinds of environments: any space that is driven is driven rightly, any other is refused in words."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import AddRenderObservation
from hypothesis import given
from hypothesis import strategies as st

from tests.strange_envs import Numbered, strange
from wmloop.config import EnvConfig
from wmloop.envs import EnvPool, RealEnv
from wmloop.envs.actions import actions_of
from wmloop.envs.keys import names_of
from wmloop.envs.observations import LARGEST_BYTES, Observations
from wmloop.envs.shrinking import SHOWN, BoxFilter
from wmloop.envs.vectors import LONGEST
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError
from wmloop.spaces import DiscreteActions, PictureAndVector, Pixels, Vector

REALS, WHOLES = (np.float16, np.float32, np.float64), (np.uint8, np.int8, np.int32, np.int64)
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def config(name: str, **changes: Any) -> EnvConfig:
    return EnvConfig(id=strange(name), **changes)


def read(space: spaces.Space[Any], *chosen: str) -> Observations:
    observations = Observations("it", space, chosen)
    observations.look_at(None)
    return observations


# ---- actions


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype, shape = draw(st.sampled_from(REALS + WHOLES)), draw(SHAPES)
    low = np.array(draw(st.lists(st.integers(0, 40), min_size=math.prod(shape), max_size=math.prod(shape))))
    width = draw(st.integers(1, 60))
    low = (low if dtype == np.uint8 else low - 20).reshape(shape).astype(dtype)
    return spaces.Box(low, (low + width).astype(dtype), shape, dtype)


@given(boxes(), SEEDS)
def test_numbers_that_are_decided_lie_in_the_box_in_its_shape_and_dtype(space: spaces.Box, seed: int) -> None:
    rng, actions = np.random.default_rng(seed), actions_of("it", space)
    assert actions.spec.shape == (math.prod(space.shape),)
    for action in (actions.spec.sample(rng), 1e6 * rng.standard_normal(actions.spec.shape).astype(np.float32)):
        given = actions(action)
        assert space.contains(given)
        assert actions(action) is not given
    np.testing.assert_allclose(actions(space.low.reshape(-1)), space.low)
    np.testing.assert_allclose(actions(space.high.reshape(-1)), space.high)


@st.composite
def choices(draw: st.DrawFn) -> spaces.Space[Any]:
    kind, start = draw(st.sampled_from(["one", "several", "buttons"])), draw(st.integers(-3, 3))
    if kind == "one":
        return spaces.Discrete(
            draw(st.integers(2, 1024)), start=start, dtype=draw(st.sampled_from([np.int32, np.int64]))
        )
    if kind == "buttons":
        return spaces.MultiBinary(draw(st.sampled_from([1, 2, 6, (2, 3), [1, 2]])))
    shape = draw(st.sampled_from([(1,), (2,), (3,), (2, 2), (1, 3)]))
    sizes = draw(st.lists(st.integers(1, 4), min_size=math.prod(shape), max_size=math.prod(shape)))
    sizes[0] = max(sizes[0], 2)
    sizes = [2] * len(sizes) if math.prod(sizes) > 64 else sizes
    return spaces.MultiDiscrete(np.array(sizes).reshape(shape), start=np.full(shape, start))


@given(choices())
def test_every_choice_is_one_action_and_every_action_another_choice(space: spaces.Space[Any]) -> None:
    actions = actions_of("it", space)
    given = [actions(np.asarray(i)) for i in range(actions.spec.size)]
    assert all(space.contains(action) for action in given)
    assert len({np.asarray(action).tobytes() for action in given}) == actions.spec.size
    every = {spaces.Discrete: "n", spaces.MultiDiscrete: "nvec"}
    sizes = (
        [2] * math.prod(space.shape or ())
        if isinstance(space, spaces.MultiBinary)
        else getattr(space, every[type(space)])
    )
    assert actions.spec.size == np.prod(sizes)
    for none in (-1, actions.spec.size):
        with pytest.raises(DivergedError, match=f"the action {none}: it has to lie in 0 to {actions.spec.size - 1}"):
            actions(np.asarray(none))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(1), "one action only"),
        (spaces.Discrete(5000), "5000 actions"),
        (spaces.MultiBinary(7), "128 actions"),
        (spaces.MultiDiscrete([5, 13]), "65 actions"),
        (spaces.Tuple([spaces.Discrete(2)]), "Tuple"),
        (spaces.Dict({"a": spaces.Discrete(2)}), "Dict"),
        (spaces.Text(3), "Text"),
        (spaces.Sequence(spaces.Discrete(2)), "Sequence"),
        (spaces.Graph(spaces.Discrete(2), None), "Graph"),
        (spaces.Box(-np.inf, 1, (2, 2)), "dimension 0 has no bound"),
        (spaces.Box(np.float32([[0, 1]]), np.float32([[1, 1]])), "dimension 1 has no room"),
        (spaces.Box(0, 1, (0, 3)), "Box"),
        (spaces.Box(0, 1, (1025,)), r"\(1025,\)"),
    ],
    ids=str,
)
def test_actions_that_cannot_be_driven_by_are_refused_with_what_would_fit(space: Any, words: str) -> None:
    with pytest.raises(UsageError, match=rf"^it has .*{words}.* wmloop needs as action space a bounded Box"):
        actions_of("it", space)


# ---- observations


@st.composite
def pictures(draw: st.DrawFn) -> spaces.Box:
    height, width, channels = draw(st.integers(4, 20)), draw(st.integers(4, 20)), draw(st.sampled_from([1, 3]))
    shape = draw(st.sampled_from([(height, width, channels), (channels, height, width), (height, width)]))
    if len(shape) == 2:
        return spaces.Box(0, draw(st.sampled_from([10, 255])), shape, np.uint8)
    dtype = draw(st.sampled_from([np.uint8, np.float32, np.float64, np.int16, np.int8]))
    bounds = [(0, 1), (0, 10), (0, 255)] if dtype == np.uint8 else [(0, 1), (-1, 1), (-7, 50)]
    return spaces.Box(*draw(st.sampled_from(bounds)), shape, dtype)


def vectors() -> st.SearchStrategy[spaces.Space[Any]]:
    sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
    return st.one_of(
        st.builds(
            spaces.Box, st.sampled_from([-np.inf, -3.0]), st.sampled_from([np.inf, 9.0]),
            st.sampled_from([(), (1,), (7,), (2, 3), (2, 3, 4), (2, 3, 4, 2)]), st.sampled_from([np.float32, np.float64]),
        ),
        st.builds(
            spaces.Box, st.just(-3), st.just(9), st.sampled_from([(), (5,), (2, 2)]), st.sampled_from([np.int8, np.int64])
        ),
        st.builds(spaces.Discrete, st.integers(1, LONGEST), start=st.integers(-3, 3)),
        st.builds(spaces.MultiDiscrete, sizes, dtype=st.sampled_from((*WHOLES, np.uint16, np.uint64))),
        st.builds(spaces.MultiBinary, st.sampled_from([1, 5, (2, 3)])),
    )  # fmt: skip


def test_a_small_board_of_zeros_and_ones_and_what_has_no_bounds_are_vectors() -> None:
    assert read(spaces.Box(0, 1, (8, 8), np.uint8)).spec == Vector(64)
    assert read(spaces.Box(-1e30, 1e30, (8, 8, 3))).spec == Vector(192)
    assert config("Numbered", episode_frames=None).most_frames == 1000


@given(pictures(), SEEDS)
def test_a_picture_of_any_kind_is_64_by_64_in_colour_from_black_to_white(space: spaces.Box, seed: int) -> None:
    space.seed(seed)
    observations = read(space)
    assert (observations.spec, observations.numbers) == (Pixels(64, 64, 3), 0)
    for shown, value in ((space.low, 0), (space.high, 255), (space.sample(), None)):
        seen = observations(shown)
        assert (seen.shape, seen.dtype) == (observations.spec.shape, observations.spec.dtype)
        assert value is None or (seen == value).all()
    if 3 not in (space.shape[0], space.shape[-1]):
        assert (seen[..., :1] == seen).all()


@given(pictures(), SEEDS)
def test_a_picture_is_scaled_linearly_between_its_bounds(space: spaces.Box, seed: int) -> None:
    space.seed(seed)
    shown, low, high = space.sample(), float(space.low.min()), float(space.high.max())
    expected = (shown.astype(np.float64) - low) / (high - low) * 255
    if len(space.shape) == 2:
        expected = expected[..., None]
    elif space.shape[2] not in (1, 3):
        expected = np.moveaxis(expected, 0, -1)
    assert np.abs(read(space).picture(shown) - expected).max() <= 0.5 + 1e-6


@given(vectors(), SEEDS)
def test_a_vector_of_any_kind_is_its_numbers_in_a_row_or_one_hot(space: spaces.Space[Any], seed: int) -> None:
    space.seed(seed)
    observations, shown = read(space), space.sample()
    assert isinstance(observations.spec, Vector)
    seen = observations(shown)
    assert (seen.shape, seen.dtype) == (observations.spec.shape, observations.spec.dtype)
    if isinstance(space, spaces.Discrete):
        assert (seen.sum(), seen.argmax()) == (1, shown - space.start)
    elif isinstance(space, spaces.MultiDiscrete):
        parts = np.split(seen, np.cumsum(space.nvec)[:-1])
        assert [(part.sum(), part.argmax()) for part in parts] == [(1, n) for n in shown]
    else:
        np.testing.assert_array_equal(seen, np.asarray(shown, np.float32).reshape(-1))


@given(st.lists(vectors(), min_size=1, max_size=3), st.none() | pictures(), st.permutations("abcd"), SEEDS)
def test_of_a_dict_the_picture_and_the_vectors_in_the_order_of_the_space_are_one_observation(
    parts: list[Any], picture: spaces.Box | None, names: list[str], seed: int
) -> None:
    everything = dict(zip(names, parts if picture is None else [picture, *parts], strict=False))
    if sum(read(part).numbers for part in parts) > LONGEST:
        return
    space = spaces.Dict(everything, seed=seed)
    observations, shown = read(space), space.sample()
    seen = observations(shown)
    assert (seen.shape, seen.dtype) == (observations.spec.shape, observations.spec.dtype)
    assert seen.nbytes <= LARGEST_BYTES
    numbers = [read(part)(shown[key]) for key, part in space.spaces.items() if part is not picture]
    vector = np.concatenate(numbers)
    if picture is None:
        np.testing.assert_array_equal(seen, vector)
        return
    assert observations.spec == PictureAndVector(SHOWN, Vector(len(vector)))
    small = read(picture)(shown[names[0]])
    np.testing.assert_array_equal(seen, observations.spec.join(small, vector))
    only = read(space, names[0])
    assert only.spec == SHOWN
    np.testing.assert_array_equal(only(shown), small)
    np.testing.assert_array_equal(read(space, *names[1 : len(everything)])(shown), vector)


PICTURE = spaces.Box(0, 255, (8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("space", "chosen", "words"),
    [
        (spaces.Text(3), (), r"^it shows Text.* wmloop looks at a picture.*a vector.*--set env.pixels=true"),
        (spaces.Tuple([PICTURE]), (), "Tuple"),
        (spaces.Sequence(PICTURE), (), "Sequence"),
        (spaces.Graph(PICTURE, None), (), "Graph"),
        (spaces.Discrete(5000), (), r"Discrete\(5000\)"),
        (spaces.Box(-1, 1, (1025,)), (), "1025"),
        (spaces.Box(-1, 1, (40, 40)), (), r"\(40, 40\)"),
        (spaces.Box(0, 1, (40, 40), np.uint8), (), r"\(40, 40\)"),
        (spaces.Box(-1e30, 1e30, (40, 40, 3)), (), r"\(40, 40, 3\)"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (600,)), "b": spaces.Box(-1, 1, (600,))}), (), "1200 numbers"),
        (spaces.Dict({"a": PICTURE, "b": PICTURE}), (), r"two pictures, 'a' and 'b'"),
        (spaces.Dict({"a": spaces.Dict({"b": PICTURE})}), (), "as 'a'"),
        (
            spaces.Dict({"a": PICTURE, "b": spaces.Text(3)}),
            (),
            r'as \'b\' \(--set env.observation=\["a"\] leaves it out\)',
        ),
        (
            spaces.Dict({"a": PICTURE, "b": spaces.Text(3)}),
            ("c", "a"),
            r"^env.observation names 'c', and it shows 'a', 'b'$",
        ),
        (spaces.Dict({}), (), "nothing to see"),
        (PICTURE, ("a",), r"env.observation names \['a'\], and it shows .* which has no keys"),
    ],
    ids=str,
)
def test_observations_that_cannot_be_looked_at_are_refused_with_what_would_fit(
    space: Any, chosen: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        Observations("it", space, chosen)


@pytest.mark.parametrize(
    ("space", "shown", "words"),
    [
        (spaces.Box(-np.inf, np.inf, (3,)), np.array([0, np.nan, 0]), "showed nan as number 1 of 3"),
        (spaces.Box(-np.inf, np.inf, (3,)), np.array([0, 0, -np.inf]), "showed -inf as number 2 of 3"),
        (spaces.Box(-np.inf, np.inf, (1,), np.float64), np.array([1e300]), r"showed 1e\+300 as number 0"),
        (spaces.Box(-1, 1, (3,)), np.zeros(4), r"shape \(4,\), and it declares Box"),
        (spaces.Box(-1, 1, (3,)), np.zeros(3, complex), "an array of complex128"),
        (spaces.Box(-1, 1, (3,)), np.ma.masked_array(np.zeros(3), np.ones(3)), "masked values"),
        (spaces.Box(-1, 1, (3,)), None, "the observation is None"),
        (spaces.Box(-1, 1, (3,)), [[1], [1, 2]], "no array"),
        (spaces.Discrete(3, start=1), 0, r"showed 0, and it declares Discrete\(3, start=1\)"),
        (spaces.Discrete(3), 3, r"showed 3, and it declares Discrete\(3\)"),
        (spaces.Discrete(3), 1.5, "an array of float64"),
        (spaces.MultiDiscrete([2, 3]), np.array([2, 0]), r"showed \[2 0\]"),
        (spaces.Box(-1, 1, (8, 8, 3)), np.full((8, 8, 3), -1.5, np.float32), r"from -1.5 to -1.5, .* in \[-1, 1\]"),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"b": 1}, "showed no entry 'a'"),
        (spaces.Dict({"a": spaces.Discrete(2)}), 1, "showed no entry 'a'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_shown_as_declared_is_refused_in_words(space: Any, shown: Any, words: str) -> None:
    with pytest.raises(EnvironmentFailedError, match=words):
        read(space)(shown)


# ---- environments


def drive(env: RealEnv, actions: list[Any], seed: int = 3) -> list[np.ndarray]:
    return [env.reset(seed), *(env.step(np.asarray(action))[0] for action in actions)]


def parts(env: RealEnv, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert isinstance(env.observations, PictureAndVector)
    size = math.prod(env.observations.pixels.shape)
    return seen[:size].reshape(SHOWN.shape), seen[size:].view(np.float32)


def test_a_black_picture_at_the_end_is_no_picture_and_what_was_seen_before_is_kept() -> None:
    env = RealEnv(config("DarkEnd"))
    seen, ended = [env.reset(3)], False
    while not ended:
        last, _, ended, _, _ = env.step(np.array([0, -1], np.float32))
        seen.append(last)
    (before, high), (after, low) = parts(env, seen[-2]), parts(env, seen[-1])
    assert before.any()
    np.testing.assert_array_equal(before, after)
    assert high > 0 >= low  # the vector is that of the end


def test_a_black_picture_on_the_way_is_what_the_world_looks_like() -> None:
    seen = drive(RealEnv(config("DarkFor")), [[0, 0.4]] * 4)
    assert [picture.any() for picture in seen] == [False, True, False, True, False]


@pytest.mark.parametrize("repeat", [1, 3])
def test_what_is_drawn_is_seen_in_the_place_of_observations_as_gymnasiums_wrapper_shows_it(repeat: int) -> None:
    env = RealEnv(EnvConfig(id="CartPole-v1", pixels=True, action_repeat=repeat))
    drawn = AddRenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"), render_only=True)
    shrink = BoxFilter((400, 600, 3), None, SHOWN)
    assert env.observations == SHOWN
    seen = drive(env, [0, 1, 1])
    expected = [shrink(drawn.reset(seed=3)[0])]
    for action in (0, 1, 1):
        for _ in range(repeat):
            picture = drawn.step(action)[0]
        expected.append(shrink(picture))
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(env.look(picture), expected[-1])


def test_what_is_drawn_is_drawn_once_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    env, drawn = RealEnv(config("Numbered", pixels=True, action_repeat=4)), []
    original = Numbered.render
    monkeypatch.setattr(Numbered, "render", lambda self: drawn.append(1) or original(self))
    drive(env, [3] * 5)
    assert len(drawn) == 6


def test_people_see_what_a_vector_environment_draws_or_nothing() -> None:
    drawn, never = (
        RealEnv(EnvConfig(id="CartPole-v1"), render_mode="rgb_array"),
        RealEnv(config("NeverDrawn"), "rgb_array"),
    )
    for env in (drawn, never):
        env.reset(1)
    assert isinstance(drawn.observations, Vector)
    picture = drawn.render()
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((400, 600, 3), np.uint8)
    assert never.render() is None
    with EnvPool(config("NeverDrawn"), 1, render=True) as pool:
        pool.reset([1])
        assert pool.render() is None


@pytest.mark.parametrize("name", ["NeverDrawn", "DarkEnd", "Buttons", "Numbered"])
def test_the_pool_shows_what_one_environment_shows_whatever_that_is(name: str) -> None:
    singles = [RealEnv(config(name)) for _ in range(3)]
    rng = np.random.default_rng(0)
    with EnvPool(config(name), 3) as pool:
        assert (pool.observations, pool.actions.record()) == (singles[0].observations, singles[0].actions.record())
        seen = pool.reset([4, 5, 6])
        assert (seen.shape, seen.dtype) == ((3, *pool.observations.shape), pool.observations.dtype)
        np.testing.assert_array_equal(seen, [env.reset(4 + i) for i, env in enumerate(singles)])
        for _ in range(3):
            actions = np.stack([pool.actions.sample(rng) for _ in singles])
            alone = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            step = pool.step(actions)
            np.testing.assert_array_equal(step.obs, [seen for seen, *_ in alone])
            assert step.reward.tolist() == [reward for _, reward, *_ in alone]


def test_a_vector_that_is_not_finite_is_told_with_copy_seed_and_decision() -> None:
    with EnvPool(config("NanVector"), 1) as pool:
        pool.reset([8])
        pool.step(np.zeros((1, 2), np.float32))
        pool.step(np.zeros((1, 2), np.float32))
        with pytest.raises(
            EnvironmentFailedError, match=r"copy 0 \(seed 8, agent step 3\) showed nan as number 1 of 2"
        ):
            pool.step(np.zeros((1, 2), np.float32))


# ---- keys


def held(actions: DiscreteActions) -> list[int]:
    hands = ((0, 0, 0), (-1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    return [int(actions.from_keys(*hand)) for hand in hands]


@pytest.mark.parametrize(
    ("size", "keys", "expected"),
    [
        (2, (), [0, 0, 1, 0, 0]),
        (3, (), [0, 1, 2, 0, 0]),
        (7, (), [0, 1, 2, 3, 4]),
        (3, (0, 2, 1, 0, 0), [0, 2, 1, 0, 0]),
    ],
)
def test_the_arrow_keys_are_the_actions_that_they_are_said_to_be(
    size: int, keys: tuple[int, ...], expected: Any
) -> None:
    assert held(DiscreteActions(size, keys)) == expected


@pytest.mark.parametrize(("set_keys", "expected"), [((), [3, 0, 2, 1, 3]), ((0, 1, 2, 3, 4), [0, 1, 2, 3, 4])])
def test_keys_are_as_set_else_as_the_environment_calls_its_actions(
    set_keys: tuple[int, ...], expected: list[int]
) -> None:
    with EnvPool(config("Numbered", arrow_keys=set_keys), 1) as pool:
        assert held(pool.actions) == expected  # type: ignore[arg-type]


def test_names_of_actions_below_a_wrapper_that_changes_them_are_none() -> None:
    env = gymnasium.make(strange("Numbered"))
    assert names_of(env) == ("LEFT", "UP", "RIGHT", "NOOP", "FIRE")
    fewer = gymnasium.wrappers.TransformAction(env, lambda action: action + 5, spaces.Discrete(2))
    assert names_of(fewer) == ()
