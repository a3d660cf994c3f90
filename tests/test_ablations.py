"""What may be left out of the system, or added to it, to see what it is good for: each by a setting, and off by default."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from tests.test_loop import configure, hashes, perform
from tests.vector_world import VectorWorld
from wmloop.config import build_config
from wmloop.dreams import Noise
from wmloop.errors import UsageError
from wmloop.learn.batch import Batch
from wmloop.models import mixture
from wmloop.models.controller import GaussianActor, PlainCritic
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Memory
from wmloop.models.mixture import Mixture
from wmloop.models.world_model import Outcome, State
from wmloop.serving.world_model import fits
from wmloop.training.dream_ppo import DreamPPO, curious

RECORDED = ("dream.rewards=recorded", "dream.horizon=1")


class Paying(VectorWorld):
    """The point's world, whose predicted rewards are a stranger's."""

    def __init__(self, reward):
        self.reward = reward

    def imagine(self, state, action, uniform, normal):
        after, outcome = super().imagine(state, action, uniform, normal)
        return after, Outcome(torch.full_like(outcome.reward, self.reward), outcome.terminal_reward, outcome.done)


class Surprised(VectorWorld):
    """The point's world, which is surprised wherever the point is to the right."""

    def surprise(self, features):
        return features[..., 0]


def trained(world, paid=None, horizon=1, updates=3, **changes):
    """Return actor and critic after updates on dreams that begin at the same points with the same noise."""
    torch.manual_seed(0)
    config = build_config("smoke").controller
    actor, critic = GaussianActor(2, 2, "linear"), PlainCritic(2)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 1e-2)
    learner = DreamPPO(world.imagination(1.0), actor, critic, optimizer, config, **changes)
    chance = torch.Generator().manual_seed(1)
    for _ in range(updates):
        point = torch.randn(64, 2, generator=chance)
        noise = Noise.draw(horizon, 64, world.noise_size, 2, chance)
        learner.update(State(point, point[:, :0]), noise, chance, None if paid is None else paid(point))
    return actor, critic


def weights(networks):
    return [part for network in networks for part in network.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_where_rewards_are_recorded_nothing_that_the_world_model_says_of_them_is_learnt():
    def distance(point):
        return -point.norm(dim=1)

    assert same(trained(Paying(0.0), distance), trained(Paying(9.0), distance))
    assert not same(trained(Paying(0.0)), trained(Paying(9.0)))
    assert not same(trained(Paying(0.0), distance), trained(Paying(0.0), lambda point: point[:, 0]))


def test_recorded_rewards_are_refused_where_a_dream_goes_on_beyond_what_was_recorded():
    with pytest.raises(UsageError, match=r"'dream.rewards' .*dreams have 5: it takes dream.horizon=1"):
        configure("dream.rewards=recorded")
    assert configure(*RECORDED).dream.horizon == 1


def test_a_world_model_that_learns_no_rewards_cannot_predict_those_of_dreams():
    with pytest.raises(UsageError, match=r"add --set dream.rewards=recorded --set dream.horizon=1"):
        fits(configure("memory.reward_weight=0"), None, None)
    with pytest.raises(UsageError, match=r"give dream.temperature a number"):
        fits(configure("memory.reward_weight=0", "dream.temperature=auto", *RECORDED), None, None)
    fits(configure("memory.reward_weight=0", *RECORDED), None, None)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(("memory.initial_steps=0", "memory.train_steps=0"), marks=pytest.mark.slow),
        pytest.param(("memory.reward_weight=0", *RECORDED), marks=pytest.mark.slow),
        ("controller.curiosity=0.1", "controller.actor=hidden", "controller.inputs=z"),
    ],
    ids=["untrained M", "no reward head", "curiosity of z with a hidden layer"],
)
def test_each_is_trained_and_stopped_at_any_moment_ends_as_the_same_run(tmp_path, settings):
    config = configure(*settings, "store.snapshot_seconds=0")
    whole, reason = perform(tmp_path / "whole", config)
    assert reason == "iterations"
    told = whole.version(1, "evaluate").metrics
    assert {"score", "predicted_terminations"} <= set(told)
    assert ("return_gap_points" in told) == config.learns_rewards
    calls = stops = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 60 + 23 * stops % 150

    reason = "interrupted"
    while reason == "interrupted":
        calls = 0
        torn, reason = perform(tmp_path / "torn", config, should_stop=should_stop)
        stops += reason == "interrupted"
        assert stops < 100
    assert stops > 3
    assert hashes(torn) == hashes(whole)


def test_an_untrained_memory_is_the_random_one_that_it_began_as_in_every_iteration(tmp_path):
    store, _ = perform(tmp_path / "run", configure("memory.initial_steps=0", "memory.train_steps=0"))
    first, second = (store.version(i, "memory") for i in range(2))
    file = "model.safetensors"
    assert first.files[file].sha256 == second.files[file].sha256
    assert "nll" not in first.metrics


def test_a_tempered_mixture_is_the_one_that_is_drawn_from():
    torch.manual_seed(0)
    tau, draws = 1.7, 40_000
    belief = Mixture(torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 2) * 0.3 - 1)
    _, mean, log_std = (part.T for part in mixture.tempered(belief, tau))
    known = MixtureSameFamily(Categorical(logits=belief.logits.T / tau), Normal(mean, log_std.exp()))
    z = torch.randn(5, 2)
    torch.testing.assert_close(log_std.exp(), belief.log_std.T.exp() * tau**0.5)
    torch.testing.assert_close(mixture.log_prob(mixture.tempered(belief, tau), z), known.log_prob(z))
    many = Mixture(*(part.expand(draws, 3, 2) for part in belief))
    drawn = mixture.sample(many, torch.rand(draws, 2), torch.randn(draws, 2), tau)
    torch.testing.assert_close(drawn.mean(0), known.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), known.variance, rtol=0.04, atol=0)


def test_a_dreams_surprise_is_the_loss_of_memory_on_what_it_drew():
    torch.manual_seed(0)
    memory = Memory(4, 2, 8, 3)
    dreaming = Kernel(memory, tau := 1.3, 10.0)
    state = memory.begin(torch.randn(6, 4))
    after, _ = dreaming.imagine(state, torch.randn(6, 2), torch.rand(6, 4), torch.randn(6, 4))
    z, h = memory.split(after.features)
    loss = -mixture.log_prob(mixture.tempered(memory.density(h), tau), z).mean(-1)
    torch.testing.assert_close(dreaming.surprise(after.features), loss)
    elsewhere = torch.cat([z + 50, h], -1)
    assert (dreaming.surprise(elsewhere) > dreaming.surprise(after.features)).all()


def test_the_reward_for_exploring_has_mean_0_and_the_deviation_that_was_asked_for_over_what_was_reached():
    torch.manual_seed(0)
    steps, dreams, weight = 7, 50, 0.3
    mask = torch.rand(steps, dreams)
    ones = torch.ones(steps, dreams)
    batch = Batch(torch.zeros(steps + 1, dreams, 2), torch.zeros(steps, dreams, 1), ones, 2 * ones, ones, mask)
    surprise = torch.randn(steps, dreams) * 5 + 11
    more = curious(batch, surprise, weight).reward - batch.reward
    mean = (more * mask).sum() / mask.sum()
    deviation = (((more - mean).square() * mask).sum() / mask.sum()).sqrt()
    torch.testing.assert_close(mean, torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation, torch.tensor(weight))
    assert torch.equal(more.flatten().argsort(), surprise.flatten().argsort())
    assert torch.equal(curious(batch, ones, weight).reward, batch.reward)  # all alike: nothing to explore


def test_a_curious_policy_goes_where_the_world_model_is_surprised():
    policy, _ = trained(Surprised(), horizon=4, updates=40, curiosity=5.0)
    plain, _ = trained(Surprised(), horizon=4, updates=40)
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(3))
    assert policy(points).mean[:, 0].mean() > plain(points).mean[:, 0].mean() + 0.2


def test_without_curiosity_no_bit_of_what_is_learnt_changes_and_with_it_dreams_are_told_as_they_are():
    assert same(trained(Surprised(), horizon=4), trained(VectorWorld(), horizon=4))
    assert same(trained(Surprised(), horizon=4, curiosity=0.0), trained(VectorWorld(), horizon=4))
    assert not same(trained(Surprised(), horizon=4, curiosity=1.0), trained(VectorWorld(), horizon=4))


def test_curiosity_in_a_world_model_that_tells_no_surprise_is_refused():
    with pytest.raises(UsageError, match=r"VectorWorld does not tell: see wmloop.models.world_model.TellsSurprise"):
        trained(VectorWorld(), curiosity=0.1)
