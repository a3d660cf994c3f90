"""Which agent is served, and from which one training goes on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmloop import ranking
from wmloop.calibration.scores import EpisodeResult, summarise

scores = st.floats(-100, 1000)
errors = st.floats(0, 100)


def scored(score, error=0.0, **more):
    return {"score": score, "score_se": error, **more}


@given(st.lists(st.tuples(scores, errors), min_size=1, max_size=20))
def test_the_best_has_the_highest_lower_bound_and_training_never_goes_on_from_something_older_than_the_best_mean(rows):
    evaluations = [scored(*row) for row in rows]
    merits = [score - error for score, error in rows]
    assert merits[ranking.best(evaluations)] == max(merits)
    means = [score for score, _ in rows]
    assert ranking.newest_accepted(evaluations) >= means.index(max(means))


def test_of_two_equal_means_the_surer_is_served_and_more_tracks_count_more_than_a_lucky_mean():
    assert ranking.best([scored(890, 20), scored(890, 5)]) == 1
    confirmed = scored(920, 5, confirmed_score=870, confirmed_score_se=8)
    assert ranking.best([confirmed, scored(890, 10)]) == 1
    assert ranking.best([confirmed, scored(875, 20)]) == 0
    assert ranking.best([]) is None


def test_a_score_within_three_standard_errors_is_gone_on_from_and_a_clearly_worse_one_is_not():
    best = scored(890, 6)
    assert ranking.newest_accepted([best, scored(850, 12)]) == 1
    assert ranking.newest_accepted([best, scored(405, 37)]) == 0
    assert ranking.newest_accepted([best, scored(880, 6), scored(300, 40)]) == 1


@given(scores, st.floats(0, 50), st.floats(-100, 1000))
def test_a_goal_is_confirmed_by_the_further_tracks_alone_and_only_where_their_lower_bound_reaches_it(mean, error, goal):
    further = {"confirmed_score": mean, "confirmed_score_se": error}
    assert ranking.confirms(scored(2000), goal) is False
    assert ranking.confirms(scored(-2000, **further), goal) == (mean - 1.6448536 * error >= goal)
    assert ranking.confirms(scored(2000, **further, confirmed_score_low=goal - 1), goal) is False
    assert ranking.confirms(scored(-2000, **further, confirmed_score_low=goal), goal) is True


def test_the_confidence_interval_is_students():
    assert ranking.interval([1.0]) is None
    assert ranking.interval([1.0, 3.0]) == pytest.approx([2 - 12.706, 2 + 12.706], abs=1e-3)
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 19: 2.093, 30: 2.042, 31: 2.040, 99: 1.984, 999: 1.962}
    assert {freedom: ranking.student(freedom, 0.975) for freedom in table} == pytest.approx(table, abs=1e-3)
    one_sided = {1: 6.314, 2: 2.920, 3: 2.353, 7: 1.895, 19: 1.729, 99: 1.660}
    assert {freedom: ranking.student(freedom, 0.95) for freedom in one_sided} == pytest.approx(one_sided, abs=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20, 100])
@pytest.mark.parametrize(
    "kind", ["normal", "uniform", "won or lost .9", "won or lost .5", "thirds", "plus or minus one"]
)
def test_of_agents_that_are_exactly_at_the_goal_at_most_six_in_a_hundred_are_confirmed(kind, count):
    rng = np.random.default_rng(0)
    size = (1500, count)
    draw = {
        "normal": lambda: (905.0, rng.normal(905, 20, size)),
        "uniform": lambda: (0.0, rng.uniform(-1, 1, size)),
        "won or lost .9": lambda: (0.9, (rng.random(size) < 0.9).astype(float)),
        "won or lost .5": lambda: (0.5, (rng.random(size) < 0.5).astype(float)),
        "thirds": lambda: (100.0, rng.choice([0.0, 100.0, 200.0], size)),
        "plus or minus one": lambda: (0.6, rng.choice([1.0, -1.0], size, p=[0.8, 0.2])),
    }
    goal, scores = draw[kind]()
    confirmed = np.mean([ranking.lower_bound(list(row), scores.min()) >= goal for row in scores])
    assert confirmed <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / len(scores))


@pytest.mark.parametrize(
    ("scores", "goal", "lost"),
    [
        ([920.0 + i for i in range(20)], 905.0, -30.0),
        ([1.0] * 100, 0.9, 0.0),
        ([1.0] * 97 + [0.0] * 3, 0.9, 0.0),
        ([-100.0] * 100, -110.0, -400.0),
        ([500.0] * 100, 475.0, 20.0),
    ],
)
def test_an_agent_that_is_well_above_its_goal_is_confirmed(scores, goal, lost):
    assert ranking.lower_bound(scores, lost) >= goal


def test_where_all_are_won_one_more_is_counted_as_the_worst_that_the_run_has_seen():
    assert ranking.worst([{"score": 20.0}, {"score": 300.0}], [{"score_min": 35.0}, {}]) == 20
    assert ranking.worst([{}], [{"score": 4.0, "score_min": 3.0}]) == 3
    assert ranking.worst([], [{"score_min": 3.0, "confirmed_score_min": 1.0}, {"score_min": 2.0}]) == 1
    for lost in (20.0, -500.0):
        mean = (100 * 500 + lost) / 101
        error = math.sqrt((100 * (500 - mean) ** 2 + (lost - mean) ** 2) / 100 / 101)
        assert ranking.lower_bound([500.0] * 100, lost) == pytest.approx(mean - ranking.student(100, 0.95) * error)
    assert ranking.lower_bound([500.0] * 100, math.inf) == 500
    assert ranking.lower_bound([1.0] * 3, 0.0) < 0.9 < ranking.lower_bound([1.0] * 100, 0.0)


def test_of_single_episodes_nobody_knows_which_was_lucky():
    single = summarise([EpisodeResult(0, 900.0, 1000, False, [], [])])
    assert {"score_std", "score_se"}.isdisjoint(single)
    assert ranking.newest_accepted([single, single | {"score": 400.0}]) == 1
    assert ranking.best([single, single | {"score": 950.0}]) == 1
    assert (
        ranking.newest_accepted([{"score": 900.0}, {"score": 10.0}]) == 0
    )  # a pipeline of one's own may tell the score alone


def test_a_hair_is_not_clearly_worse_however_sure_both_are():
    assert ranking.newest_accepted([scored(1.0), scored(0.9999)]) == 1
    assert ranking.newest_accepted([scored(1.0), scored(0.9)]) == 0


def test_the_interval_of_a_proportion_is_wilsons():
    assert ranking.proportion(0.0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert ranking.proportion(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = ranking.proportion(1.0, 30)
    assert (1 - high, 1 - low) == pytest.approx(ranking.proportion(0.0, 30))
