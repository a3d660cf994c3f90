"""A wave of episodes, driven in two halves beside the workers."""

import numpy as np
import pytest
import torch

from tests.tiny_env import tiny_config
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.random_walk import RandomWalk
from wmloop.config import build_config
from wmloop.envs import EnvPool

TINY = build_config("smoke", tiny_config()).env


class _GivenUpError(Exception):
    pass


@pytest.mark.parametrize("gives_up", [False, True])
def test_whoever_decides_has_one_thread_and_exact_products_and_all_is_as_before_when_the_wave_ends(gives_up):
    seen = set()

    class Resting:
        """An agent that carries the number of its decision, and rests."""

        def start(self, num_envs):
            return 0

        def act(self, t, observations, exploration=None):
            seen.add((torch.get_num_threads(), torch.get_float32_matmul_precision()))
            if gives_up and t:
                raise _GivenUpError
            return np.zeros((len(observations), 2), np.float32), t + 1

    agents = dict.fromkeys(halves(4), Resting())
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    try:
        with EnvPool(TINY, 4) as pool:
            wave = [EpisodeTask(seed, 3) for seed in range(3)]
            if gives_up:
                with pytest.raises(_GivenUpError):
                    drive(pool, wave, agents, lambda frames, picture: None)
            else:
                driven = drive(pool, wave, agents, lambda frames, picture: None)
                assert [(episode.seed, len(episode.actions)) for episode in driven] == [(0, 3), (1, 3), (2, 3)]
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "medium")
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
    assert seen == {(1, "highest")}


def test_random_walks_drive_each_episode_by_its_own_plan_whatever_half_it_is_in():
    plan = np.random.default_rng(0).uniform(-0.1, 0.1, (7, 4, 2)).astype(np.float32)
    with EnvPool(TINY, 4) as pool:
        agents = {copies: RandomWalk(plan[:, copies.start :: copies.step]) for copies in halves(4)}
        wave = [EpisodeTask(seed, 4 + seed) for seed in range(4)]
        driven = drive(pool, wave, agents, lambda frames, picture: None)
    for i, episode in enumerate(driven):
        np.testing.assert_array_equal(episode.actions, plan[: 4 + i, i])
