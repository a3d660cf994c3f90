"""The mixture's mathematics, as properties."""

import math
from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, MixtureSameFamily, Normal

from wmloop.models import mixture

temperatures = st.floats(0.05, 3.0)


@st.composite
def mixtures(draw, latent=None, low=-3.0, high=3.0):
    latent = latent or draw(st.integers(1, 4))
    components = draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.empty(components, latent).uniform_(-2, 2, generator=generator)
    mean = torch.empty(components, latent).uniform_(low, high, generator=generator)
    log_std = torch.empty(components, latent).uniform_(-2, 1, generator=generator)
    return mixture.Mixture(logits, mean, log_std)


def draws(density, count, temperature, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, density.mean.shape[-1])
    wide = mixture.Mixture(*(part.expand(count, *part.shape) for part in density))
    uniform, normal = torch.rand(shape, generator=generator), torch.randn(shape, generator=generator)
    return mixture.sample(wide, uniform, normal, temperature)


def tempered(density, temperature):
    weights = torch.softmax(density.logits / temperature, -2)
    variance = density.log_std.exp().square() * temperature
    mean = (weights * density.mean).sum(-2)
    return weights, mean, (weights * (variance + density.mean.square())).sum(-2) - mean.square()


def fourth(density, temperature):
    """Return the fourth central moment: samples of it miss the components that are drawn once in thousands."""
    weights, mean, _ = tempered(density, temperature)
    variance, away = density.log_std.exp().square() * temperature, density.mean - mean
    return (weights * (away.pow(4) + 6 * away.square() * variance + 3 * variance.square())).sum(-2)


@settings(max_examples=40)
@given(mixtures(), temperatures, st.integers(0, 2**31))
def test_samples_have_the_analytic_mean_and_variance_at_any_temperature(density, temperature, seed):
    count = 40_000
    z = draws(density, count, temperature, seed)
    _, mean, variance = tempered(density, temperature)
    assert ((z.mean(0) - mean).abs() <= 6 * (variance / count).sqrt() + 1e-4).all()
    assert ((z.var(0) - variance).abs() <= 6 * (fourth(density, temperature) / count).sqrt() + 1e-4).all()


@settings(max_examples=40)
@given(mixtures(), temperatures, st.integers(0, 2**31))
def test_components_are_drawn_as_often_as_their_tempered_weights_say(density, temperature, seed):
    count = 20_000
    names = torch.arange(len(density.mean), dtype=torch.float32)[:, None].expand_as(density.mean) * 1000
    told = mixture.Mixture(density.logits, names, torch.full_like(density.log_std, -5.0))
    z = draws(told, count, temperature, seed)
    weights, _, _ = tempered(told, temperature)
    for k in range(len(weights)):
        frequency = ((z / 1000).round() == k).float().mean(0)
        bound = 6 * (weights[k] * (1 - weights[k]) / count).sqrt() + 1e-3
        assert ((frequency - weights[k]).abs() <= bound).all()


@settings(max_examples=60)
@given(mixtures(), st.floats(-30, 30))
def test_log_probability_equals_torch_mixture_same_family(density, value):
    z = torch.full((density.mean.shape[-1],), value)
    logits, mean, log_std = (part.t() for part in density)
    reference = MixtureSameFamily(Categorical(logits=logits), Normal(mean, log_std.exp()))
    torch.testing.assert_close(mixture.log_prob(density, z), reference.log_prob(z), rtol=1e-4, atol=1e-4)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.floats(0, 1e30), st.floats(1e-6, 100))
def test_everything_stays_finite_for_extreme_network_outputs(seed, scale, temperature):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(3, 3 * 2 * 5, generator=generator) * scale
    density = mixture.from_outputs(raw, 2, 5)
    uniform = torch.tensor([[0.0, 1 - 2**-24]]).expand(3, 2)
    z = mixture.sample(density, uniform, torch.full((3, 2), 5.0), temperature)
    assert torch.isfinite(z).all()
    near = density.mean[..., 0, :].clamp(-1e6, 1e6)
    if scale < 1e6:
        assert torch.isfinite(mixture.log_prob(density, near)).all()


@settings(max_examples=40)
@given(mixtures(), st.integers(0, 2**31))
def test_a_vanishing_temperature_gives_the_most_probable_components_mean(density, seed):
    top = density.logits.sort(0, descending=True).values
    if len(top) > 1 and (top[0] - top[1]).min() < 1e-3:
        return  # a tie has no mode
    z = draws(density, 50, 1e-10, seed)
    mode = density.mean.gather(0, density.logits.argmax(0, keepdim=True)).squeeze(0)
    torch.testing.assert_close(z, mode.expand_as(z), rtol=0, atol=2e-4)


@settings(max_examples=30)
@given(mixtures(low=0.0, high=0.0), st.integers(0, 2**31))
def test_a_higher_temperature_widens_a_mixture_around_one_centre(density, seed):
    one = mixture.Mixture(density.logits, density.mean, torch.full_like(density.log_std, 0.3))
    spread = [draws(one, 20_000, tau, seed).std(0) for tau in (0.3, 1.0, 1.15, 2.5)]
    assert all((narrow < wide).all() for narrow, wide in pairwise(spread))
    torch.testing.assert_close(spread[1], torch.full_like(spread[1], math.exp(0.3)), rtol=0.05, atol=0)


@settings(max_examples=30)
@given(mixtures(latent=2), temperatures, st.integers(0, 2**31))
def test_latent_dimensions_are_drawn_independently(density, temperature, seed):
    count = 30_000
    z = draws(density, count, temperature, seed)
    assert abs(float(torch.corrcoef(z.t())[0, 1])) < 6 / math.sqrt(count)


def test_one_dimensions_noise_moves_only_that_dimension():
    density = mixture.from_outputs(torch.randn(1, 3 * 4 * 5, generator=torch.Generator().manual_seed(0)), 4, 5)
    uniform, normal = torch.full((1, 4), 0.4), torch.zeros(1, 4)
    before = mixture.sample(density, uniform, normal, 1.0)
    moved = mixture.sample(density, uniform, torch.tensor([[0.0, 0.0, 2.0, 0.0]]), 1.0)
    assert (before != moved).tolist() == [[False, False, True, False]]
