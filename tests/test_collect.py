"""A wave of episodes, driven in two halves beside the workers."""

import numpy as np
import pytest
import torch

from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.envs import EnvPool, PixelEnv
from wmloop.models.agent import Agent
from wmloop.stages.collect import UNLIMITED, Task, drive, halves, wave_size, waves
from wmloop.stages.promises import Trace
from wmloop.stages.weights import new_actor, new_memory, new_vision

CPU = torch.device("cpu")
CONFIG = build_config("smoke", tiny_config())
TINY = CONFIG.env
LIMITS = [3, 9, 1, 6, 2, 8, 5, 4, 7, 3, 2]


def plan(task):
    """Return what is done in a task, whoever drives it: nothing that would end the episode early."""
    return np.random.default_rng(task).uniform(-0.1, 0.1, (max(LIMITS), 2)).astype(np.float32)


def planned(copies, turns, frames):
    return np.stack([plan(turn.task)[turn.t] if turn else np.zeros(2, np.float32) for turn in turns])


def nothing(frames, picture):
    pass


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 16])
def test_each_task_is_driven_whole_and_as_if_alone_however_many_copies_share_them(copies):
    told = []
    with EnvPool(TINY, copies) as pool:
        wave = [Task(100 + i, limit, quiet=i % 2 == 0) for i, limit in enumerate(LIMITS)]
        driven = drive(pool, wave, planned, lambda frames, picture: told.append(frames))
    assert list(driven) == list(range(len(LIMITS)))
    assert sum(told) == sum(episode.frames for episode in driven.values())
    env = PixelEnv(TINY)
    for i, episode in driven.items():
        assert (episode.seed, len(episode), episode.quiet) == (100 + i, LIMITS[i], i % 2 == 0)
        assert (episode.terminated, episode.truncated) == (False, True)
        np.testing.assert_array_equal(episode.observations[0], env.reset(100 + i))
        for t, action in enumerate(plan(i)[: LIMITS[i]]):
            np.testing.assert_array_equal(episode.actions[t], action)
            picture, reward, *_ = env.step(action)
            np.testing.assert_array_equal(episode.observations[t + 1], picture)
            assert episode.rewards[t] == np.float32(reward)


@pytest.mark.parametrize("copies", [1, 3, 4])
def test_a_half_that_has_driven_its_share_begins_nothing_and_finishes_what_it_has_begun(copies):
    wave = [Task(seed, 4) for seed in range(60)]
    frames = 4 * TINY.action_repeat
    for enough in (1, 10 * frames, 1000 * frames):
        with EnvPool(TINY, copies) as pool:
            driven = drive(pool, wave, planned, nothing, enough)
        assert {episode.frames for episode in driven.values()} == {frames}
        parts = halves(copies)
        for k, part in enumerate(parts):
            begun = sum(number % len(parts) == k for number in driven)
            needed = min(-(-enough // len(parts) // frames), len(range(k, 60, len(parts))))
            assert needed <= begun <= max(needed + len(part) - 1, len(part))


def test_waves_hold_all_tasks_in_order_and_differ_by_one_at_most():
    for count in (1, 7, 8, 9, 100):
        tasks = [Task(seed, UNLIMITED) for seed in range(count)]
        cut = waves(tasks, 2)
        assert [task for wave in cut for task in wave] == tasks
        assert max(map(len, cut)) <= wave_size(2)
        assert max(map(len, cut)) - min(map(len, cut)) <= 1
        assert len(cut) == -(-count // wave_size(2))
    assert waves([], 2) == []


def test_m_has_seen_nothing_of_the_episode_that_a_copy_drove_before():
    torch.manual_seed(0)
    networks = new_vision(CONFIG, CPU), new_memory(CONFIG, 2, CPU), new_actor(CONFIG, 2, CPU)
    with EnvPool(TINY, 2) as pool:
        agent = Agent(*networks, pool.action_low, pool.action_high)
        wave = [Task(seed, 6) for seed in range(6)]
        trace = Trace(agent, halves(2))
        driven = drive(pool, wave, trace.act, nothing)
        for i, episode in driven.items():
            alone = Trace(agent, halves(2))
            drive(pool, [wave[i]], alone.act, nothing)
            for mine, theirs in zip(trace.of(i, 0, len(episode)), alone.of(0, 0, len(episode)), strict=True):
                assert len(mine) == 6
                torch.testing.assert_close(mine, theirs)


class _GivenUpError(Exception):
    pass


@pytest.mark.parametrize("gives_up", [False, True])
def test_whoever_decides_has_one_thread_and_exact_products_and_all_is_as_before_when_the_wave_ends(gives_up):
    seen = set()

    def decide(copies, turns, frames):
        seen.add((torch.get_num_threads(), torch.get_float32_matmul_precision()))
        if gives_up and any(turn.t for turn in turns if turn):
            raise _GivenUpError
        return np.zeros((len(copies), 2), np.float32)

    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    try:
        with EnvPool(TINY, 4) as pool:
            wave = [Task(seed, 3) for seed in range(3)]
            if gives_up:
                with pytest.raises(_GivenUpError):
                    drive(pool, wave, decide, nothing)
            else:
                driven = drive(pool, wave, decide, nothing)
                assert [(episode.seed, len(episode.actions)) for episode in driven.values()] == [(0, 3), (1, 3), (2, 3)]
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "medium")
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
    assert seen == {(1, "highest")}
