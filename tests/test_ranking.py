"""Which agent is served, and from which one training goes on."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wmloop import ranking

scores = st.floats(-100, 1000)
errors = st.floats(0, 100)


def scored(score, error=0.0, **more):
    return {"score": score, "score_error": error, **more}


@given(st.lists(st.tuples(scores, errors), min_size=1, max_size=20))
def test_the_best_has_the_highest_lower_bound_and_training_never_goes_on_from_something_older_than_the_best_mean(rows):
    evaluations = [scored(*row) for row in rows]
    merits = [score - error for score, error in rows]
    assert merits[ranking.best(evaluations)] == max(merits)
    means = [score for score, _ in rows]
    assert ranking.newest_accepted(evaluations) >= means.index(max(means))


def test_of_two_equal_means_the_surer_is_served_and_more_tracks_count_more_than_a_lucky_mean():
    assert ranking.best([scored(890, 20), scored(890, 5)]) == 1
    confirmed = scored(920, 5, confirmed_score=870, confirmed_score_error=8)
    assert ranking.best([confirmed, scored(890, 10)]) == 1
    assert ranking.best([confirmed, scored(875, 20)]) == 0
    assert ranking.best([]) is None


def test_a_score_within_three_standard_errors_is_gone_on_from_and_a_clearly_worse_one_is_not():
    best = scored(890, 6)
    assert ranking.newest_accepted([best, scored(850, 12)]) == 1
    assert ranking.newest_accepted([best, scored(405, 37)]) == 0
    assert ranking.newest_accepted([best, scored(880, 6), scored(300, 40)]) == 1


@given(st.lists(scores, max_size=12))
def test_a_score_has_settled_where_two_in_a_row_were_no_new_best_and_stays_so(means):
    bests = [all(mean > earlier for earlier in means[:i]) for i, mean in enumerate(means)]
    twice = [not (first or second) for first, second in itertools.pairwise(bests)]
    told = [ranking.settled([scored(mean, 50) for mean in means[:count]]) for count in range(len(means) + 1)]
    assert told == [any(twice[: max(count - 1, 0)]) for count in range(len(means) + 1)]


@given(scores, st.floats(0, 50), st.floats(-100, 1000))
def test_a_goal_is_confirmed_by_the_further_tracks_alone_and_only_where_their_lower_bound_reaches_it(mean, error, goal):
    further = {"confirmed_score": mean, "confirmed_score_error": error}
    assert ranking.confirms(scored(2000), goal) is False
    assert ranking.confirms(scored(-2000, **further), goal) == (mean - 1.645 * error >= goal)
