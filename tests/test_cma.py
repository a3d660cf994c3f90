"""CMA-ES: its invariances, closed forms, and problems that it must solve."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmloop.errors import DivergedError
from wmloop.learn.cma import CMAES
from wmloop.models.state import load_module, module_arrays

KINDS = pytest.mark.parametrize("diagonal", [False, True], ids=["full", "separable"])


def noise(seed, generation, population, size):
    rng = np.random.default_rng((seed, generation))
    return torch.from_numpy(rng.standard_normal((population, size)))


def evolve(function, mean, sigma, population, generations, diagonal=False, seed=0, goal=math.inf):
    """Return the search after so many generations, or once a candidate is worth `goal`, and how many were looked at."""
    search, looked = CMAES(torch.tensor(mean, dtype=torch.float64), sigma, population, diagonal), 0
    for generation in range(generations):
        z = noise(seed, generation, population, len(mean))
        fitness = function(search.ask(z))
        search.tell(z, fitness)
        looked += population
        if fitness.max() >= goal:
            break
    return search, looked


def sphere(x):
    return -x.square().sum(-1)


def ellipsoid(x):
    return -(x.square() * 10.0 ** torch.linspace(0, 6, x.shape[-1], dtype=x.dtype)).sum(-1)


def rosenbrock(x):
    return -(100 * (x[..., 1:] - x[..., :-1].square()).square() + (1 - x[..., :-1]).square()).sum(-1)


def turned(function, size):
    """Return the function in other coordinates, turned at random."""
    axes, _ = torch.linalg.qr(noise(99, 0, size, size))
    return lambda x: function(x @ axes.T)


@KINDS
@pytest.mark.parametrize(
    ("function", "generations"),
    [(sphere, 220), (ellipsoid, 500), (rosenbrock, 900)],
    ids=lambda f: getattr(f, "__name__", ""),
)
def test_it_finds_the_top_of_hills_that_are_round_long_and_bent(function, generations, diagonal):
    if function is rosenbrock and diagonal:
        pytest.skip("a bent valley is what a diagonal does not follow")
    search, _ = evolve(function, [3.0] * 8, 0.5, 12, generations, diagonal)
    assert function(search.mean) > -1e-10
    assert search.sigma < 1e-4


def test_the_full_covariance_finds_a_long_hill_that_is_turned_and_the_diagonal_one_is_far_behind():
    problem = turned(ellipsoid, 8)
    full, _ = evolve(problem, [3.0] * 8, 0.5, 12, 500)
    diagonal, _ = evolve(problem, [3.0] * 8, 0.5, 12, 500, diagonal=True)
    assert problem(full.mean) > -1e-10
    assert problem(diagonal.mean) < -1e-3


def test_the_covariance_becomes_the_inverse_of_the_curvature():
    search, _ = evolve(ellipsoid, [3.0] * 6, 0.5, 12, 500)
    shape = search.covariance.diagonal().log10()
    fitted = np.polyfit(torch.linspace(0, 6, 6).numpy(), shape.numpy(), 1)[0]
    assert abs(fitted + 1) < 0.15


@KINDS
def test_where_fitness_says_nothing_sigma_stays_what_it_is_on_average(diagonal):
    ends = []
    for seed in range(40):
        luck = np.random.default_rng(1000 + seed)
        blind = lambda x, luck=luck: torch.from_numpy(luck.standard_normal(len(x)))  # noqa: E731
        ends.append(float(evolve(blind, [0.0] * 10, 1.0, 12, 60, diagonal, seed)[0].sigma.log()))
    assert abs(np.mean(ends)) < 4 * np.std(ends) / math.sqrt(len(ends))


@KINDS
@settings(max_examples=25)
@given(
    shift=st.lists(st.sampled_from([-8.0, -0.5, 0.0, 2.0, 64.0]), min_size=4, max_size=4), power=st.sampled_from([1, 3])
)
def test_it_is_the_same_search_wherever_the_problem_lies_and_however_fitness_is_scaled(diagonal, shift, power):
    offset = torch.tensor(shift, dtype=torch.float64)
    here, _ = evolve(ellipsoid, [1.0] * 4, 0.5, 8, 30, diagonal)
    there, _ = evolve(
        lambda x: 7 + 5 * ellipsoid(x - offset).clamp(max=0).abs().pow(power).neg(),
        (1 + offset).tolist(),
        0.5,
        8,
        30,
        diagonal,
    )
    torch.testing.assert_close(there.mean - offset, here.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(there.sigma, here.sigma, rtol=1e-6, atol=0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), population=st.integers(4, 20), size=st.integers(1, 9))
def test_the_covariance_stays_symmetric_and_positive_definite_whatever_is_told(seed, population, size):
    search = CMAES(torch.zeros(size), 0.5, population)
    for generation in range(12):
        z = noise(seed, generation, population, size)
        search.tell(z, z[:, 0].abs() * (-1) ** generation)
    torch.testing.assert_close(search.covariance, search.covariance.T)
    assert torch.linalg.eigvalsh(search.covariance).min() > 0
    assert search.sigma > 0


def test_one_generation_is_what_the_equations_say():
    size, population = 3, 6
    search = CMAES(torch.zeros(size), 0.5, population)
    z = noise(5, 0, population, size)
    order = np.argsort(-(z[:, 0]).numpy(), kind="stable")[:3]
    search.tell(z, z[:, 0])
    weights = np.log(3.5) - np.log([1, 2, 3])
    weights /= weights.sum()
    mass = 1 / (weights**2).sum()
    step = weights @ z.numpy()[order]
    assert np.allclose(search.mean, 0.5 * step)
    c_sigma = (mass + 2) / (size + mass + 5)
    path = math.sqrt(c_sigma * (2 - c_sigma) * mass) * step
    assert np.allclose(search.path_sigma, path)
    norm = math.sqrt(2) * math.gamma(2) / math.gamma(1.5)  # E|N(0, I)| in three dimensions, exactly
    damping = 1 + 2 * max(0, math.sqrt((mass - 1) / (size + 1)) - 1) + c_sigma
    assert np.isclose(search.sigma, 0.5 * math.exp(c_sigma / damping * (np.linalg.norm(path) / norm - 1)), rtol=1e-3)
    c_1 = 2 / ((size + 1.3) ** 2 + mass)
    c_mu = 2 * (0.25 + mass + 1 / mass - 2) / ((size + 2) ** 2 + mass)
    c_c = (4 + mass / size) / (size + 4 + 2 * mass / size)
    path_c = math.sqrt(c_c * (2 - c_c) * mass) * step
    outer = (weights[:, None, None] * z.numpy()[order][:, :, None] * z.numpy()[order][:, None]).sum(0)
    assert np.allclose(
        search.covariance, (1 - c_1 - c_mu) * np.eye(size) + c_1 * np.outer(path_c, path_c) + c_mu * outer
    )


@KINDS
def test_a_search_taken_up_from_its_arrays_goes_on_bit_for_bit(diagonal):
    whole, _ = evolve(rosenbrock, [2.0] * 5, 0.5, 8, 40, diagonal)
    torn, _ = evolve(rosenbrock, [2.0] * 5, 0.5, 8, 17, diagonal)
    again = CMAES(torch.ones(5), 9.0, 8, diagonal)
    load_module(again, {name: array.copy() for name, array in module_arrays(torn).items()})
    for generation in range(17, 40):
        z = noise(0, generation, 8, 5)
        again.tell(z, rosenbrock(again.ask(z)))
    assert all(torch.equal(a, b) for a, b in zip(again.buffers(), whole.buffers(), strict=True))


@pytest.mark.parametrize("worth", [math.nan, math.inf, -math.inf])
def test_a_fitness_that_is_no_number_is_refused_and_changes_nothing(worth):
    search, _ = evolve(sphere, [1.0] * 3, 0.5, 6, 4)
    before = [part.clone() for part in search.buffers()]
    with pytest.raises(DivergedError, match="fitness of 1 of 6 candidates is not finite"):
        search.tell(noise(0, 9, 6, 3), torch.tensor([1.0, 2.0, worth, 0.0, 1.0, 2.0]))
    assert all(torch.equal(a, b) for a, b in zip(search.buffers(), before, strict=True))


@pytest.mark.parametrize(("function", "begin"), [(sphere, 3.0), (rosenbrock, 0.0)], ids=["sphere", "rosenbrock"])
@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "separable"])
def test_it_needs_about_as_many_looks_as_the_package_cma(function, begin, diagonal):
    if diagonal and function is rosenbrock:
        pytest.skip("a bent valley is what a diagonal does not follow")
    with warnings.catch_warnings():  # it warns where there is no matplotlib, and of its own defaults
        warnings.simplefilter("ignore")
        cma = pytest.importorskip("cma")
        size, population = 8, 10
        ours, theirs = [], []
        for seed in range(3):
            ours.append(evolve(function, [begin] * size, 0.5, population, 3000, diagonal, seed, -1e-9)[1])
            rng = np.random.default_rng(seed)
            told = {"popsize": population, "verbose": -9, "verb_log": 0, "signals_filename": "", "seed": np.nan}
            told |= {"CMA_diagonal": diagonal, "randn": lambda *shape, rng=rng: rng.standard_normal(shape)}
            other, costs = cma.CMAEvolutionStrategy([begin] * size, 0.5, told), [math.inf]
            while min(costs) > 1e-9:
                asked = other.ask()
                costs = [-float(function(torch.from_numpy(np.asarray(x)))) for x in asked]
                other.tell(asked, costs)
            theirs.append(other.countevals)
    assert np.median(ours) < 1.6 * np.median(theirs)
    assert np.median(theirs) < 1.6 * np.median(ours)
