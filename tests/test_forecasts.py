"""M's word against reality's, in closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_env import tiny_config
from wmloop.agents.collector import halves
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Agent
from wmloop.calibration import forecasts
from wmloop.calibration.ends import ends
from wmloop.calibration.gap import gap
from wmloop.calibration.open_loop import open_loop_metrics
from wmloop.calibration.windows import ReturnForecast, time_limit, windows
from wmloop.config import build_config
from wmloop.dreams import open_loop_returns
from wmloop.episodes import Episode
from wmloop.models.networks import new_actor, new_memory, new_vision
from wmloop.models.policies import ClippedGaussian
from wmloop.models.vision_memory import VisionMemory
from wmloop.models.world_model import Outcome, State
from wmloop.spaces import BoxActions
from wmloop.stages.evaluate import beyond_best

CPU = torch.device("cpu")
ACTIONS = BoxActions([-1, -1], [1, 1])
CONFIG = build_config("smoke", tiny_config())
sums = st.floats(1, 100)
rows = st.lists(st.lists(st.tuples(sums, sums, sums), min_size=1, max_size=5), min_size=2, max_size=6)


def told(rows, sign=1):
    episodes = []
    for episode in rows:
        promised, foreseen, paid = ([sign * value for value in part] for part in zip(*episode, strict=True))
        episodes.append(ReturnForecast(promised, foreseen, paid, [25] * len(paid), 20 * len(paid) + 5, []))
    return episodes


@given(rows, st.floats(0.1, 3), st.sampled_from([1, -1]))
def test_the_gap_is_the_ratio_of_sums_and_a_promise_always_out_by_one_factor_has_no_error(rows, factor, sign):
    episodes = told(rows, sign)
    metrics = gap(episodes)
    promised, paid = (sum(sum(episode[k]) for episode in episodes) for k in (0, 2))
    length, lived = np.mean([e.decisions for e in episodes]), sum(sum(e.steps) for e in episodes)
    assert metrics["return_gap_points"] == pytest.approx((promised - paid) * length / lived)
    assert metrics["real_return"] == pytest.approx(paid * length / lived)
    if "return_gap" in metrics:
        assert metrics["return_gap"] == pytest.approx((promised - paid) / abs(paid))
    steady = gap([episode._replace(predicted=[factor * value for value in episode.real]) for episode in episodes])
    assert ("return_gap" in steady) == ("return_gap" in metrics)
    if "return_gap" in steady:
        assert steady["return_gap"] == pytest.approx(sign * (factor - 1))
        assert steady["return_gap_se"] == pytest.approx(0, abs=1e-9)


@given(rows)
def test_the_best_real_return_is_that_of_one_episode_scaled_to_its_own_length(rows):
    episodes = told(rows)
    each = [sum(e.real) / sum(e.steps) * e.decisions for e in episodes]
    assert gap(episodes)["best_real_return"] == pytest.approx(max(each))


@given(rows)
def test_what_is_lost_is_told_with_the_same_errors_as_what_is_won(rows):
    won, lost = gap(told(rows)), gap(told(rows, -1))
    assert won.keys() == lost.keys()
    for name in ("return_gap_se", "return_gap_points_se"):
        assert won.get(name) == pytest.approx(lost.get(name))


def test_a_gap_in_parts_of_what_was_paid_is_left_out_where_that_may_be_nothing():
    nothing = [ReturnForecast([0.5], [], [0.0], [25], 25, []) for _ in range(3)]
    assert {"return_gap", "return_gap_se"}.isdisjoint(gap(nothing))
    assert gap(nothing)["return_gap_points"] == pytest.approx(0.5)
    balanced = [ReturnForecast([0.0], [], [paid], [25], 25, []) for paid in (5.0, -5.0, 1.0)]
    assert "return_gap" not in gap(balanced)
    assert "return_gap" not in gap(balanced[:1])


def hazard(p, cap, rng, reward, terminal_reward):
    """Return an episode that ends at each decision with probability `p`, or is cut after `cap`."""
    end = int(rng.geometric(p))
    rewards = np.full(min(end, cap), reward, np.float32)
    if end <= cap:
        rewards[-1] = terminal_reward
    return Episode(np.zeros(0), np.zeros(0), rewards, end <= cap, end > cap, 0, 0)


@pytest.mark.parametrize("burn_in", [0, 4])
@pytest.mark.parametrize("cap", [30, 250])
@pytest.mark.parametrize(("p", "reward", "terminal_reward"), [
    (0.02, 1, 1), (0.1, 1, 1), (0.4, 1, 1), (0.04, 0, 100), (0.1, 0, -100), (0.02, -1, -1), (0.1, -1, 30),
])  # fmt: skip
def test_what_a_calibrated_m_promises_is_what_is_paid_ends_and_time_limits_and_all(
    p, reward, terminal_reward, cap, burn_in
):
    rng = np.random.default_rng(0)
    step = (1 - p) * reward + p * terminal_reward
    episodes, scores = [], []
    for _ in range(1500):
        episode = hazard(p, cap, rng, reward, terminal_reward)
        scores.append(episode.rewards.sum())
        asked = windows(episode, burn_in, cap, None)
        episodes.append(ReturnForecast(
            [sum((1 - p) ** t * step for t in range(window.horizon)) for window in asked], [],
            [float(episode.rewards[w.start : w.start + w.length].sum()) for w in asked],
            [window.length for window in asked], len(episode), [],
        ))  # fmt: skip
    metrics = gap(episodes)
    assert abs(metrics["return_gap_points"]) < 3.5 * metrics["return_gap_points_se"]
    if burn_in == 0:  # each decision counts once: what is paid an episode is the episodes' score
        assert metrics["real_return"] == pytest.approx(np.mean(scores))


def test_the_gaps_error_is_what_repeating_the_experiment_shows():
    rng = np.random.default_rng(0)

    def experiment():
        paid = rng.gamma(9, 3, (20, 6))
        promised = 1.2 * paid + rng.normal(0, 8, (20, 1)) + rng.normal(0, 5, (20, 6))
        return gap(
            [ReturnForecast(list(a), [], list(b), [25] * 6, 125, []) for a, b in zip(promised, paid, strict=True)]
        )

    found = [experiment() for _ in range(300)]
    assert np.mean([m["return_gap"] for m in found]) == pytest.approx(0.2, abs=0.01)
    spread = np.std([m["return_gap"] for m in found])
    assert np.mean([m["return_gap_se"] for m in found]) == pytest.approx(spread, rel=0.15)


def test_foresight_that_is_perfect_correlates_fully_without_bias_and_no_moments_give_no_figures():
    episodes = [ReturnForecast([1.0, 2.0], [3.0, 5.0], [3.0, 5.0], [25, 25]), ReturnForecast([], [], [])]
    metrics = open_loop_metrics(episodes)
    assert (metrics["open_loop_bias"], metrics["open_loop_correlation"]) == (0, pytest.approx(1))
    assert open_loop_metrics([ReturnForecast([], [], [])]) == {}
    assert gap([ReturnForecast([], [], [])]) == {}


def lived(rewards, terminated=False, max_unrewarded=None, burn_in=0):
    rewards = np.array(rewards, np.float32)
    episode = Episode(np.zeros(0), np.zeros(0), rewards, terminated, not terminated, 0, 0)
    return [tuple(window) for window in windows(episode, burn_in, 1000, max_unrewarded)]


@given(st.integers(1, 300), st.booleans(), st.integers(0, 10))
def test_m_is_asked_up_to_the_last_decision_and_beyond_an_end_alone(length, terminated, burn_in):
    asked = lived(np.zeros(length), terminated, None, burn_in)
    covered = [t for start, _, real in asked for t in range(start, start + real)]
    assert covered == list(range(burn_in, length))
    for start, promised, real in asked:
        assert real == min(25, length - start)
        assert promised == (25 if terminated else real)


def test_m_is_asked_only_where_rollouts_would_still_drive():
    rewards = [1] * 50 + [0] * 150
    assert [start for start, *_ in lived(rewards)] == list(range(0, 200, 25))
    assert lived(rewards, max_unrewarded=30) == [(0, 25, 25), (25, 25, 25), (50, 25, 25)]
    assert lived(rewards[:80], max_unrewarded=30) == lived(rewards, max_unrewarded=30)
    # the end came as the last bit of patience went
    assert lived(rewards[:80], True, max_unrewarded=30)[-1] == (75, 25, 5)
    assert lived([-1] * 40, max_unrewarded=30) == [(0, 25, 25)]
    assert lived([-1] * 40) == [(0, 25, 25), (25, 15, 15)]


@pytest.mark.parametrize("foreseeing", [False, True])
def test_a_trace_tells_of_every_moment_asked_and_foresees_every_sixth_if_told_to(foreseeing):
    memory = new_memory(CONFIG, CONFIG.vision.latent_size, 2, CPU)
    world = VisionMemory(new_vision(CONFIG, CPU), memory, 10.0)
    agent = Agent(world, new_actor(CONFIG, memory.features, ACTIONS, CPU), ACTIONS)
    parts = halves(2)
    trace, carries = Recorder(), {copies: agent.start(1) for copies in parts}
    rng = np.random.default_rng(0)
    for _ in range(200):
        for copies in parts:
            _, carries[copies] = agent.act(carries[copies], rng.integers(0, 256, (1, 64, 64, 3), np.uint8))
            trace.note(copies, carries[copies])
    rewards = [np.arange(1, length + 1, dtype=np.float32) for length in (200, 130)]
    driven = [Episode(np.zeros(0), np.zeros(0), reward, False, True, i, 0) for i, reward in enumerate(rewards)]
    long, short = forecasts.forecast(agent, trace, CONFIG, driven, foreseeing)
    assert long.real == [rewards[0][t : t + 25].sum() for t in range(0, 200, 25)]
    assert len(long.predicted) == 8
    assert long.steps == [25] * 8
    assert [value is not None for value in long.open_loop] == [n in (0, 6) for n in range(8)] * foreseeing
    assert (short.steps, short.decisions) == ([*[25] * 5, 5], 130)
    assert [value is not None for value in short.open_loop] == [
        n == 3 for n in range(6)
    ] * foreseeing  # between the others
    bins = np.array(long.ends)
    assert bins[:, 0].sum() == 200
    assert 0 < bins[:, 1].sum() < 200
    assert bins[:, 2].sum() == 0
    figures = ends([long, short])
    assert figures["terminations"] == 0
    assert sum(value for name, value in figures.items() if name.endswith("_decisions")) == 330


@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(0, 4),
)
def test_an_episode_that_left_the_bounds_early_is_no_time_limit_to_one_that_lived_longer(ends, most, burn_in):
    config = build_config("smoke", tiny_config(), {"env": {"episode_frames": most}})
    driven = [Episode(np.zeros(0), np.zeros(0), np.ones(n, np.float32), end, not end, 0, 0) for n, end in ends]
    limit = time_limit(driven, config)
    longest = max(n for n, _ in ends)
    assert limit <= -(-config.env.most_frames // config.env.action_repeat)
    assert limit >= min(longest, -(-config.env.most_frames // config.env.action_repeat))
    for episode in driven:
        for window in windows(episode, burn_in, limit, None):
            assert 1 <= window.length <= window.horizon <= 25
    if (longest, False) in ends:
        assert limit <= longest


def test_rewards_that_are_the_same_but_for_rounding_have_no_correlation():
    told = [ReturnForecast(7 * [0.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 7 * [0.1 + 0.1 + 0.1])]
    assert np.std(told[0].real) > 0
    assert "open_loop_correlation" not in open_loop_metrics(told)


@pytest.mark.parametrize("size", [1, 3, 150, 1024])
@pytest.mark.parametrize("away", [0.0, 1.0])
def test_how_likely_an_action_is_stays_a_number_in_any_number_of_dimensions(size, away):
    policy = ClippedGaussian(torch.zeros(1, size), torch.full((1, size), -3.0))
    likely = policy.likelihood(torch.full((1, size), away), 2.0, 0.05)
    assert torch.isfinite(likely * 1024).all()
    assert (likely * 1e-6 > 0).all()


def test_foresight_is_told_of_the_moments_that_were_asked_alone():
    told = [ReturnForecast([0, 0, 0], [24, None, 30], [26, 900, 28]), ReturnForecast([0], [], [500])]
    assert open_loop_metrics(told) == pytest.approx({"open_loop_bias": 0, "open_loop_correlation": 1.0})
    assert open_loop_metrics([ReturnForecast([0], [], [500])]) == {}


class Fork:
    """Dreams that turn left or right once, by chance, and are paid +1 or -1 a step for it from then on."""

    noise_size = 1

    def imagine(self, state, action, uniform, normal):
        here, nothing = state.features, torch.zeros(len(action))
        side = torch.where(here == 0, torch.where(uniform < 0.5, -0.5, 0.5), here)
        return State(side, state.inner), Outcome(2 * side[:, 0], nothing, nothing)


@pytest.mark.parametrize(("taken", "expected"), [(0.5, 5), (-0.5, -5)])
def test_actions_are_evidence_of_where_the_road_went(taken, expected):
    def follows_the_road(features):
        return ClippedGaussian(features[:, :1], torch.full((len(features), 1), -2.0))

    assert foresee_fork(follows_the_road, taken) == pytest.approx(expected, abs=0.3)


def test_actions_that_say_nothing_about_the_road_leave_both_ways_as_likely_as_before():
    def drives_blind(features):
        return ClippedGaussian(torch.zeros(len(features), 1), torch.zeros(len(features), 1))

    assert foresee_fork(drives_blind, 0.5) == pytest.approx(0, abs=0.5)


def foresee_fork(policy, taken):
    moments, steps = 400, 6
    begin = State(torch.zeros(moments, 1), torch.zeros(moments, 0))
    actions = torch.full((steps, moments, 1), taken)
    actions[0] = 0
    lived = torch.full((moments,), steps)
    return open_loop_returns(Fork(), policy, begin, actions, lived, torch.Generator().manual_seed(0)).mean().item()


@pytest.mark.parametrize(
    ("predicted", "best", "error", "clearly"),
    [(503.6, 500, 0.1, False), (506, 500, 0.1, True), (506, 500, 4, False), (0.5, 0, 0.1, True), (-100, -110, 1, True)],
)
def test_a_perfect_agent_is_not_called_optimistic_for_a_small_error_of_m(predicted, best, error, clearly):
    told = {"predicted_return": predicted, "best_real_return": best, "return_gap_points_se": error}
    assert beyond_best(told) == clearly
    assert not beyond_best({"predicted_return": 9.0})
