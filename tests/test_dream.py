"""The dream: the fast step is M, an end is an end, and time lines up."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wmloop.agents.world_model import Agent
from wmloop.calibration.dreamt import dreamt_scores
from wmloop.dreams import Noise, rollout
from wmloop.models import mixture
from wmloop.models.controller import GaussianActor
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Memory, done_probability
from wmloop.models.world_model import Outcome, State
from wmloop.spaces import BoxActions


@pytest.fixture
def memory():
    torch.manual_seed(0)
    return Memory(8, 2, 16, 3).double()


def start(memory, count=5):
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, memory.latent, generator=generator).double()
    h, c = (torch.randn(count, memory.hidden, generator=generator).double() * 0.3 for _ in range(2))
    return State(torch.cat([z, h], 1), c)


def consumed(memory, state, action):
    """Return M's state (N, D) after a step, by torch's LSTM, and the h and c that it leaves behind."""
    z, h = memory.split(state.features)
    hidden, last = memory(z[:, None], action[:, None], (h, state.inner))
    return hidden[:, 0], *last


def noise(memory, horizon=6, count=5):
    drawn = Noise.draw(horizon, count, memory.latent, memory.actions, torch.Generator().manual_seed(2))
    return Noise(*(part.double() for part in drawn))


def test_a_dream_step_equals_the_lstm_and_the_heads(memory):
    state, drawn = start(memory), noise(memory)
    action = torch.randn(5, 2).double()
    after, outcome = Kernel(memory, 1.15, 10.0).imagine(state, action, drawn.uniform[0], drawn.normal[0])
    hidden, h, c = consumed(memory, state, action)
    z = mixture.sample(memory.density(hidden), drawn.uniform[0], drawn.normal[0], 1.15)
    prediction = memory.predict(hidden, z)
    shown, remembered = memory.split(after.features)
    torch.testing.assert_close(remembered, h, rtol=0, atol=1e-10)
    torch.testing.assert_close(after.inner, c, rtol=0, atol=1e-10)
    torch.testing.assert_close(shown.float(), z.float(), rtol=0, atol=1e-6)
    done = done_probability(prediction.done_logit, 10.0)
    torch.testing.assert_close(outcome.done.float(), done.float())
    torch.testing.assert_close(outcome.reward.float(), prediction.reward.float())
    torch.testing.assert_close(outcome.terminal_reward.float(), prediction.terminal_reward.float())


def test_a_rollout_equals_its_steps_one_by_one(memory):
    actor = GaussianActor(memory.latent + memory.hidden, memory.actions).double()
    kernel, drawn, state = Kernel(memory, 1.15, 10.0), noise(memory), start(memory)
    batch = rollout(kernel, actor, state, drawn)
    for t in range(6):
        torch.testing.assert_close(batch.features[t], state.features)
        policy = actor(state.features)
        torch.testing.assert_close(batch.action[t], policy.sample(drawn.action[t]))
        torch.testing.assert_close(batch.logprob[t], policy.logprob(batch.action[t]))
        state, outcome = kernel.imagine(state, batch.action[t].clamp(-1, 1), drawn.uniform[t], drawn.normal[t])
        torch.testing.assert_close(batch.reward[t], outcome.reward.double())
        torch.testing.assert_close(batch.terminal_reward[t], outcome.terminal_reward.double())
        torch.testing.assert_close(batch.expected[t], outcome.expected.double())
        torch.testing.assert_close(batch.continues[t], 1 - outcome.done.double())
    torch.testing.assert_close(batch.features[6], state.features)


def test_the_same_noise_dreams_the_same_and_other_noise_does_not(memory):
    actor = GaussianActor(memory.latent + memory.hidden, memory.actions).double()
    kernel = Kernel(memory, 1.15, 10.0)
    first, again = (rollout(kernel, actor, start(memory), noise(memory)) for _ in range(2))
    assert torch.equal(first.features, again.features)
    other = noise(memory)._replace(normal=noise(memory).normal + 1)
    assert not torch.equal(first.features, rollout(kernel, actor, start(memory), other).features)


def saying(memory, reward, terminal_reward, p, terminated_weight):
    """Return the dreaming of an M that always says the same."""
    with torch.no_grad():
        memory.outcome_head[2].weight.zero_()
        logit = math.log(p / (1 - p)) + math.log(terminated_weight) if 0 < p < 1 else math.copysign(1e4, p - 0.5)
        memory.outcome_head[2].bias[:3] = torch.tensor([reward, terminal_reward, logit])
    return Kernel(memory, 1.0, terminated_weight)


@pytest.mark.parametrize(
    ("p", "reward", "terminal_reward"),
    [(0.02, 1, 1), (0.1, 1, 1), (0.4, 1, 1), (0.04, 0, 100), (0.1, 0, -100), (0.6, 1, 1), (0.6, 0, 10), (0, -1, 0), (1, 1, -5)],
)  # fmt: skip
def test_what_a_dream_promises_counts_that_it_may_have_ended(memory, p, reward, terminal_reward):
    actor = GaussianActor(memory.latent + memory.hidden, memory.actions).double()
    drawn = noise(memory, 25)
    batch = rollout(saying(memory, reward, terminal_reward, p, 10.0), actor, start(memory), drawn)
    expected = sum((1 - p) ** t * ((1 - p) * reward + p * terminal_reward) for t in range(25))
    torch.testing.assert_close(batch.total.float(), torch.full((5,), float(expected)), rtol=1e-4, atol=1e-4)
    survival = torch.tensor([(1 - p) ** t for t in range(26)]).float()
    torch.testing.assert_close(batch.survival[:, 0].float(), survival, rtol=1e-4, atol=1e-5)


def test_the_terminal_heads_own_units_are_read_right_in_a_dream(memory):
    memory.rescale_terminal(7.0)
    state = start(memory)
    drawn = noise(memory)
    action = torch.zeros(5, 2).double()
    after, outcome = Kernel(memory, 1.0, 10.0).imagine(state, action, drawn.uniform[0], drawn.normal[0])
    hidden, *_ = consumed(memory, state, action)
    terminal = memory.predict(hidden, memory.split(after.features)[0]).terminal_reward
    torch.testing.assert_close(outcome.terminal_reward.float(), terminal.float())


def test_a_dream_that_shows_the_end_ends_and_another_goes_on():
    # 40% of what comes shows a crash in its first number; the head that reads it knows, the head that reads h could not
    torch.manual_seed(0)
    memory = Memory(1, 1, 4, 2)
    with torch.no_grad():
        for part in memory.parameters():
            part.zero_()
        odds = torch.tensor([0.4, 0.6]).log()
        memory.mixture_head.bias.copy_(torch.cat([odds, torch.tensor([1.0, -1.0, -5.0, -5.0])]))
        first, second = memory.outcome_linears()
        first.weight[0, 4] = 20.0
        second.weight[2, 0], second.bias[2] = 2.0, -20.0
    state = memory.begin(torch.zeros(4000, 1))
    drawn = Noise.draw(1, 4000, 1, 1, torch.Generator().manual_seed(0))
    after, outcome = Kernel(memory, 1.0, 1.0).imagine(state, torch.zeros(4000, 1), drawn.uniform[0], drawn.normal[0])
    crash = after.features[:, 0] > 0  # z
    assert crash.float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert outcome.done[crash].min() > 0.99
    assert outcome.done[~crash].max() < 0.01


def test_training_c_in_a_dream_leaves_no_trace_in_m(memory):
    before = [p.clone() for p in memory.parameters()]
    actor = GaussianActor(memory.latent + memory.hidden, memory.actions).double()
    batch = rollout(Kernel(memory, 1.15, 10.0), actor, start(memory), noise(memory))
    assert not batch.features.requires_grad
    F.mse_loss(actor(batch.features).mean, torch.zeros(7, 5, 2).double()).backward()
    assert all(p.grad is None for p in memory.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, memory.parameters(), strict=True))


class Memoryless:
    """A world in which every step pays 1, but ends the episode with probability .1 and then pays 5."""

    noise_size, reward_scale = 1, 2.0

    def observe(self, state, action, observations):
        return State(torch.zeros(len(observations), 3), torch.zeros(len(observations), 1))

    def imagination(self, temperature):
        return self

    def imagine(self, state, action, uniform, normal):
        ones = torch.ones(len(action))
        return state, Outcome(ones, 5 * ones, 0.1 * ones)


@pytest.mark.parametrize("decisions", [1, 10, 200])
def test_a_dreamt_episode_scores_on_average_what_a_memoryless_world_pays(decisions):
    agent = Agent(Memoryless(), GaussianActor(3, 1), BoxActions([-1], [1]))
    scores = dreamt_scores(agent, np.zeros((4000, 3)), decisions, 1.0, torch.Generator().manual_seed(0))
    reached = 0.9 ** np.arange(decisions)
    assert np.mean(scores) == pytest.approx(2 * (reached * (0.9 * 1 + 0.1 * 5)).sum(), abs=4 * scores.std() / 4000**0.5)
    assert scores.max() <= 2 * (decisions - 1 + 5)
    assert set(scores % 2) == {0.0}
