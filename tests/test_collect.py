"""A wave of episodes, driven in two halves beside the workers."""

import numpy as np
import pytest
import torch

from tests.tiny_env import tiny_config
from wmloop.agents.collector import EpisodeTask, drive
from wmloop.config import build_config
from wmloop.envs import EnvPool

TINY = build_config("smoke", tiny_config()).env


class _GivenUpError(Exception):
    pass


@pytest.mark.parametrize("gives_up", [False, True])
def test_whoever_decides_has_one_thread_and_exact_products_and_all_is_as_before_when_the_wave_ends(gives_up):
    seen = set()

    def decide(t, copies, frames):
        seen.add((torch.get_num_threads(), torch.get_float32_matmul_precision()))
        if gives_up and t:
            raise _GivenUpError
        return np.zeros((len(copies), 2), np.float32)

    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    try:
        with EnvPool(TINY, 4) as pool:
            wave = [EpisodeTask(seed, 3) for seed in range(3)]
            if gives_up:
                with pytest.raises(_GivenUpError):
                    drive(pool, wave, decide, lambda frames, picture: None)
            else:
                driven = drive(pool, wave, decide, lambda frames, picture: None)
                assert [(episode.seed, len(episode.actions)) for episode in driven] == [(0, 3), (1, 3), (2, 3)]
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "medium")
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
    assert seen == {(1, "highest")}
