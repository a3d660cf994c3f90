"""How much is driven: as many frames as are wanted, by whole episodes, long and short alike."""

import itertools
import types

import numpy as np
import pytest
import torch

from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.errors import Interrupted
from wmloop.events import Progress
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store
from wmloop.training import context
from wmloop.training.waves import first_wave, policy_wave


def stage(iteration, *before, **settings):
    """Return what a rollout stage asks of its context; `before` are (frames, episodes) of the iterations before."""
    config = build_config("laptop", tiny_config(), {"rollout": {}, "env": {"episode_frames": 1000, "action_repeat": 4}})
    config = config.model_copy(
        update={
            "env": config.env.model_copy(update={"num_envs": settings.get("num_envs", 20)}),
            "rollout": config.rollout.model_copy(
                update={"frames": settings.get("frames", 32_000), "prefill": settings.get("first", ((16, 40),))}
            ),
        }
    )
    versions = [
        types.SimpleNamespace(iteration=i, metrics={"frames": float(frames), "episodes": float(episodes)})
        for i, (frames, episodes) in enumerate(before)
    ]
    return types.SimpleNamespace(config=config, iteration=iteration, collected=lambda: versions)


def lengths(rng, count):
    """Return frames of episodes as CarRacing's are: laps, runs out of time, and some early ends."""
    kind = rng.random(count)
    laps, early = rng.normal(780, 40, count), rng.uniform(120, 400, count)
    return np.where(kind < 0.6, laps, np.where(kind < 0.8, 1000, early)).round().astype(int)


def so_far(lengths, frames_a_decision=1):
    """Return what a stage has driven: episodes of so many decisions."""
    decisions = sum(lengths)
    return types.SimpleNamespace(episodes=len(lengths), decisions=decisions, frames=decisions * frames_a_decision)


def driven(rng, ctx):
    """Return the frames of each episode of one stage."""
    episodes: list[int] = []
    while wave := policy_wave(ctx, so_far(episodes)):
        assert len(wave) <= ctx.config.env.num_envs
        episodes += lengths(rng, len(wave)).tolist()
    return episodes


@pytest.mark.parametrize(("num_envs", "frames"), [(20, 32_000), (64, 64_000), (16, 32_000)])
def test_as_many_frames_are_driven_as_were_wanted_and_short_episodes_are_not_preferred(num_envs, frames):
    rng = np.random.default_rng(0)
    ctx = stage(2, (41_000, 128), (32_000, 40), num_envs=num_envs, frames=frames)
    stages = [driven(rng, ctx) for _ in range(500)]
    totals = np.array([sum(episodes) for episodes in stages])
    assert abs(totals.mean() / frames - 1) < 0.02
    assert np.quantile(np.abs(totals / frames - 1), 0.9) < 0.05
    mean = lengths(rng, 200_000).mean()
    assert np.mean([np.mean(episodes) for episodes in stages]) == pytest.approx(mean, rel=0.01)


@pytest.mark.parametrize(("before", "width"), [
    (((41_000, 128),), 4),  # after random driving: as if every episode were as long as can be
    (((41_000, 128), (32_000, 64)), 8),
    (((41_000, 128), (32_000, 4)), 1),  # one at least
])  # fmt: skip
def test_the_first_wave_is_as_wide_as_what_is_known_of_episodes_lets_it_be(before, width):
    ctx = stage(len(before), *before, frames=4_000)
    assert len(policy_wave(ctx, so_far([]))) == width


def test_each_episode_has_a_track_of_its_own_and_a_quarter_of_them_is_quiet():
    ctx = stage(2, (1, 1), (32_000, 40))
    first = policy_wave(ctx, so_far([]))
    second = policy_wave(ctx, so_far([16_000] + [0] * (len(first) - 1)))
    tasks = [*first, *second]
    assert len({task.seed for task in tasks}) == len(tasks)
    assert sum(task.deterministic for task in tasks) == len(tasks) // 4
    alone = [
        policy_wave(stage(2, (1, 1), (32_000, 40), num_envs=1), so_far([800] * (n - 1) + [801]))[0] for n in range(1, 9)
    ]
    assert sum(task.deterministic for task in alone) == 2


def test_random_driving_goes_on_until_the_decisions_are_there_though_episodes_end_at_once():
    rng, ctx = np.random.default_rng(0), stage(0, first=((16, 40), (8, 80)))
    episodes: list[int] = []
    for _ in itertools.count():
        wave = first_wave(ctx, so_far(episodes))
        if not wave:
            break
        episodes += [min(task.decisions, int(rng.geometric(0.1))) for task in wave]
    assert sum(episodes) == pytest.approx(16 * 40 + 8 * 80, rel=0.05)
    mixed = ((64, 50), (48, 80), (16, 150))  # what is added is of the last kind, twice as long as the rest
    for _ in range(100):
        few: list[int] = []
        ctx = stage(0, first=mixed)
        while wave := first_wave(ctx, so_far(few)):
            few += [min(task.decisions, int(rng.geometric(0.001))) for task in wave]
        assert sum(few) == pytest.approx(9440, rel=0.02)
    ctx, whole = stage(0, first=((16, 40), (8, 80))), list[int]()
    while wave := first_wave(ctx, so_far(whole)):
        whole += [task.decisions for task in wave]
    assert sorted(whole) == [40] * 16 + [80] * 8


def test_the_rate_of_a_resumed_stage_counts_only_what_it_does_itself(tmp_path, monkeypatch):
    """Two waves of an interrupted rollout are on disk: the rate that is told is that of the waves after them."""
    told, now = [], 0.0
    monkeypatch.setattr(context, "time", types.SimpleNamespace(monotonic=lambda: now))
    config = build_config("smoke", tiny_config(), {"rollout": {"prefill": [[6, 40]]}, "env": {"num_envs": 2}})
    stage, store = WORLD_MODEL.stages[0], Store.create(tmp_path, "run", to_toml(config), {})

    def roll(should_stop):
        ctx = context.StageContext(
            config, WORLD_MODEL, 0, stage.name, stage.unit, torch.device("cpu"), list, list, store.draft(0, stage.name),
            told.append, should_stop,
        )  # fmt: skip
        return stage.run(ctx)

    def two_waves_are_there():
        return sum(path.name.startswith("episodes-") for path in store.draft(0, stage.name).path.iterdir()) == 2

    with pytest.raises(Interrupted):
        roll(two_waves_are_there)
    told.clear()
    resumes, before = context.StageContext.found, 0

    def found(self, done):
        nonlocal now, before
        now, before = 100.0, done
        resumes(self, done)
        now = 110.0  # ten seconds, in which the third wave is driven

    monkeypatch.setattr(context.StageContext, "found", found)
    roll(lambda: False)
    last = [event for event in told if isinstance(event, Progress)][-1]
    assert last.done > before > 0
    assert last.rate == pytest.approx((last.done - before) / 10)
