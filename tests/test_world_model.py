"""What uses a world model asks no more of it than its protocol: one that knows a world of points is never wrong in it."""

import numpy as np
import pytest
import torch

from tests.test_play import Script
from tests.tiny_env import tiny_config
from tests.vector_world import PUSH, PointEnv, VectorWorld, point_agent
from wmloop.agents.random_walk import RandomWalk
from wmloop.agents.recorder import Recorder
from wmloop.calibration.forecasts import forecast
from wmloop.calibration.gap import gap
from wmloop.config import build_config
from wmloop.display.showing import ClosedError
from wmloop.dreams import Noise, foretell, open_loop_returns, rollout, unroll
from wmloop.episodes import Episode
from wmloop.errors import UsageError
from wmloop.models.world_model import State
from wmloop.player import Dreamt, Player, Real

CONFIG = build_config("smoke", tiny_config())
N, T = 5, 7


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def start():
    return VectorWorld().observe(None, None, np.random.default_rng(0).uniform(-1, 1, (N, 2)).astype(np.float32))


@pytest.fixture
def actions():
    return torch.rand(T, N, 2, generator=generator()) * 2 - 1


def paid(start, actions):
    """Return what the steps of known actions pay, (T, N), in closed form."""
    return -(start.features + PUSH * actions.cumsum(0)).norm(dim=-1)


def test_a_dream_goes_where_its_actions_push_it_and_pays_what_they_pay(start):
    batch = rollout(VectorWorld(), point_agent().actor, start, Noise.draw(T, N, 0, 2, generator()))
    executed = batch.action.clamp(-1, 1)
    torch.testing.assert_close(batch.features[1:], start.features + PUSH * executed.cumsum(0))
    torch.testing.assert_close(batch.expected, paid(start, executed))
    torch.testing.assert_close(batch.total, paid(start, executed).sum(0))
    assert (batch.features.shape, batch.logprob.shape) == ((T + 1, N, 2), (T, N))


def test_what_acts_may_choose_the_states_that_it_acts_in(start, actions):
    order = torch.tensor([1, 2, 3, 4, 0])
    noise = Noise.draw(T, N, 0, 0, generator())
    steps = unroll(VectorWorld(), start, lambda t, state: (state.at(order), actions[t]), noise)
    point = start.features
    for t, (state, _) in enumerate(steps):
        point = point[order] + PUSH * actions[t]
        torch.testing.assert_close(state.features, point)
    assert t == T - 1


def test_one_step_is_foretold_and_many_are_foreseen(start, actions):
    reward, done = foretell(VectorWorld(), start, actions[0], 3, generator())
    torch.testing.assert_close(reward, paid(start, actions)[0])
    assert not done.any()
    lived = torch.tensor([T, T, 3, 1, T])
    counted = paid(start, actions) * (torch.arange(T).unsqueeze(1) < lived)
    foreseen = open_loop_returns(VectorWorld(), point_agent().actor, start, actions, lived, generator())
    torch.testing.assert_close(foreseen, counted.sum(0), rtol=1e-4, atol=1e-4)


def test_where_the_model_is_the_world_as_much_is_promised_and_foreseen_as_is_paid():
    agent, tracks, length = point_agent(), range(4), 60
    envs = [PointEnv() for _ in tracks]
    trace, copies, carry = Recorder(), range(len(tracks)), agent.start(len(tracks))
    points, rewards = [env.reset(track) for env, track in zip(envs, tracks, strict=True)], []
    for _ in range(length):
        taken, carry = agent.act(carry, np.stack(points))
        trace.note(copies, carry)
        points, paid, *_ = zip(*(env.step(action) for env, action in zip(envs, taken, strict=True)), strict=True)
        rewards.append(paid)
    driven = [
        Episode(np.zeros(0), np.zeros(0), reward, False, True, track, length)
        for track, reward in zip(tracks, np.array(rewards, np.float32).T, strict=True)
    ]
    told = forecast(agent, trace, CONFIG, driven, open_loop=True)
    for episode in told:
        assert episode.predicted == pytest.approx(episode.real, abs=1e-3)
        for foreseen, came in zip(episode.open_loop, episode.real, strict=True):
            assert foreseen is None or foreseen == pytest.approx(came, abs=1e-3)
    assert any(foreseen is not None for episode in told for foreseen in episode.open_loop)
    assert gap(told)["return_gap_points"] == pytest.approx(0, abs=1e-3)


def test_where_the_model_is_the_world_the_player_dreams_what_would_have_come():
    real = Real(PointEnv(), point_agent())
    dream = Dreamt(real, 60, 1)
    dream.reset(3)
    score = real.moment.score
    for t in range(10):
        by_hand = RandomWalk(np.array([[[0.5, -1.0]]], np.float32)) if t % 3 == 0 else None
        dream.step(by_hand)
        real.step(by_hand)
    assert dream.moment.score == pytest.approx(real.moment.score - score, abs=1e-4)
    np.testing.assert_allclose(dream.moment.action, real.moment.action, atol=1e-5)


@pytest.mark.parametrize("place", ["dream", "both"])
def test_a_dream_that_cannot_be_drawn_is_refused_in_words(place):
    real = Real(PointEnv(), point_agent())
    playing = Player(Script({}), real, Dreamt(real, 60, 1), place, "points", 10.0)
    with pytest.raises(UsageError, match=r"does not predict images.* omit --in .* wmloop\.dream"):
        playing.play([3])


def test_reality_is_played_without_the_pictures_of_a_world_model_that_draws_none():
    real, script = Real(PointEnv(), point_agent()), Script({2: ["tab"]}, longest=5)
    with pytest.raises(ClosedError):
        Player(script, real, Dreamt(real, 60, 1), "real", "points", 10.0).play([3])
    assert list(real.moment.pictures) == ["real"]
    assert "does not predict images or vectors" in script.shown[2][2][2]
    assert all("environment" in caption for _, caption, _ in script.shown)


def test_states_are_taken_put_and_joined_whole():
    states = State(torch.arange(12.0).view(2, 3, 2), torch.arange(6.0).view(2, 3, 1))
    rows = (1, torch.tensor([2, 0]))
    assert states.at(rows).inner.flatten().tolist() == [5, 3]
    joined = State.cat([states.at(rows), states.at((0, torch.tensor([1])))])
    assert joined.features.tolist() == [[10, 11], [6, 7], [2, 3]]
    states.put(rows, State(torch.zeros(2, 2), torch.zeros(2, 1)))
    assert states.inner.flatten().tolist() == [0, 1, 2, 0, 4, 0]
