"""What the waves of a rollout come to, in closed form."""

import numpy as np
import pytest

from wmloop.calibration.windows import ReturnForecast
from wmloop.episodes import Cut, Episode
from wmloop.training.tally import Tally, summarise


def episode(rewards, terminated=False, cut=Cut.NONE, frames=None):
    rewards = np.array(rewards, np.float32)
    return Episode(
        np.zeros(0),
        np.zeros(0),
        rewards,
        terminated,
        not terminated,
        0,
        len(rewards) if frames is None else frames,
        False,
        cut,
    )


def told(*waves):
    tally = Tally()
    for wave in waves:
        tally.add(summarise(list(wave), [ReturnForecast([], [], [])] * len(wave)), [True] * len(wave))
    return tally.metrics()


MIXED = episode([3, 0, -4, -100], terminated=True)
CUT = episode([0, 5], cut=Cut.UNREWARDED, frames=8)


@pytest.mark.parametrize("waves", [([MIXED, CUT],), ([MIXED], [CUT])])
def test_counts_and_means_are_those_of_all_waves(waves):
    figures = told(*waves)
    assert (figures["episodes"], figures["decisions"], figures["frames"]) == (2, 6, 12)
    assert figures["score"] == pytest.approx((3 - 4 - 100 + 5) / 2)
    assert figures["rewarded_fraction"] == pytest.approx(2 / 6)
    assert {name: value for name, value in figures.items() if name.startswith("truncations")} == {
        "truncations_unrewarded": 1
    }


def test_predicted_returns_are_those_of_episodes_without_exploration():
    quiet, explored = ReturnForecast([10.0], [None], [8.0], [2], 2), ReturnForecast([90.0], [None], [1.0], [2], 2)
    tally = Tally()
    tally.add(summarise([CUT, CUT], [explored, quiet]), [False, True])
    figures = tally.metrics()
    assert (figures["predicted_return"], figures["real_return"]) == (10.0, 8.0)


def test_the_unit_of_rewards_is_that_of_steps_that_go_on():
    assert told([MIXED, CUT])["reward_rms"] == pytest.approx(np.sqrt((9 + 16 + 25) / 3))  # neither -100 nor zeros


def test_where_only_ends_pay_the_unit_is_theirs_and_where_nothing_pays_there_is_none():
    assert told([episode([0, 0, -10], terminated=True)], [episode([0, 20], terminated=True)])[
        "reward_rms"
    ] == pytest.approx(np.sqrt((100 + 400) / 2))
    assert "reward_rms" not in told([episode([0, 0])])
