"""What changes from iteration to iteration, as functions of numbers."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmloop.learn import schedules

scores = st.lists(st.floats(-100, 1000), max_size=12)


@given(scores)
def test_a_score_has_stopped_rising_where_two_in_a_row_were_no_new_best_and_stays_so(means):
    bests = [all(mean > earlier for earlier in means[:i]) for i, mean in enumerate(means)]
    twice = [not (first or second) for first, second in itertools.pairwise(bests)]
    told = [schedules.plateaued(means[:count]) for count in range(len(means) + 1)]
    assert told == [any(twice[: max(count - 1, 0)]) for count in range(len(means) + 1)]


@given(scores)
def test_the_horizon_is_nearer_once_the_score_has_stopped_rising(means):
    assert schedules.gamma(0.98, 0.95, means) == (0.95 if schedules.plateaued(means) else 0.98)
    assert schedules.gamma(0.98, None, means) == 0.98


@given(st.floats(0.5, 2), st.floats(-9, 9))
def test_dreams_become_less_certain_by_what_was_promised_too_much_within_bounds(last, gap):
    following = schedules.temperature("auto", last, gap)
    assert 0.5 <= following <= 2
    assert following == pytest.approx(min(2, max(0.5, last * math.exp(min(1, max(-1, gap)) / 2))))
    assert schedules.temperature("auto", last, 0.0) == last
    assert schedules.temperature(1.15, last, gap) == 1.15
