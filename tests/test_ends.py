"""A memoryless world, whose ends cannot be seen coming: M has to know how often they come, and what that is worth."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wmloop.calibration.ends import BINS, by_bin, calibration, ends
from wmloop.calibration.gap import gap
from wmloop.calibration.windows import HORIZON, ReturnForecast, windows
from wmloop.config import build_config
from wmloop.dreams import Noise, foretell, rollout
from wmloop.episodes import Episode, Replay
from wmloop.learn.optim import adam, clipped_step, warmup_decay
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Memory
from wmloop.models.policies import ClippedGaussian
from wmloop.spaces import BoxActions
from wmloop.training.experience import LatentReplay, draw, filter_states

CPU = torch.device("cpu")
HAZARD, CAP, REWARD, TERMINAL = 0.02, 120, 1.0, -20.0
LATENT = 2
CONFIG = build_config(
    "smoke",
    {"env": {"id": "any", "episode_frames": CAP}},
    {"memory": {"hidden_size": 16, "num_mixtures": 1, "sequence_length": 32, "batch_size": 32, "recency_decay": 1.0}},
)


def episodes(count, seed):
    rng = np.random.default_rng(seed)
    for i in range(count):
        end = int(rng.geometric(HAZARD))
        rewards = np.full(min(end, CAP), REWARD, np.float32)
        if end <= CAP:
            rewards[-1] = TERMINAL
        actions = rng.uniform(-1, 1, (len(rewards), 1)).astype(np.float32)
        yield Episode(np.zeros(0), actions, rewards, end <= CAP, end > CAP, i, len(rewards))


def experience(driven, seed, shown):
    """Return them with random latents, the last of which, where ends are not `shown`, repeats the one before."""
    replay = Replay([driven], BoxActions([-1], [1]))
    rng = np.random.default_rng(seed)

    class Latents:
        files = ("latents-0000.safetensors",)

        def tensors(self, name):
            mu = rng.normal(size=(1, len(replay.rewards), LATENT)).astype(np.float32)
            if not shown:
                ended = np.flatnonzero(replay.terminated)
                mu[:, ended + 1] = mu[:, ended]
            return {"mu": mu, "logvar": np.full_like(mu, -2.0)}

    return LatentReplay.of(CONFIG, replay, Latents(), 1.0, CPU)


@pytest.fixture(scope="module", params=["ends are shown", "ends are not shown"])
def trained(request):
    torch.manual_seed(0)
    shown = request.param == "ends are shown"
    seen = experience(list(episodes(1500, 0)), 0, shown)
    assert seen.ends_shown == shown
    memory, config = Memory(LATENT, 1, 16, 1), CONFIG.memory
    memory.rescale_terminal(seen.terminal_scale)
    states = filter_states(memory, seen)
    optimizer = adam([p for p in memory.parameters() if p.requires_grad], 1e-2)
    steps = 600
    for i in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = warmup_decay(1e-2, i, steps, 20)
        batch = draw(seen, states, config, np.random.default_rng([7, i]), torch.Generator().manual_seed(i))
        loss, _ = memory.loss(*batch, 2.0, 10.0, 0.0)
        clipped_step(loss, optimizer, config.max_grad_norm)
    driven = list(episodes(800, 1))
    held_out = experience(driven, 1, shown)
    return memory, driven, held_out, filter_states(memory, held_out)


def rows(replay, episode, decisions):
    return replay.first[episode] + decisions


def test_of_fewer_than_ten_ends_nothing_follows_from_what_they_show():
    driven = [episode for episode in episodes(40, 3) if episode.terminated]
    assert [experience(driven[:count], 0, shown=False).ends_shown for count in (1, 9, 10, 20)] == [
        True,
        True,
        False,
        False,
    ]


@torch.no_grad()
def test_as_many_ends_are_expected_as_come(trained):
    memory, driven, held_out, states = trained
    row = np.concatenate([rows(held_out.replay, i, np.arange(len(episode))) for i, episode in enumerate(driven)])
    row, generator = torch.from_numpy(row), torch.Generator().manual_seed(0)
    _, done = foretell(Kernel(memory, 1.0, 10.0), states.at((0, row)), held_out.actions[0, row], 1, generator)
    told = []
    for episode, expected in zip(driven, done.double().split([len(episode) for episode in driven]), strict=True):
        came = np.zeros(len(episode))
        came[-1] = episode.terminated
        told.append(ReturnForecast([], [], [], ends=by_bin(expected.numpy(), came)))
    figures = ends(told)
    assert figures["terminations"] > 600
    assert figures["predicted_terminations"] == pytest.approx(figures["terminations"], rel=0.15)


@torch.no_grad()
def test_what_is_promised_is_what_is_paid(trained):
    memory, driven, held_out, states = trained
    asked = [windows(episode, 0, CAP, None) for episode in driven]
    starts = [(i, window) for i, some in enumerate(asked) for window in some]
    row = np.array([rows(held_out.replay, i, window.start) for i, window in starts])
    begin = states.at((0, torch.from_numpy(row)))
    noise = Noise.draw(HORIZON, len(row), LATENT, 1, torch.Generator().manual_seed(0))

    def anything(features):
        return ClippedGaussian(torch.zeros(len(features), 1), torch.zeros(len(features), 1))

    batch = rollout(Kernel(memory, 1.0, 10.0), anything, begin, noise)
    due = (batch.survival[:-1] * batch.expected).cumsum(0).numpy()
    told = [ReturnForecast([], [], [], [], len(episode)) for episode in driven]
    for place, (i, window) in enumerate(starts):
        told[i].predicted.append(float(due[window.horizon - 1, place]))
        told[i].real.append(float(driven[i].rewards[window.start : window.start + window.length].sum()))
        told[i].steps.append(window.length)
    metrics = gap(told)
    # M has learnt from 1500 episodes, of which some 1380 ended: its own hazard has an error, too
    learnt = abs(metrics["predicted_return"]) / np.sqrt(1380)
    assert abs(metrics["return_gap_points"]) < 3 * np.hypot(metrics["return_gap_points_se"], learnt)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_the_bins_hold_every_step_once_and_their_means_add_up_to_all_terminations(told):
    expected, came = np.array([p for p, _ in told]), np.array([float(ended) for _, ended in told])
    found = calibration(ends([ReturnForecast([], [], [], ends=by_bin(expected, came))]))
    assert sum(one.decisions for one in found) == len(told)
    assert sum(one.decisions * one.expected for one in found) == pytest.approx(expected.sum())
    assert sum(one.decisions * one.ended for one in found) == pytest.approx(came.sum())
    assert [one.low for one in found] == sorted(one.low for one in found)
    assert all(
        one.low <= one.expected <= one.high and (one.low, one.high) in set(itertools.pairwise(BINS)) for one in found
    )
