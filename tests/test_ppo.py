"""PPO's mathematics, as properties."""

import copy
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wmloop.config import ControllerConfig
from wmloop.dreams import DreamBatch
from wmloop.learn import ppo
from wmloop.learn.batch import Batch
from wmloop.models.controller import GaussianActor, PlainCritic
from wmloop.models.policies import ClippedGaussian

finite = st.floats(-3, 3)
clips = st.floats(0.05, 0.5)
samples = st.lists(st.tuples(finite, finite, st.floats(-5, 5)), min_size=1, max_size=20)


def reference(logprob, old, advantage, clip):
    ratio = math.exp(logprob - old)
    bounded = min(max(ratio, 1 - clip), 1 + clip)
    return -min(ratio * advantage, bounded * advantage)


def tensors(rows):
    return (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))


@given(samples, clips)
def test_the_clipped_loss_equals_a_scalar_reference(rows, clip):
    loss = ppo.clipped_loss(*tensors(rows), clip)
    expected = [reference(*row, clip) for row in rows]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


@given(finite, st.floats(0.01, 5), clips, st.sampled_from([1.0, -1.0]))
def test_no_gradient_flows_outside_the_trust_region_on_the_advantages_side(distance, size, clip, side):
    edge = math.log(1 + clip) if side > 0 else math.log(1 - clip)
    logprob = torch.tensor([edge + side * (abs(distance) + 1e-3)], dtype=torch.float64, requires_grad=True)
    zero, advantage = torch.zeros(1, dtype=torch.float64), torch.tensor([side * size], dtype=torch.float64)
    ppo.clipped_loss(logprob, zero, advantage, clip).sum().backward()
    assert logprob.grad.item() == 0


@given(finite, st.floats(0.01, 5), clips, st.sampled_from([1.0, -1.0]))
def test_a_ratio_outside_on_the_other_side_is_pulled_back(distance, size, clip, side):
    edge = math.log(1 - clip) if side > 0 else math.log(1 + clip)
    logprob = torch.tensor([edge - side * (abs(distance) + 1e-3)], dtype=torch.float64, requires_grad=True)
    zero, advantage = torch.zeros(1, dtype=torch.float64), torch.tensor([side * size], dtype=torch.float64)
    ppo.clipped_loss(logprob, zero, advantage, clip).sum().backward()
    assert math.copysign(1, logprob.grad.item()) == -side
    assert logprob.grad.item() != 0


@given(st.lists(st.tuples(finite, st.floats(-5, 5)), min_size=1, max_size=20), clips)
def test_at_ratio_one_the_gradient_is_the_plain_policy_gradients(rows, clip):
    old, advantage = tensors(rows)
    logprob = old.clone().requires_grad_()
    ppo.clipped_loss(logprob, old, advantage, clip).sum().backward()
    torch.testing.assert_close(logprob.grad, -advantage)


@given(samples, clips, st.randoms())
def test_the_loss_does_not_depend_on_the_order_within_a_batch(rows, clip, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    losses = [ppo.clipped_loss(*tensors(part), clip).mean() for part in (rows, shuffled)]
    torch.testing.assert_close(*losses)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(0.1, 100), st.floats(-50, 50))
def test_normalised_advantages_ignore_scale_and_shift(values, scale, shift):
    advantages = torch.tensor(values, dtype=torch.float64)
    assume(advantages.std() > 1e-2)
    weight = torch.linspace(0.1, 1, len(advantages), dtype=torch.float64)
    normal = ppo.normalise(advantages, weight)
    torch.testing.assert_close(normal, ppo.normalise(advantages * scale + shift, weight), rtol=1e-4, atol=1e-5)
    assert abs(ppo.mean(normal, weight)) < 1e-6
    assert abs(ppo.mean(normal.square(), weight) - 1) < 1e-4


def test_equal_advantages_normalise_to_zeros():
    assert ppo.normalise(torch.full((5,), 3.0), torch.ones(5)).tolist() == [0.0] * 5


episodes = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.tuples(finite, st.floats(0, 1), finite), min_size=n, max_size=n)
)


@given(episodes, finite, st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_sum_of_discounted_temporal_differences(steps, last, gamma, lam):
    reward, continues, value = (column.unsqueeze(1) for column in tensors(steps))
    advantages, returns = ppo.gae(reward, continues, value, torch.tensor([last], dtype=torch.float64), gamma, lam)
    values = [*value[:, 0].tolist(), last]
    for t in range(len(steps)):
        total, weight = 0.0, 1.0
        for k in range(t, len(steps)):
            alive = steps[k][1]
            total += weight * (steps[k][0] + gamma * alive * values[k + 1] - values[k])
            weight *= gamma * lam * alive
        assert math.isclose(advantages[t, 0], total, rel_tol=1e-6, abs_tol=1e-9)
        assert math.isclose(returns[t, 0], total + values[t], rel_tol=1e-6, abs_tol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 4), st.floats(0.5, 1), st.floats(0, 1))
def test_gae_equals_torchrls_on_episodes_with_real_ends(seed, steps, envs, gamma, lam):
    oracle = pytest.importorskip("torchrl.objectives.value.functional", exc_type=ImportError)
    generator = torch.Generator().manual_seed(seed)
    reward, value = (torch.randn(steps, envs, generator=generator, dtype=torch.float64) for _ in range(2))
    last = torch.randn(envs, generator=generator, dtype=torch.float64)
    terminated = torch.rand(steps, envs, generator=generator) < 0.3
    ours = ppo.gae(reward, (~terminated).double(), value, last, gamma, lam)
    following = torch.cat([value[1:], last[None]])
    columns = (x.t().unsqueeze(-1) for x in (value, following, reward, terminated))
    theirs = oracle.generalized_advantage_estimate(gamma, lam, *columns)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(
            mine, other.squeeze(-1).t(), rtol=1e-5, atol=1e-6
        )  # torchrl keeps gamma * lambda in float32


def test_a_terminated_step_does_not_look_at_the_value_behind_it_and_a_truncated_one_does():
    reward, value, last = torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([10.0])
    ended, _ = ppo.gae(reward, torch.zeros(1, 1), value, last, 0.9, 0.95)
    stopped, _ = ppo.gae(reward, torch.ones(1, 1), value, last, 0.9, 0.95)
    assert (ended.item(), stopped.item()) == (0.0, 9.0)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 64))
def test_minibatches_cover_every_sample_once(seed, size, minibatch_size):
    parts = list(ppo.minibatches(size, minibatch_size, torch.Generator().manual_seed(seed)))
    assert sorted(torch.cat(parts).tolist()) == list(range(size))


def bandit(generator, actor, count=512):
    features = torch.randn(2, count, 6, generator=generator)
    with torch.no_grad():
        policy = actor(features[0])
        action = policy.sample(torch.randn(count, 2, generator=generator))
        logprob = policy.logprob(action)
    reward = -(action - torch.tensor([0.5, -0.5])).square().sum(-1)
    ones = torch.ones(1, count)
    return Batch(features, action[None], logprob[None], reward[None], ones * 0, ones)


def test_ppo_finds_the_best_action_of_a_bandit():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    actor, critic = GaussianActor(6, 2), PlainCritic(6)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 1e-3)
    config = ControllerConfig(minibatch_size=256, target_kl=0.5, ent_coef=0.0, ref_kl_coef=0.0)
    before = bandit(generator, actor).reward.mean()
    for _ in range(60):
        ppo.update(actor, critic, actor, optimizer, bandit(generator, actor), config, generator)
    mean = actor(torch.zeros(1, 6)).mean[0]
    torch.testing.assert_close(mean, torch.tensor([0.5, -0.5]), rtol=0, atol=0.15)
    assert bandit(generator, actor).reward.mean() > before / 4


def test_a_step_counts_with_the_probability_that_its_dream_has_come_to_it():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    actor, critic = GaussianActor(6, 2), PlainCritic(6)
    features, action = torch.randn(4, 32, 6, generator=generator), torch.randn(3, 32, 2, generator=generator)
    continues = torch.rand(3, 32, generator=generator)
    reward, terminal_reward = torch.randn(2, 3, 32, generator=generator)
    with torch.no_grad():
        logprob, value = actor(features[:-1]).logprob(action), critic(features)
    batch = DreamBatch(features, action, logprob, reward, terminal_reward, continues).learnable()
    expected = continues * reward + (1 - continues) * terminal_reward
    _, returns = ppo.gae(expected, continues, value[:-1], value[-1], 0.9, 1.0)
    reached = torch.stack([torch.ones(32), continues[0], continues[0] * continues[1]])
    loss = 0.25 * (reached * (critic(features[:-1]) - returns).square()).sum() / reached.sum()
    wanted = [p - q for p, q in zip(critic.parameters(), torch.autograd.grad(loss, critic.parameters()), strict=True)]
    config = ControllerConfig(update_epochs=1, minibatch_size=96, gamma=0.9, gae_lambda=1.0, max_grad_norm=1e6)
    optimizer = torch.optim.SGD([*actor.parameters(), *critic.parameters()], 1.0)
    ppo.update(actor, critic, copy.deepcopy(actor), optimizer, batch, config, generator)
    for one, other in zip(critic.parameters(), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


class Heads(torch.nn.Module):
    """An actor and a critic on one trunk, or each on its own."""

    def __init__(self, shared):
        super().__init__()
        trunks = [torch.nn.Linear(6, 6)] * 2 if shared else [torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)]
        self.actor = torch.nn.Sequential(trunks[0], torch.nn.Tanh(), GaussianActor(6, 2))
        self.critic = torch.nn.Sequential(trunks[1], torch.nn.Tanh(), PlainCritic(6))


def step_of(nets, batch, max_grad_norm):
    """Return what one step of plain gradient descent changes, by parameter."""
    nets = copy.deepcopy(nets)
    before = {name: part.detach().clone() for name, part in nets.named_parameters()}
    optimizer = torch.optim.SGD(nets.parameters(), 1.0)
    config = ControllerConfig(update_epochs=1, minibatch_size=512, max_grad_norm=max_grad_norm)
    ppo.update(nets.actor, nets.critic, nets.actor, optimizer, batch, config, torch.Generator().manual_seed(1))
    return {name: part.detach() - before[name] for name, part in nets.named_parameters()}


def norm(step):
    return math.sqrt(sum(float(part.double().square().sum()) for part in step.values()))


@pytest.mark.parametrize("shared", [True, False])
def test_a_gradient_is_shortened_as_a_whole_where_networks_share_a_trunk_and_else_each_by_itself(shared):
    torch.manual_seed(0)
    nets = Heads(shared)
    batch = bandit(torch.Generator().manual_seed(0), nets.actor)
    batch = batch._replace(reward=50 * batch.reward)  # the value's gradient is far larger than the policy's
    whole, short = step_of(nets, batch, 1e9), step_of(nets, batch, 0.01)
    groups = [whole.keys()] if shared else [[n for n in whole if n.startswith(net)] for net in ("actor", "critic")]
    assert sum(map(len, groups)) == len(whole)
    assert any(name.startswith("critic.0") for name in whole) != shared  # a shared trunk is the actor's
    for group in groups:
        part = {name: whole[name] for name in group}
        assert norm(part) > 0.1
        for name in group:
            torch.testing.assert_close(short[name], part[name] * 0.01 / norm(part), rtol=1e-3, atol=1e-7)
        assert norm({name: short[name] for name in group}) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_where_the_policy_is_stopped_the_value_goes_on_and_moves_it_only_over_a_common_trunk(shared):
    torch.manual_seed(0)
    begun = Heads(shared)
    batch = bandit(torch.Generator().manual_seed(0), begun.actor)
    batch = batch._replace(logprob=batch.logprob - 1.0)  # the first minibatch stops it

    def learn(passes):
        nets = copy.deepcopy(begun)
        optimizer = torch.optim.SGD(nets.parameters(), 1e-2)
        config = ControllerConfig(update_epochs=passes, minibatch_size=128)
        generator = torch.Generator().manual_seed(1)
        metrics = ppo.update(nets.actor, nets.critic, begun.actor, optimizer, batch, config, generator)
        said = nets.actor(batch.features[0]).mean.detach(), nets.critic(batch.features[0]).detach()
        return metrics["policy_epochs"], *said

    (part, policy, value), (again, same, further) = learn(1), learn(5)
    assert part == again == 1 / round(batch.reward.numel() / 128)
    assert torch.equal(policy, same) != shared
    assert not torch.equal(value, further)


def test_before_its_first_step_the_new_policy_is_the_old_one():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    actor, critic = GaussianActor(6, 2), PlainCritic(6)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 0.0)
    metrics = ppo.update(actor, critic, actor, optimizer, bandit(generator, actor), ControllerConfig(), generator)
    assert abs(metrics["approx_kl"]) < 1e-6
    assert metrics["clipfrac"] == 0


def trained(anchor_coef):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    actor, critic = GaussianActor(6, 2), PlainCritic(6)
    anchor = copy.deepcopy(actor)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 1e-3)
    config = ControllerConfig(minibatch_size=128, target_kl=0.5, ent_coef=0.0, ref_kl_coef=anchor_coef)
    for _ in range(20):
        ppo.update(actor, critic, anchor, optimizer, bandit(generator, actor, 256), config, generator)
    features = torch.randn(512, 6, generator=generator)
    return actor(features).kl(anchor(features)).mean().item()


def test_the_anchor_holds_the_policy_back_the_more_the_heavier_it_is():
    free, light, heavy = map(trained, (0.0, 0.3, 10.0))
    assert free > 1.3 * light > 2 * heavy > 0


@given(*[st.floats(-2, 2)] * 3, st.floats(-3, 1))
def test_the_divergence_of_two_policies_is_torchs(mean, other_mean, log_std, other_log_std):
    one, other = (
        ClippedGaussian(torch.tensor([m, 0.3], dtype=torch.float64), torch.tensor([s, -1.0], dtype=torch.float64))
        for m, s in ((mean, log_std), (other_mean, other_log_std))
    )
    first, second = (torch.distributions.Normal(p.mean, p.log_std.exp()) for p in (one, other))
    torch.testing.assert_close(one.kl(other), torch.distributions.kl_divergence(first, second).sum())
    assert one.kl(one) == 0
