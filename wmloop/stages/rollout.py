"""Rollout: the current C (at first: correlated random driving) drives the real environment; all of it is stored."""

from __future__ import annotations

from itertools import count

from wmloop.agents.collector import drive, halves, require_wave
from wmloop.agents.recorder import Recorder
from wmloop.calibration.forecasts import forecast
from wmloop.config import WorldModelConfig
from wmloop.envs import make_envs
from wmloop.episodes import pack
from wmloop.serving.world_model import load
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker, exploring, random_walks
from wmloop.training.rollouts import ACTIONS, require_same_actions
from wmloop.training.tally import Tally, summarise
from wmloop.training.waves import decisions_of_first, first_wave, policy_wave

#: A little more than a compressed picture of a drawn world takes on the disk.
_BYTES_A_DECISION = 2048


def run(
    ctx: StageContext[WorldModelConfig],
    vision: Version | None = None,
    memory: Version | None = None,
    controller: Version | None = None,
) -> dict[str, float]:
    """Collect this iteration's episodes into the draft, a shard a wave; return counts, the mean score and M's foresight.

    A wave runs to its end before the next begins, and how many episodes the next has depends on finished waves alone. So
    what is driven depends on its place only, and an interrupted run drives its unfinished wave again with the same result.
    """
    config, tally = ctx.config, Tally()
    first = ctx.iteration == 0
    goal = decisions_of_first(config) * config.env.action_repeat if first else config.rollout.frames
    max_unrewarded = None if first else config.rollout.max_unrewarded
    with make_envs(config.env, config.env.num_envs, max_unrewarded, ctx.output) as pool:
        agent = None
        if vision and memory and controller:
            require_same_actions(ctx.collected(), pool.actions)
            agent = load(config, pool.actions, ctx.device, vision, memory, controller)
        ctx.begin(goal)
        ctx.draft.require_space(goal // config.env.action_repeat * _BYTES_A_DECISION)
        for number in count():
            wave = first_wave(ctx, tally) if first else policy_wave(ctx, tally)
            if not wave:
                break
            shard, summary = f"episodes-{number:04d}.safetensors", f"summary-{number:04d}.json"
            if not ctx.draft.has(shard):
                ctx.check_stop()
                trace = Recorder(agent, halves(pool.num_envs)) if agent else None
                decide = exploring(ctx, number, wave, pool, trace) if trace else random_walks(ctx, number, wave, pool)
                driven = drive(pool, wave, decide, Ticker(ctx, tally.frames, goal))
                if trace:
                    ctx.log("M is asked what it foresaw of these episodes, with closed eyes")
                told = forecast(trace, config, driven, True, ctx.check_stop) if trace else []
                ctx.draft.save_json(summary, summarise(driven, told))
                ctx.draft.save_tensors(shard, pack(driven))
            said = ctx.draft.json(summary)
            require_wave(said["scores"], wave, ctx.draft.name)
            tally.add(said, wave)
            ctx.progress(min(tally.frames, goal), {"score": tally.score, "frames": float(tally.frames)})
        ctx.draft.save_json(ACTIONS, pool.actions.record())
    ctx.progress(goal)
    return tally.metrics()
