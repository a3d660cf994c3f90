"""The statistics of a study: closed forms, and that intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmloop.study import statistics
from wmloop.study.statistics import difference, interval, iqm, summarise

finite = st.floats(-1e6, 1e6)
RESAMPLES = statistics._RESAMPLES


@pytest.fixture(autouse=True, scope="module")
def _fewer_resamples():
    """Draw a quarter as often: what an interval promises does not depend on it, and nearly all of the time goes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_RESAMPLES", RESAMPLES // 4)
        yield


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert iqm(np.array([100.0, 1, 2, 3])) == 2.5
    assert iqm(np.arange(12.0)) == 5.5
    assert iqm(np.array([0.0, 0, 0, 1, 2, 3, 9, 1e9])) == 1.5
    assert iqm(np.array([4.0, 5.0, 9.0])) == 6.0  # too few to leave any out
    assert iqm(np.array([[4.0, 5, 9], [1, 2, 3]])).tolist() == [6.0, 2.0]


@given(st.lists(finite, min_size=1, max_size=40))
def test_the_interquartile_mean_lies_among_the_scores_and_one_outlier_of_four_is_nothing(scores):
    value = float(iqm(np.array(scores)))
    assert min(scores) - 1e-6 <= value <= max(scores) + 1e-6
    if len(scores) >= 4:
        worse = sorted(scores)
        worse[-1] = 1e12
        assert float(iqm(np.array(worse))) == pytest.approx(value, rel=1e-9, abs=1e-6)


@settings(max_examples=30)
@given(st.floats(-1e3, 1e3), st.integers(1, 4), st.integers(1, 9))
def test_scores_that_are_all_alike_have_an_interval_of_one_point(score, seeds, episodes):
    summary = summarise([[score] * episodes] * seeds, finished=score - 1)
    close = pytest.approx(score, abs=1e-9)
    assert (summary.mean, summary.iqm, summary.worst, summary.finished) == (close, close, score, 1.0)
    assert summary.over_episodes == (close, close)
    assert summary.over_seeds is None if seeds == 1 else summary.over_seeds == (close, close)


def test_episodes_that_are_alike_within_each_seed_leave_only_seeds_to_be_unsure_of(monkeypatch):
    monkeypatch.setattr(statistics, "_RESAMPLES", RESAMPLES)
    summary = summarise([[1.0] * 5, [2.0] * 5, [3.0] * 5])
    assert summary.over_episodes == (2.0, 2.0)
    assert summary.over_seeds == (1.0, 3.0)
    assert summary.finished is None


def test_the_same_scores_give_the_same_interval_whatever_was_drawn_before():
    table = np.random.default_rng(1).normal(size=(3, 20))
    first = interval(table, over_seeds=True)
    np.random.default_rng().normal(size=7)
    assert interval(table, over_seeds=True) == first


@settings(max_examples=25)
@given(st.integers(0, 50))
def test_the_interval_of_scores_that_are_moved_and_stretched_is_moved_and_stretched(seed):
    table = np.random.default_rng(seed).normal(size=(3, 8))
    for over_seeds in (False, True):
        low, high = interval(table, over_seeds)
        assert interval(10 * table + 3, over_seeds) == pytest.approx((10 * low + 3, 10 * high + 3))


def covered(seeds, episodes, between, over_seeds, trials=120, hard=0.0):
    """Return how often the interval of normal scores holds the mean, of the whole or of the very seeds; and its mean width.

    Episodes are `hard` for all seeds alike.
    """
    draw, hits, widths = np.random.default_rng(5), 0, []
    for _ in range(trials):
        means = draw.normal(0, between, seeds)
        table = means[:, None] + draw.normal(0, hard, episodes) + draw.normal(size=(seeds, episodes))
        low, high = interval(table, over_seeds, statistic=lambda scores: scores.mean(-1))
        hits, widths = hits + (low <= (0.0 if over_seeds else means.mean()) <= high), [*widths, high - low]
    return hits / trials, float(np.mean(widths))


def due(seeds, episodes, between, hard=0.0):
    """Return how wide a 95% interval of such normal scores is by theory; with no deviation `between`, of the very seeds."""
    return 2 * 1.96 * np.sqrt(between**2 / seeds + hard**2 / episodes + 1 / (seeds * episodes))


@pytest.mark.parametrize("hard", [0.0, 3.0])
def test_intervals_hold_the_truth_about_as_often_as_they_say_and_are_no_wider(hard):
    held, width = covered(8, 40, 1.0, over_seeds=False, hard=hard)
    assert held >= 0.88
    assert width == pytest.approx(due(8, 40, 0.0, hard), rel=0.1)
    held, width = covered(12, 10, 1.0, over_seeds=True, hard=hard)
    assert held >= 0.86
    assert width == pytest.approx(due(12, 10, 1.0, hard), rel=0.15)


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(-9, 9))
def test_the_difference_of_agents_that_are_alike_but_for_a_constant_is_it(seed, constant):
    one = np.random.default_rng(seed).normal(0, 100, (1, 12)) * np.ones((3, 1))
    assert difference(one + constant, one) == pytest.approx((constant, constant), abs=1e-9)
    assert difference(one, one + constant) == pytest.approx((-constant, -constant), abs=1e-9)


def test_the_interval_of_a_difference_holds_it_and_episodes_that_are_hard_for_both_leave_it_as_sure():
    draw, hits, widths = np.random.default_rng(6), 0, []
    for _ in range(120):
        hard = draw.normal(0, 50, 20)
        mine, theirs = (
            middle + draw.normal(0, 1, (10, 1)) + hard + draw.normal(size=(10, 20)) for middle in (1.0, 0.0)
        )
        low, high = difference(mine, theirs)
        hits, widths = hits + (low <= 1 <= high), [*widths, high - low]
    assert hits / 120 >= 0.86
    assert np.mean(widths) == pytest.approx(due(10, 20, np.sqrt(2), 0.0), rel=0.3)  # each alone is unsure by some 50


def test_with_three_seeds_the_interval_over_seeds_is_too_narrow_as_the_page_says():
    assert 0.5 <= covered(3, 40, 2.0, over_seeds=True)[0] < 0.9
