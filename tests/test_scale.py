"""How a run scales on paper: the simulation at its limits, where its answer is known without it."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import scale

RUN = scale.measured()
PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
lengths = st.lists(st.integers(1, 1000), min_size=1, max_size=60)


def test_the_measured_run_is_that_of_its_table():
    assert len(RUN) == 6
    assert sum(one.whole for one in RUN) / 60 == pytest.approx(13.5, abs=0.05)  # the column `minutes` of its last row
    assert sum(one.frames for one in RUN) == 228_657
    assert [one.confirmed for one in RUN] == [False] * 5 + [True]


@given(st.floats(0.1, 100))
def test_one_node_takes_what_the_measured_run_took(gbit):
    assert scale.minutes(RUN, 1, gbit) == pytest.approx(sum(one.whole for one in RUN) / 60)


@given(st.integers(1, 500))
def test_with_infinitely_fast_environments_a_run_takes_what_all_else_takes(nodes):
    driven = sum(sum(one.driving) for one in RUN) / 60
    assert scale.minutes(RUN, nodes, math.inf, speed=math.inf) == pytest.approx(scale.minutes(RUN, 1, 1) - driven)
    assert scale.minutes(RUN, nodes, math.inf) > scale.minutes(RUN, nodes, math.inf, speed=math.inf)


def test_driving_and_learning_that_take_no_time_leave_the_rest_of_their_stages():
    rest = sum(one.rollout + one.evaluate - sum(one.driving) for one in RUN) / 60
    assert scale.minutes(RUN, 1, 1, math.inf, math.inf) == pytest.approx(rest)


@given(lengths, st.integers(1, 80))
def test_episodes_take_no_less_than_the_longest_and_than_their_share_of_the_work_and_at_most_both(episodes, cores):
    took = scale.makespan(episodes, cores)
    longest, share = max(episodes), sum(episodes) / cores
    assert max(longest, share) <= took + 1e-9
    assert took <= share + longest * (1 - 1 / cores) + 1e-9  # Graham 1966
    if cores >= len(episodes):
        assert took == longest


@given(st.integers(1, 2000), st.floats(0.1, 100))
def test_weights_go_out_to_each_other_node_through_one_link(nodes, gbit):
    assert scale.sending(nodes, gbit) == pytest.approx((nodes - 1) * scale.ACTING_BYTES / (gbit * 125e6))


@given(st.integers(1, 200), st.integers(1, 300))
def test_runs_of_a_study_are_independent(tasks, nodes):
    took = scale.study_minutes(tasks, nodes, 10.0)
    assert 10.0 * tasks / nodes <= took < 10.0 * (tasks / nodes + 1)
    assert scale.study_minutes(tasks, tasks, 10.0) == 10.0


@given(st.integers(1, scale.REPLAY))
def test_a_run_that_keeps_all_stores_latents_of_all_episodes_again_in_each_iteration(iterations):
    each = scale.EPISODE_BYTES + scale.AGENT_BYTES + scale.JSON_BYTES
    again = scale.LATENT_BYTES * iterations * (iterations + 1) // 2
    assert scale.run_bytes(iterations) == iterations * each + again


def test_what_a_run_must_keep_stops_growing_once_the_replay_is_full_but_for_its_figures():
    grown = scale.run_bytes(2 * scale.REPLAY, kept_all=False) - scale.run_bytes(scale.REPLAY, kept_all=False)
    assert grown == scale.REPLAY * scale.JSON_BYTES
    assert scale.run_bytes(1, kept_all=False) == scale.run_bytes(1)


def test_the_page_has_the_tables_that_the_program_prints():
    page = PAGE.read_text()
    for table in scale.tables():
        assert table in page, f"`python -m tools.scale` prints another table:\n{table}"
