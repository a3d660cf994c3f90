"""M's word against reality's, in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.stages import promises
from wmloop.stages.promises import Promises, foresight, gap

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
    assert promises.moments(rewards, None) == list(range(10, 176, 10))
    assert promises.moments(rewards, 30) == [10, 20, 30, 40, 50, 60, 70]
    assert promises.moments(rewards[:30], 30) == []
