"""Rollout: the current C (at first: correlated random driving) drives the real environment; all of it is stored."""

from __future__ import annotations

from itertools import count

from wmloop.agents.collector import require_wave
from wmloop.config import DreamingConfig
from wmloop.envs import make_envs
from wmloop.episodes import pack
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.driving import PolicyRollout, Prefill, Ticker
from wmloop.training.rollouts import BYTES_A_DECISION, record_spaces, shard_file
from wmloop.training.tally import Tally, summarise, summary_file


def run(ctx: StageContext[DreamingConfig], **parts: Version) -> dict[str, float]:
    """Collect this iteration's episodes into the draft, a shard a wave; return counts, the mean score and M's predictions.

    `parts` are the agent of the iteration before. A wave runs to its end before the next begins, and how many episodes the
    next has depends on finished waves alone. So what is driven depends on its place only, and an interrupted run drives its
    unfinished wave again with the same result.
    """
    config, tally = ctx.config, Tally()
    collected = PolicyRollout(ctx, parts) if parts else Prefill(ctx)
    goal = collected.frames
    with make_envs(config.env, config.env.num_envs, collected.max_unrewarded, ctx.output) as pool:
        drive = collected.driver(pool)
        ctx.begin(goal)
        ctx.draft.require_space(goal // config.env.action_repeat * BYTES_A_DECISION)
        for number in count():
            wave = collected.wave(tally)
            if not wave:
                break
            shard, summary = shard_file(number), summary_file(number)
            known = ctx.draft.has(shard)
            if not known:
                ctx.check_stop()
                driven, told = drive(number, wave, Ticker(ctx, pool.observations, tally.frames, goal))
                ctx.draft.save_json(summary, summarise(driven, told))
                ctx.draft.save_tensors(shard, pack(driven))
            said = ctx.draft.json(summary)
            require_wave(said["scores"], wave, ctx.draft.name)
            tally.add(said, [task.deterministic for task in wave])
            if known:
                ctx.found(tally.frames)
            ctx.progress(min(tally.frames, goal), {"score": tally.score, "frames": float(tally.frames)})
        record_spaces(ctx.draft, pool.actions, pool.observations)
    ctx.progress(goal)
    return tally.metrics()
