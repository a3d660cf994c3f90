"""V, M and C: the published shapes, and what their losses mean."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.errors import StoreCorruptError
from wmloop.models import mixture
from wmloop.models.controller import AttentionCritic, GaussianActor, PlainCritic
from wmloop.models.memory import Memory, Prediction, Targets, done_probability, memory_loss
from wmloop.models.networks import new_actor, new_critic, new_memory, new_vision
from wmloop.models.policies import ClippedGaussian
from wmloop.models.state import load_module, load_optimizer, module_arrays, optimizer_arrays
from wmloop.models.vision import Vision, to_frames, to_images, vae_loss
from wmloop.spaces import BoxActions, DiscreteActions
from wmloop.training.pictures import foreground_weights


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)


def test_vision_of_ha_and_schmidhuber_has_4348547_parameters():
    assert count(Vision("ha2018", 32)) == 4_348_547


def test_memory_has_422368_parameters_before_the_extra_heads_counting_one_bias_vector():
    memory = Memory(32, 3, 256, 5)
    assert count(memory.lstm, memory.mixture_head) == 422_368


def test_memorys_second_bias_vector_is_zero_and_does_not_train():
    memory = Memory()
    assert not memory.lstm.bias_hh_l0.requires_grad
    assert not memory.lstm.bias_hh_l0.any()


def test_the_actor_of_kuth_et_al_has_181318_parameters():
    assert count(GaussianActor(288, 3, "mlp")) == 181_318


def test_the_linear_controller_has_867_parameters_beside_its_free_spread():
    actor = GaussianActor(288, 3, "linear")
    assert count(actor.mean) == 867
    assert count(actor) == 867 + 3


def test_the_controller_of_ha_and_schmidhuber_with_a_hidden_layer_is_40_tanh_units_between_z_and_three_outputs():
    actor = GaussianActor(32, 3, "hidden")
    assert count(actor.trunk, actor.mean) == 32 * 40 + 40 + 40 * 3 + 3
    z = torch.randn(6, 32)
    inner, outer = actor.trunk[0], actor.mean
    mean = torch.tanh(torch.tanh(z @ inner.weight.T + inner.bias) @ outer.weight.T + outer.bias)
    torch.testing.assert_close(actor(z).mean, mean)
    assert torch.equal(actor(z).log_std[0], actor(z).log_std[1])


@pytest.mark.parametrize("critic", ["plain", "attention"])
@pytest.mark.parametrize("actor", ["mlp", "hidden", "linear"])
@pytest.mark.parametrize("actions", [BoxActions([-1], [1]), DiscreteActions(3)])
def test_a_controller_of_z_alone_does_not_see_the_hidden_state(actions, actor, critic):
    config = build_config("smoke", tiny_config(), {"controller": {"inputs": "z", "actor": actor, "critic": critic}})
    hidden, cpu = config.memory.hidden_size, torch.device("cpu")
    z, h = torch.randn(5, 7), torch.randn(2, 5, hidden)
    one, other = (torch.cat([z, part], 1) for part in h)
    policy, value = (new_actor(config, 7 + hidden, actions, cpu), new_critic(config, 7 + hidden, cpu))
    assert torch.equal(policy(one).mode(), policy(other).mode())
    assert torch.equal(value(one), value(other))
    whole = build_config("smoke", tiny_config(), {"controller": {"actor": actor, "critic": critic}})
    seeing = new_critic(whole, 7 + hidden, cpu)
    assert not torch.equal(seeing(one), seeing(other))


@pytest.mark.parametrize("network", ["compact", "equalised", "light", "ha2018"])
def test_vision_maps_64x64_pictures_to_latents_and_back_into_the_unit_range(network):
    vision = Vision(network, 32)
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    mu, logvar = vision.encode(to_images(frames))
    picture = vision.decode(mu)
    assert mu.shape == logvar.shape == (2, 32)
    assert picture.shape == (2, 3, 64, 64)
    assert 0 <= picture.min() <= picture.max() <= 1


def test_frames_survive_the_way_to_images_and_back():
    frames = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(to_frames(to_images(frames)), frames)


def test_the_vaes_kl_is_zero_at_the_prior_and_its_error_is_summed_over_a_picture():
    vision = Vision("compact", 4)
    for head in (vision.mu, vision.logvar):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    images = torch.rand(2, 3, 64, 64)
    loss, _, parts = vae_loss(vision, images, torch.zeros(2, 4), recon_weight=2.0, free_nats=0.0)
    error = (vision.decode(torch.zeros(2, 4)) - images).square().sum() / 2
    assert parts["kl_loss"] == 0
    torch.testing.assert_close(parts["recon_loss"], error.detach())
    torch.testing.assert_close(loss, 2 * error)


def test_pixels_that_differ_from_the_background_count_more_in_the_loss_and_not_in_the_metric():
    vision = Vision("light", 4).double()  # sums over a picture are subtracted: in float32 they would differ
    background = torch.full((3, 64, 64), 0.25, dtype=torch.float64)
    images = background.repeat(2, 1, 1, 1)
    images[1, 2, 10, 20] = 0.75  # blue, by a half
    weights = foreground_weights(images, background, 6.0)
    wanted = torch.ones(2, 1, 64, 64, dtype=torch.float64)
    wanted[1, 0, 10, 20] = 4.0
    torch.testing.assert_close(weights, wanted)
    noise = torch.zeros(2, 4, dtype=torch.float64)
    plain, _, parts = vae_loss(vision, images, noise, 2.0, 0.0)
    weighted, z, same = vae_loss(vision, images, noise, 2.0, 0.0, weights)
    error = (vision.decode(z) - images)[1, :, 10, 20].square().sum()
    torch.testing.assert_close(weighted - plain, 2.0 * 3.0 * error / 2)
    assert parts["recon_loss"] == same["recon_loss"]


def test_the_free_nats_hide_a_small_kl_from_the_loss_but_not_from_the_metric():
    vision = Vision("light", 4).double()
    for head, value in ((vision.mu, 0.5), (vision.logvar, 0.0)):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, value)
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    loss, _, parts = vae_loss(vision, images, torch.zeros(1, 4, dtype=torch.float64), 1.0, free_nats=0.5)
    torch.testing.assert_close(parts["kl_loss"], torch.tensor(4 * 0.5 * 0.25, dtype=torch.float64))
    torch.testing.assert_close(loss - parts["recon_loss"], torch.tensor(2.0, dtype=torch.float64))


def test_memory_stepped_by_hand_equals_torchs_lstm():
    memory = Memory(8, 2, 16, 3).double()
    z, actions = torch.randn(4, 6, 8).double(), torch.randn(4, 6, 2).double()
    hidden, last = memory(z, actions, tuple(part.double() for part in memory.start(4)))
    state, follow = memory.begin(z[:, 0]), memory.follower()
    for t in range(6):
        seen, _ = memory.split(state.features)
        torch.testing.assert_close(seen, z[:, t], rtol=0, atol=0)
        state = follow(state, actions[:, t], z[:, (t + 1) % 6])
        torch.testing.assert_close(memory.split(state.features)[1], hidden[:, t], rtol=0, atol=1e-10)
    torch.testing.assert_close(state.inner, last[1], rtol=0, atol=1e-10)


def example(steps: int = 4) -> tuple[Prediction, Targets]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    density = mixture.from_outputs(draw(2, steps, 3 * 4 * 5), 4, 5)
    prediction = Prediction(density, draw(2, steps), draw(2, steps), draw(2, steps), draw(2, steps, 3))
    terminated = torch.zeros(2, steps)
    terminated[0, -1] = 1
    ones = torch.ones(2, steps)
    return prediction, Targets(draw(2, steps, 4), draw(2, steps), terminated, draw(2, steps, 3), ones, ones)


def test_memorys_loss_adds_up_its_parts_by_their_weights():
    prediction, targets = example()
    loss, parts = memory_loss(prediction, targets, 2.0, 10.0, 0.1)
    expected = parts["nll"] + 2 * (parts["reward_loss"] + parts["terminal_reward_loss"]) + parts["terminated_loss"]
    torch.testing.assert_close(loss, expected + 0.1 * parts["action_loss"])
    torch.testing.assert_close(parts["nll"], -mixture.log_prob(prediction.mixture, targets.z).sum(-1).mean())


def test_padded_steps_do_not_change_memorys_loss():
    prediction, targets = example()
    mask = targets.mask.clone()
    mask[1, 2:] = 0
    targets = targets._replace(mask=mask, action_mask=mask)
    spoilt = targets._replace(
        z=targets.z + 100 * (1 - mask)[..., None],
        reward=targets.reward + 100 * (1 - mask),
        next_action=targets.next_action + 100 * (1 - mask)[..., None],
    )
    before, after = (memory_loss(prediction, t, 2.0, 10.0, 0.1)[0] for t in (targets, spoilt))
    torch.testing.assert_close(before, after)


def test_an_ends_reward_teaches_the_terminal_head_alone():
    prediction, targets = example()
    crash = targets.reward.clone()
    crash[0, -1] = -20.0
    for other in (targets, targets._replace(reward=crash)):
        _, parts = memory_loss(prediction, other, 2.0, 10.0, 0.1)
        torch.testing.assert_close(
            parts["reward_loss"], memory_loss(prediction, targets, 2.0, 10.0, 0.1)[1]["reward_loss"]
        )
    assert parts["terminal_reward_loss"] > memory_loss(prediction, targets, 2.0, 10.0, 0.1)[1]["terminal_reward_loss"]


def fitted(rewards, share):
    """Return what the terminal head says once it has learnt ends that pay `rewards` with the probabilities `share`."""
    torch.manual_seed(0)
    memory = Memory(1, 1, 8, 1)
    paid = torch.tensor(rewards).repeat_interleave((1000 * torch.tensor(share)).int())
    memory.rescale_terminal(float(paid.square().mean().sqrt()))
    ones, zeros = torch.ones(1, len(paid)), torch.zeros(1, len(paid), 1)
    targets = Targets(zeros, paid[None], ones, zeros, ones, ones)
    hidden = torch.ones(1, len(paid), 8)
    optimizer = torch.optim.Adam(memory.parameters(), 2e-3)
    for _ in range(300):
        prediction = memory.predict(hidden, zeros)
        loss, _ = memory_loss(prediction, targets, 2.0, 10.0, 0.0, memory.terminal_scale)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(memory.parameters(), 1.0)
        optimizer.step()
    return memory.predict(hidden[:, :1], zeros[:, :1]).terminal_reward.item()


@pytest.mark.parametrize(
    ("rewards", "share"), [((20.0, -20.0), (0.45, 0.55)), ((20.0, 0.0), (0.3, 0.7)), ((20.0, 0.0), (0.7, 0.3))]
)
def test_the_terminal_head_learns_the_mean_and_not_the_median(rewards, share):
    mean = sum(reward * part for reward, part in zip(rewards, share, strict=True))
    assert fitted(rewards, share) == pytest.approx(mean, abs=0.05 * 20)


@pytest.mark.parametrize("scale", [0.5, 1.0, 37.0])
def test_other_units_of_the_terminal_head_change_nothing_that_m_says(scale):
    memory, hidden, z = Memory(4, 2, 8, 2), torch.randn(3, 8), torch.randn(3, 4)
    before = memory.predict(hidden, z)
    memory.rescale_terminal(scale)
    after = memory.predict(hidden, z)
    torch.testing.assert_close(after.terminal_reward, before.terminal_reward)
    assert torch.equal(after.reward, before.reward)
    assert memory.terminal_scale == scale


def test_an_m_whose_outcomes_knew_only_h_says_what_it_said():
    memory, hidden, z = Memory(4, 2, 8, 2), torch.randn(3, 8), torch.randn(3, 4)
    older = {name: array.copy() for name, array in module_arrays(memory).items() if name != "terminal_scale"}
    older["outcome_head.0.weight"] = older["outcome_head.0.weight"][:, :8]
    newer = Memory(4, 2, 8, 2)
    newer.rescale_terminal(5.0)
    load_module(newer, older)
    first, _, last = memory.outcome_head
    said = last(nn.functional.silu(nn.functional.linear(hidden, first.weight[:, :8], first.bias)))
    now = newer.predict(hidden, z)
    told = torch.stack([now.reward, now.terminal_reward, now.done_logit], -1)
    torch.testing.assert_close(told, said[:, :3])


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_the_done_head_is_calibrated_although_ends_weigh_ten_times(rate):
    logit = torch.zeros(1, requires_grad=True)
    terminated = (torch.arange(1000) < 1000 * rate).float()[None]
    zeros, ones = torch.zeros(1, 1000), torch.ones(1, 1000)
    density = mixture.from_outputs(torch.zeros(1, 1000, 3), 1, 1)
    targets = Targets(torch.zeros(1, 1000, 1), zeros, terminated, torch.zeros(1, 1000, 1), ones, ones)
    optimizer = torch.optim.Adam([logit], 0.05)
    for _ in range(400):
        prediction = Prediction(density, zeros, zeros, logit.expand(1, 1000), torch.zeros(1, 1000, 1))
        loss, _ = memory_loss(prediction, targets, 1.0, 10.0, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert math.isclose(done_probability(logit, 10.0).item(), rate, rel_tol=0.05)


def test_the_policys_density_is_torchs_normal():
    policy = ClippedGaussian(torch.randn(5, 3), torch.randn(5, 3) * 0.3)
    action = torch.randn(5, 3)
    normal = torch.distributions.Normal(policy.mean, policy.log_std.exp())
    torch.testing.assert_close(policy.logprob(action), normal.log_prob(action).sum(-1))
    torch.testing.assert_close(policy.entropy(), normal.entropy().sum(-1))


@given(st.floats(-1, 1), st.floats(-3, 0.5))
def test_the_deterministic_action_is_the_average_of_what_clipped_samples_do(mean, log_std):
    policy = ClippedGaussian(torch.tensor([mean]).double(), torch.tensor([log_std]).double())
    quantiles = (torch.arange(5_000).double() + 0.5) / 5_000  # samples without chance
    actions = policy.sample(torch.special.ndtri(quantiles)).clamp(-1, 1)
    assert policy.mode().item() == pytest.approx(actions.mean().item(), abs=1e-3)


def test_the_deterministic_action_is_the_mean_where_no_bound_is_near_and_keeps_its_distance_from_one():
    policy = ClippedGaussian(torch.tensor([0.3, -1.0, 1.0]), torch.tensor([-3.0, -1.5, -1.5]))
    middle, low, high = policy.mode().tolist()
    assert middle == pytest.approx(0.3, abs=1e-6)
    # half of a centred normal is clipped; the mean of the other half is sigma / sqrt(2 pi)
    assert (low, high) == (pytest.approx(-1 + math.exp(-1.5) / math.sqrt(2 * math.pi)), pytest.approx(-low))


@pytest.mark.parametrize("kind", ["mlp", "hidden", "linear"])
def test_the_actor_stays_inside_the_action_space_and_its_spread_inside_its_bounds(kind):
    policy = GaussianActor(10, 3, kind, (-3.0, 0.0))(torch.randn(100, 10) * 1000)
    assert policy.mean.abs().max() <= 1
    assert policy.log_std.min() >= -3
    assert policy.log_std.max() <= 0


@pytest.mark.parametrize("critic", [PlainCritic(40), AttentionCritic(40)])
def test_a_critic_learns_a_value_that_needs_two_features_at_once(critic):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(256, 40, generator=generator)
    value = features[:, 0] * features[:, 35]
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(300):
        loss = (critic(features) - value).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * value.var()
    assert critic(features.view(2, 128, 40)).shape == (2, 128)


def test_a_network_and_adam_survive_the_way_through_arrays():
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = Memory(4, 2, 8, 2)
        return net, torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-2)

    def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for i in steps:
            hidden, _ = net(torch.full((1, 2, 4), i / 7), torch.ones(1, 2, 2), net.start(1))
            optimizer.zero_grad()
            net.predict(hidden, hidden[..., :4]).reward.square().sum().backward()
            optimizer.step()

    whole, adam = make()
    train(whole, adam, range(10))
    half, adam = make()
    train(half, adam, range(5))
    saved = {k: np.array(v) for k, v in module_arrays(half).items()}, optimizer_arrays(adam)
    fresh, adam = make()
    load_module(fresh, saved[0])
    load_optimizer(adam, saved[1])
    train(fresh, adam, range(5, 10))
    for name, array in module_arrays(whole).items():
        assert np.array_equal(array, module_arrays(fresh)[name]), name


def test_weights_of_another_shape_are_refused_by_name():
    with pytest.raises(StoreCorruptError, match="expected"):
        load_module(Memory(4, 2, 8, 2), module_arrays(Memory(4, 2, 16, 2)))
    arrays = module_arrays(Memory(4, 2, 8, 2))
    del arrays["mixture_head.bias"]
    with pytest.raises(StoreCorruptError, match=r"mixture_head\.bias"):
        load_module(Memory(4, 2, 8, 2), arrays)


def test_the_page_counts_the_parameters_that_learn():
    config, actions, cpu = build_config("laptop"), BoxActions([-1, 0, 0], [1, 1, 1]), torch.device("cpu")
    vision, memory = new_vision(config, cpu), new_memory(config, config.vision.latent_size, actions.size, cpu)
    actor, critic = new_actor(config, memory.features, actions, cpu), new_critic(config, memory.features, cpu)
    page = (Path(__file__).parent.parent / "docs" / "how-it-works.md").read_text()
    told = dict(re.findall(r"^\| (V|M|C, actor|C, critic) \| ([0-9,]+) \|", page, re.MULTILINE))
    for name, net in (("V", vision), ("M", memory), ("C, actor", actor), ("C, critic", critic)):
        assert told[name] == f"{count(net):,}", name
