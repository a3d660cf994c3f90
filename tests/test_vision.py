"""What V is told to keep: faint pictures made visible, and the rewards of the next decisions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.test_episodes import episode
from wmloop.models.vision import HistogramEqualizer, Vision, reward_prediction_loss, to_images
from wmloop.training.latents import ahead


@settings(max_examples=25)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_ranks_follow_the_order_of_values_and_say_how_many_lie_below(values, seed):
    shades = np.array(values, np.uint8)
    pictures = np.stack([np.random.default_rng(seed + channel).permutation(shades) for channel in range(3)], -1)
    equaliser = HistogramEqualizer()
    equaliser.adapt([torch.from_numpy(pictures[None, None])])
    below = (np.array(values)[:, None] > values).mean(1)
    equal = (np.array(values)[:, None] == values).mean(1)
    asked = torch.from_numpy(shades).view(1, 1, 1, -1).expand(1, 3, 1, -1).float() / 255
    seen = equaliser(asked)
    assert torch.equal(seen[:, ::2], asked)
    ranks = seen[:, 1::2]
    for channel in range(3):
        np.testing.assert_allclose(ranks[0, channel, 0], 2 * (below + equal / 2) - 1, atol=1e-6)
    assert (equaliser.ranks.diff(dim=1) >= 0).all()


def test_two_common_greys_five_levels_apart_stand_far_apart_in_what_v_sees():
    frames = torch.full((4, 64, 64, 3), 100, dtype=torch.uint8)
    frames[2:] = 105
    vision = Vision("compact", 4)
    vision.look(frames.split(1))
    images = to_images(frames)
    ranks = vision.equaliser(images)[:, 1::2]
    assert abs(images[0] - images[3]).max() < 0.02
    torch.testing.assert_close(ranks[3] - ranks[0], torch.ones(3, 64, 64))


@pytest.mark.parametrize("network", ["compact", "equalised"])
def test_weights_of_values_and_of_ranks_lie_in_two_blocks_as_stored_agents_have_them(network):
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    vision = Vision(network, 4)
    vision.look([frames])
    images = to_images(frames)
    ranks = torch.stack([table[frames[..., k].long()] for k, table in enumerate(vision.equaliser.ranks)], 1)
    first = vision.encoder[0]
    blocks = F.conv2d(torch.cat([images, ranks], 1), first.weight, first.bias, first.stride, first.padding)
    torch.testing.assert_close(first(vision.equaliser(images)), blocks)


def test_what_lies_ahead_of_each_observation_are_the_rewards_from_its_own_decision_on():
    first, second = episode(3, seed=1), episode(12, seed=2)
    rewards, known = ahead([first, second], -1.5, 2.0)
    assert rewards.shape == known.shape == (4 + 13, 8)
    assert known.sum(1).tolist() == [3, 2, 1, 0] + [8] * 5 + [7, 6, 5, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(rewards[0, :3], np.maximum(first.rewards, -1.5) / 2)
    np.testing.assert_allclose(rewards[4 + 5, :7], np.maximum(second.rewards[5:], -1.5) / 2)
    assert (rewards[known == 0] == 0).all()


def test_a_guess_is_held_against_known_rewards_only():
    guess, rewards = torch.tensor([[1.0, 9.0], [4.0, 9.0]]), torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    known = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert reward_prediction_loss(guess, rewards, known) == 2.5
    assert reward_prediction_loss(guess, rewards, torch.zeros(2, 2)) == 0
