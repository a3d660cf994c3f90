"""One number for several actions: each part of [-1, 1] is its action, in the mirror, by hand and through a whole run."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import wmloop
from tests.strange_envs import Numbered, strange
from tests.tiny_env import tiny_config
from wmloop import api, loop
from wmloop.config import EnvConfig, build_config
from wmloop.config.text import to_toml
from wmloop.display.keys import Controls
from wmloop.envs import EnvPool, RealEnv
from wmloop.envs.actions import actions_of
from wmloop.errors import DivergedError, UsageError
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.player.hand import Hand
from wmloop.spaces import BinnedActions
from wmloop.store import Store
from wmloop.training.rollouts import actions_of as recorded_actions
from wmloop.training.rollouts import episodes_of

#: Left, no key and right of the environment Numbered, whose mirror image swaps the actions 0 and 2.
THIRDS, MIRROR = (0, 3, 2), (2, 1, 0, 3, 4)


@st.composite
def binned(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Return how many actions there are, and those of the parts."""
    size = draw(st.integers(2, 9))
    return size, draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=12))


def numbers(parts: int) -> st.SearchStrategy[np.float32]:
    """Return numbers within [-1, 1], on the edges of so many parts and next to them, and somewhat beyond."""
    edges = st.integers(0, parts).map(lambda i: np.float32(2 * i / parts - 1))
    beside = st.builds(np.nextafter, edges, st.sampled_from([np.float32(-2), np.float32(2)]))
    return st.one_of(st.floats(-1.5, 1.5, width=32).map(np.float32), edges, beside)


def part_of(number: np.float32, parts: int) -> int:
    """Return the part that a number lies in: of two that share it the one nearer to zero, and of these the upper."""
    exact = max(Fraction(-1), min(Fraction(1), Fraction(float(number))))
    ends = [(Fraction(2 * i, parts) - 1, Fraction(2 * i + 2, parts) - 1) for i in range(parts)]
    return min((i for i, (low, high) in enumerate(ends) if low <= exact <= high), key=lambda i: (abs(sum(ends[i])), -i))


@given(st.data(), binned(), st.integers(-3, 3))
def test_every_number_is_the_action_of_the_part_that_it_lies_in(
    data: st.DataObject, space: tuple[int, list[int]], start: int
) -> None:
    size, bins = space
    own = spaces.Discrete(size, start=start)
    actions = actions_of("it", own, bins=bins)
    assert (actions.spec.shape, actions.spec.dtype, actions.spec.size) == ((1,), np.float32, 1)
    number = data.draw(numbers(len(bins)))
    given = actions(np.array([number]))
    assert own.contains(given)
    assert given == start + bins[part_of(number, len(bins))]


def test_thirds_are_those_of_the_paper() -> None:
    thirds = BinnedActions([2, 0, 1], 3)
    third = np.float32(1 / 3)  # the float32 next to it is above it
    inner, outer = np.nextafter(third, np.float32(0)), third
    assert [thirds.choice(float(x)) for x in (-1, -outer, -inner, 0, inner, outer, 1)] == [2, 2, 0, 0, 0, 1, 1]


@given(st.integers(2, 50))
def test_equal_parts_are_chosen_equally_often_by_a_number_from_anywhere(count: int) -> None:
    parts = BinnedActions(range(count), count)
    line = np.linspace(-1, 1, 50 * count + 1)[:-1] + 1 / (50 * count)
    assert (np.bincount([parts.choice(x) for x in line]) == 50).all()


def test_a_number_that_is_not_finite_chooses_nothing() -> None:
    actions = actions_of("it", spaces.Discrete(3), bins=[2, 0, 1])
    for bad in (np.nan, np.inf):
        with pytest.raises(DivergedError, match="finite"):
            actions(np.array([bad], np.float32))


# ---- the mirror


@st.composite
def mirrored(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Return a permutation that undoes itself, and parts that it maps onto their reverse."""
    size = draw(st.integers(2, 8))
    order, swapped = draw(st.permutations(range(size))), draw(st.integers(0, size // 2))
    mirror = list(range(size))
    for a, b in zip(order[: 2 * swapped : 2], order[1 : 2 * swapped : 2], strict=True):
        mirror[a], mirror[b] = b, a
    half = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5))
    fixed = [action for action in range(size) if mirror[action] == action]
    middle = draw(st.lists(st.sampled_from(fixed), max_size=1)) if fixed else []
    return mirror, [*half, *middle, *(mirror[action] for action in reversed(half))]


@given(st.data(), mirrored())
def test_the_action_of_a_mirrored_number_is_the_mirrored_action(
    data: st.DataObject, world: tuple[list[int], list[int]]
) -> None:
    mirror, bins = world
    actions = actions_of("it", spaces.Discrete(len(mirror)), bins=bins)
    number = data.draw(numbers(len(bins)).filter(lambda x: len(bins) % 2 or x != 0))
    encoded = actions.spec.encode(np.array([number]))
    there = actions.spec.decode(actions.spec.mirror(encoded, mirror))
    assert actions(there) == mirror[int(actions(actions.spec.decode(encoded)))]


# ---- by hand


class Held:
    """Keys that are held."""

    now = Controls()

    def hand(self) -> Controls:
        return self.now


@given(binned(), st.data())
def test_a_key_is_the_middle_of_the_part_of_its_action(space: tuple[int, list[int]], data: st.DataObject) -> None:
    size, bins = space
    arrows = data.draw(st.lists(st.integers(0, size - 1), min_size=5, max_size=5))
    spec = BinnedActions(bins, size, arrows)
    hands = ((0, 0, 0), (-1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    rest = bins[len(bins) // 2]
    for action, hand in zip(arrows, hands, strict=True):
        held = spec.from_keys(*hand)
        assert (held.shape, held.dtype) == ((1,), np.float32)
        assert spec.choice(float(held[0])) == (action if action in bins else rest)
        position = (float(held[0]) + 1) / 2 * len(bins)
        assert position % 1 == pytest.approx(0.5, abs=1e-5)
    for digit in range(10):
        chosen = spec.choice(float(spec.from_keys(0, 0, 0, digit)[0]))
        assert chosen == (digit if digit in bins else spec.choice(float(spec.from_keys(0, 0, 0)[0])))


def test_a_person_gives_the_environment_the_actions_that_the_keys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    env, taken = RealEnv(EnvConfig(id=strange("Numbered"), action_bins=THIRDS)), []
    original = Numbered.step
    monkeypatch.setattr(Numbered, "step", lambda self, action: taken.append(int(action)) or original(self, action))
    env.reset(1)
    hand = Hand(held := Held(), env.actions)
    for held.now in (Controls(), Controls(-1.0), Controls(1.0), Controls(1.0, digit=0), Controls(-1.0, digit=4)):
        env.step(hand.act(None, np.zeros(0))[0][0])
    assert taken == [3 + action for action in (3, 0, 2, 0, 0)]  # there is no part of action 4: the arrow holds


def test_the_help_and_the_caption_name_the_actions_that_keys_and_numbers_are() -> None:
    with EnvPool(EnvConfig(id=strange("Numbered"), action_bins=THIRDS), 1) as pool:
        assert pool.actions.keys() == [
            ("arrows, w a s d", "no key: 3 NOOP, left: 0 LEFT, right: 2 RIGHT, up: 3 NOOP, down: 3 NOOP"),
            ("0 2 3", "the action of that number"),
        ]
        assert pool.actions.describe(np.array([-0.5], np.float32)) == "-0.50: 0 LEFT"


# ---- settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"action_bins": (0, 5)}, r"action_bins is \[0, 5\], and .* has the actions 0 to 4"),
        (
            {"action_bins": (0, 2), "arrow_keys": (3, 0, 2, 0, 2)},
            r"no part of env.action_bins \[0, 2\] is action 3: give five of \[0, 2\], or \[\]",
        ),
        (
            {"action_bins": (0, 2, 3), "mirrored_actions": MIRROR},
            r"must reverse the order of env.action_bins .* makes them \[2, 0, 3\]: .* or give mirrored_actions \[\]",
        ),
        ({"action_bins": THIRDS, "mirrored_actions": (0,)}, "in order, the action that it is in the mirrored world"),
        ({"action_bins": THIRDS, "mirrored_actions": (1, 2, 0, 3, 4)}, "in order, the action that it is in the"),
        (
            {"action_bins": THIRDS, "random_policy": {"mean": ((0, 1),) * 2}},
            "random_policy.mean has 2 entries, and .* has 1 action dimensions",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_what_would(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        RealEnv(EnvConfig(id=strange("Numbered"), **changes))
    assert "\n" not in str(caught.value)


def test_parts_are_refused_where_the_environment_takes_numbers() -> None:
    with pytest.raises(UsageError, match=r"^env.action_bins names actions, and .* takes 2 numbers: give \[\]$"):
        RealEnv(EnvConfig(id="tests.tiny_env:wmloop/TinyDrive-v0", action_bins=(0, 1), mirrored_actions=(0,)))


def test_one_part_alone_is_refused_on_the_command_line_with_what_would_do() -> None:
    done = wmloop("start", "x", "--env", "CartPole-v1", "--set", "env.action_bins=[1]", "--print-config")
    assert done.exit_code == 2
    assert "env.action_bins" in done.stderr
    assert "two or more, such as [0, 1], or [] for none" in done.stderr


def test_the_parts_of_doom_agree_with_its_profile() -> None:
    env = build_config("laptop", {"env": {"id": "VizdoomTakeCover-v1", "action_bins": (2, 0, 1)}}).env
    _, left, right, *_ = env.arrow_keys
    spec = BinnedActions(env.action_bins, 3, env.arrow_keys)
    assert (spec.choice(-1), spec.choice(1)) == (left, right)
    assert [env.mirrored_actions[action] for action in spec.bins] == [*reversed(spec.bins)]


def test_without_parts_nothing_is_otherwise() -> None:
    plain = RealEnv(EnvConfig(id=strange("Numbered")))
    assert plain.actions.record() == {"kind": "discrete", "size": 5}
    assert plain.notes == ["an action is one of 5"]


# ---- a whole run


def replayed(numbers: np.ndarray, seed: int) -> list[float]:
    """Return the rewards of an episode that is driven by whole numbers, by the paper's own rule."""
    env = gymnasium.make(strange("Numbered"), disable_env_checker=True)
    env.reset(seed=seed)
    rewards = []
    for (x,) in numbers.astype(np.float64):
        index = 0 if x < -1 / 3 else 2 if x > 1 / 3 else 3
        rewards.append(float(env.step(3 + index)[1]))
    return rewards


def test_a_run_by_thirds_is_driven_learnt_dreamt_and_scored(tmp_path: Path) -> None:
    own = {
        "id": strange("Numbered"), "engine": "tests.test_engines:Here", "action_bins": THIRDS, "mirrored_actions": MIRROR,
        "random_policy": {"mean": (), "std": (), "initial_offset": ()},
    }  # fmt: skip
    layer = {"env": own, "rollout": {"perturb_prob": 0.2}, "budget": {"iterations": 2}}
    config = build_config("smoke", tiny_config(), layer)
    store = Store.create(tmp_path, "thirds", to_toml(config), {})
    with store.lock():
        loop.run(store, config, WORLD_MODEL, torch.device("cpu"), lambda event: None, lambda: False)
    for iteration in (0, 1):
        rollout = store.version(iteration, "rollout")
        assert rollout is not None
        assert recorded_actions(rollout).record() == {"kind": "bins", "bins": list(THIRDS), "size": 5}
        episodes = list(episodes_of(rollout))
        driven = np.concatenate([episode.actions for episode in episodes])
        assert (driven.shape[1:], driven.dtype) == ((1,), np.float32)
        assert np.abs(driven).max() <= 1
        assert {part_of(x, 3) for x in driven[:, 0]} == {0, 1, 2}
        for episode in episodes[:4]:
            assert replayed(episode.actions, episode.seed) == episode.rewards.tolist()
    controller = store.version(1, "controller")
    assert controller is not None
    assert math.isfinite(controller.metrics["approx_kl"])
    assert store.version(1, "evaluate") is not None
    agent = api.load(store.path)
    assert agent.run_episode(gymnasium.make(strange("Numbered"), max_episode_steps=20), seed=1) in range(-5, 21)
    moments = list(itertools.islice(api.dream(store.path), 3))
    assert {moment.action.shape for moment in moments[:-1]} == {(1,)}
