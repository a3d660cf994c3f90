"""M's word against reality's, in closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.dream import DreamState, Outcome
from wmloop.episodes import Episode
from wmloop.models.agent import Agent
from wmloop.models.controller import Policy
from wmloop.stages import promises
from wmloop.stages.collect import halves
from wmloop.stages.promises import Promises, foresight, gap
from wmloop.stages.weights import new_actor, new_memory, new_vision

CPU = torch.device("cpu")
CONFIG = build_config("smoke", tiny_config())
sums = st.floats(1, 100)
rows = st.lists(st.lists(st.tuples(sums, sums, sums), min_size=1, max_size=5), min_size=2, max_size=6)


def told(rows):
    return [Promises(*map(list, zip(*episode, strict=True))) for episode in rows]


@given(rows, st.floats(0.1, 3))
def test_the_gap_is_the_ratio_of_sums_and_a_promise_always_out_by_one_factor_has_no_error(rows, factor):
    episodes = told(rows)
    metrics = gap(episodes, CONFIG)
    promised, paid = (sum(sum(episode[k]) for episode in episodes) for k in (0, 2))
    assert metrics["gap"] == pytest.approx(promised / paid - 1)
    steady = [episode._replace(promised=[factor * value for value in episode.paid]) for episode in episodes]
    assert gap(steady, CONFIG)["gap"] == pytest.approx(factor - 1)
    assert gap(steady, CONFIG)["gap_error"] == pytest.approx(0, abs=1e-9)


def test_the_gaps_error_is_what_repeating_the_experiment_shows():
    rng = np.random.default_rng(0)

    def experiment():
        paid = rng.gamma(9, 3, (20, 6))
        promised = 1.2 * paid + rng.normal(0, 8, (20, 1)) + rng.normal(0, 5, (20, 6))
        return gap([Promises(list(a), list(a), list(b)) for a, b in zip(promised, paid, strict=True)], CONFIG)

    found = [experiment() for _ in range(300)]
    assert np.mean([m["gap"] for m in found]) == pytest.approx(0.2, abs=0.01)
    spread = np.std([m["gap"] for m in found])
    assert np.mean([m["gap_error"] for m in found]) == pytest.approx(spread, rel=0.15)


def test_foresight_that_is_perfect_correlates_fully_without_bias_and_no_moments_give_no_figures():
    episodes = [Promises([1.0, 2.0], [3.0, 5.0], [3.0, 5.0]), Promises([], [], [])]
    metrics = foresight(episodes)
    assert (metrics["open_loop_bias"], metrics["open_loop_correlation"]) == (0, pytest.approx(1))
    assert foresight([Promises([], [], [])]) == {}
    assert gap([Promises([], [], [])], CONFIG) == {}


def test_m_is_asked_only_where_rollouts_would_still_drive():
    rewards = np.zeros(200, np.float32)
    rewards[:50] = 1
    assert promises.moments(rewards, None) == list(range(20, 176, 20))
    assert promises.moments(rewards, 30) == [20, 40, 60]
    assert promises.moments(rewards[:30], 30) == []


@pytest.mark.parametrize("foreseeing", [False, True])
def test_a_trace_tells_of_every_moment_asked_and_foresees_only_if_told_to(foreseeing):
    agent = Agent(
        new_vision(CONFIG, CPU), new_memory(CONFIG, 2, CPU), new_actor(CONFIG, 2, CPU), -np.ones(2), np.ones(2)
    )
    parts = halves(2)
    trace = promises.Trace(agent, parts)
    rng = np.random.default_rng(0)
    for _ in range(90):
        for copies in parts:
            trace.act(copies, rng.integers(0, 256, (1, 64, 64, 3), np.uint8))
    rewards = [np.arange(1, length + 1, dtype=np.float32) for length in (90, 30)]
    driven = [Episode(np.zeros(0), np.zeros(0), reward, False, True, i, 0) for i, reward in enumerate(rewards)]
    long, short = trace.promises(CONFIG, driven, foreseeing)
    assert long.paid == [rewards[0][t : t + 25].sum() for t in (20, 40, 60)]
    assert len(long.promised) == 3
    assert [value is None for value in long.foreseen] == [False, True, True] * foreseeing
    assert short == Promises([], [], [])


def test_every_sixth_moment_is_foreseen_and_in_every_second_episode_three_moments_later():
    foreseen = [[t for t in range(20, 260, 20) if promises._is_foreseen(t, episode)] for episode in range(3)]
    assert foreseen == [[20, 140], [80, 200], [20, 140]]


def test_foresight_is_told_of_the_moments_that_were_asked_alone():
    told = [Promises([0, 0, 0], [10, None, 30], [11, 900, 28]), Promises([0], [], [500])]
    assert promises.foresight(told) == pytest.approx({"open_loop_bias": 1 / 39, "open_loop_correlation": 1.0})
    assert promises.foresight([Promises([0], [], [500])]) == {}


class Fork:
    """A dream that turns left or right once, by chance, and is paid +1 or -1 a step for it from then on."""

    def step(self, state, action, uniform, normal):
        side = torch.where(state.z == 0, torch.where(uniform < 0.5, -0.5, 0.5), state.z)
        return DreamState(side, state.h, state.c), Outcome(2 * side[:, 0], torch.zeros(len(side)))


@pytest.mark.parametrize(("taken", "expected"), [(0.5, 6), (-0.5, -6)])
def test_actions_are_evidence_of_where_the_road_went(taken, expected):
    def follows_the_road(features):
        return Policy(features[:, :1], torch.full((len(features), 1), -2.0))

    assert foresee_fork(follows_the_road, taken) == pytest.approx(expected, abs=0.3)


def test_actions_that_say_nothing_about_the_road_leave_both_ways_as_likely_as_before():
    def drives_blind(features):
        return Policy(torch.zeros(len(features), 1), torch.zeros(len(features), 1))

    assert foresee_fork(drives_blind, 0.5) == pytest.approx(0, abs=0.5)


def foresee_fork(policy, taken):
    moments, steps = 400, 6
    begin = DreamState(*(torch.zeros(moments, 1) for _ in range(3)))
    actions = torch.full((steps, moments, 1), taken)
    actions[0] = 0
    return promises.foresee(Fork(), policy, begin, actions, torch.Generator().manual_seed(0)).mean().item()
