"""Rollout: the current C (at first: correlated random driving) drives the real environment; all of it is stored."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

import numpy as np

from wmloop.agents.collector import UNLIMITED, Decide, Task, drive, halves, require_wave
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Exploration
from wmloop.calibration.ends import ends
from wmloop.calibration.forecasts import forecast
from wmloop.calibration.gap import gap
from wmloop.calibration.open_loop import foresight
from wmloop.calibration.windows import Promises
from wmloop.envs import Envs, Pushes, make_envs, random_driving
from wmloop.episodes import Cut, Episode, pack
from wmloop.seeding import training_track
from wmloop.serving.world_model import load
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.rollouts import require_same_actions

#: A little more than a compressed picture of CarRacing takes on the disk.
_BYTES_A_DECISION = 2048


def run(
    ctx: StageContext, vision: Version | None = None, memory: Version | None = None, controller: Version | None = None
) -> dict[str, float]:
    """Collect this iteration's episodes into the draft, a shard a wave; return counts, the mean score and M's foresight.

    A wave runs to its end before the next begins, and how many episodes the next has depends on finished waves alone. So
    what is driven depends on its place only, and an interrupted run drives its unfinished wave again with the same result.
    """
    config = ctx.config
    first = ctx.iteration == 0
    goal = _decisions_of_first(ctx) * config.env.action_repeat if first else config.rollout.frames
    scores: list[float] = []
    promises: list[Promises] = []
    quiet: list[bool] = []
    squares, cuts = np.zeros((2, 2)), np.zeros(len(Cut))
    frames = decisions = paying = episodes = 0
    patience = None if first else config.rollout.patience
    with make_envs(config.env, config.env.num_envs, patience, ctx.output) as pool:
        agent = None
        if vision and memory and controller:
            require_same_actions(ctx.collected(), pool.action_low, pool.action_high)
            agent = load(config, pool.action_low, pool.action_high, ctx.device, vision, memory, controller)
        ctx.begin(goal)
        ctx.draft.require_space(goal // config.env.action_repeat * _BYTES_A_DECISION)
        for number in count():
            wave = _first_wave(ctx, episodes, decisions) if first else _policy_wave(ctx, episodes, frames)
            if not wave:
                break
            shard, summary_file = f"episodes-{number:04d}.safetensors", f"summary-{number:04d}.json"
            if not ctx.draft.has(shard):
                ctx.stop_here()
                trace = Recorder(agent, halves(pool.num_envs)) if agent else None
                decide = _policy(ctx, number, wave, pool, trace) if trace else _random(ctx, number, wave, pool)
                driven = drive(pool, wave, decide, _Ticker(ctx, frames, goal))
                if trace:
                    ctx.say("M is asked what it foresaw of these episodes, with closed eyes")
                told = forecast(trace, config, driven, True, ctx.stop_here) if trace else []
                ctx.draft.save_json(summary_file, _summary(driven, told))
                ctx.draft.save_tensors(shard, pack(driven))
            summary = ctx.draft.json(summary_file)
            require_wave(summary["scores"], wave, ctx.draft.name)
            scores += summary["scores"]
            frames += summary["frames"]
            decisions += summary["decisions"]
            paying += summary["paying"]
            episodes += len(wave)
            cuts += np.array(summary.get("cuts", [0] * len(Cut)))
            squares += np.array(summary.get("squares", np.zeros((2, 2))))
            promises += [Promises(*lists) for lists in summary["promises"]]
            quiet += [task.quiet for task in wave]
            ctx.progress(min(frames, goal), {"score": float(np.mean(scores)), "frames": float(frames)})
        bounds = {"low": pool.action_low.tolist(), "high": pool.action_high.tolist()}
        ctx.draft.save_json("actions.json", bounds)
    ctx.progress(goal)
    as_dreamt = [promise for promise, undisturbed in zip(promises, quiet, strict=False) if undisturbed]
    counts = {
        "frames": float(frames),
        "episodes": float(episodes),
        "decisions": float(decisions),
        "score": float(np.mean(scores)),
        "paying_fraction": paying / decisions,
    }
    counts |= {f"cut_{cut.name.lower()}": float(cuts[cut]) for cut in Cut if cut and cuts[cut]}
    # the unit of rewards, where it is to follow them: those of ends alone only where there are no others
    total, number = squares[0] if squares[0, 1] else squares[1]
    counts |= {"reward_rms": math.sqrt(total / number)} if number else {}
    return counts | gap(as_dreamt) | foresight(promises) | ends(promises)


class _Ticker:
    """Report the frames of a wave as they come, and give up when the run is to stop."""

    def __init__(self, ctx: StageContext, done: int, total: int) -> None:
        self._ctx, self._done, self._total = ctx, done, total

    def __call__(self, frames: int, observation: np.ndarray | None) -> None:
        self._done += frames
        self._ctx.progress(min(self._done, self._total))
        if observation is not None:
            self._ctx.show("real", observation)
        self._ctx.stop_here()


def _decisions_of_first(ctx: StageContext) -> int:
    return sum(episodes * decisions for episodes, decisions in ctx.config.rollout.first)


def _track(ctx: StageContext, number: int) -> int:
    return training_track(ctx.config.seed, ctx.iteration, "track", number)


def still_to_drive(wanted: float, mean: float, most: int) -> int:
    """Return how many episodes of `mean` length are nearest to what is still `wanted`, and at most `most`.

    No episode is cut for it, and none is chosen by its length.
    """
    return min(most, max(0, round(wanted / mean)))


def _first_wave(ctx: StageContext, episodes: int, decisions: int) -> list[Task]:
    """Return the next wave of random driving: as planned, then more of the last kind until the decisions are there."""
    limits = [limit for count, limit in ctx.config.rollout.first for _ in range(count)]
    width, left = ctx.config.env.num_envs, len(limits) - episodes
    if left <= 0:
        lived = decisions / sum(limits + [limits[-1]] * -left)  # the share of what was planned that came about
        width = still_to_drive(_decisions_of_first(ctx) - decisions, lived * limits[-1], width)
        limits += [limits[-1]] * (width - left)
    return [Task(_track(ctx, i), limit) for i, limit in enumerate(limits)][episodes : episodes + width]


def _policy_wave(ctx: StageContext, episodes: int, frames: int) -> list[Task]:
    """Return the next wave that C drives, of as many episodes as the frames still wanted have, as long as those before.

    Before the first the length is that of the iteration before, and where that was random driving, the longest there is.
    """
    config = ctx.config
    if episodes:
        mean = frames / episodes
    else:
        before = ctx.collected()[-1]
        driven = before.metrics["frames"] / before.metrics["episodes"]
        mean = driven if before.iteration else config.env.most_frames
    width = still_to_drive(config.rollout.frames - frames, mean, config.env.num_envs)
    if not episodes:
        width = max(1, width)
    share = config.rollout.quiet_fraction
    numbers = range(episodes, episodes + width)
    return [Task(_track(ctx, n), UNLIMITED, int((n + 1) * share) > int(n * share)) for n in numbers]


def _random(ctx: StageContext, number: int, wave: list[Task], pool: Envs) -> Decide:
    low, high = pool.action_low, pool.action_high
    plans = np.zeros((max(task.decisions for task in wave), pool.num_envs, len(low)), np.float32)
    for i, task in enumerate(wave):
        rng = ctx.rng("driving", number, i)
        plans[: task.decisions, i] = random_driving(ctx.config.env.driving, low, high, task.decisions, rng)
    return lambda t, copies, frames: plans[t, copies.start :: copies.step]


def _policy(ctx: StageContext, number: int, wave: list[Task], pool: Envs, trace: Recorder) -> Decide:
    loud = np.zeros(pool.num_envs, np.bool_)
    loud[: len(wave)] = [not task.quiet for task in wave]
    actions = len(pool.action_low)
    pushes = {
        copies: Pushes(ctx.config.rollout, actions, [ctx.rng("push", number, i) for i in copies])
        for copies in halves(pool.num_envs)
    }

    def decide(t: int, copies: range, frames: np.ndarray) -> np.ndarray:
        noise = ctx.rng("noise", number, t).standard_normal((pool.num_envs, actions), np.float32)
        of_these = slice(copies.start, None, copies.step)
        return trace.act(copies, frames, Exploration(noise[of_these], pushes[copies](), loud[of_these]))

    return decide


def _summary(episodes: list[Episode], promises: list[Promises]) -> dict[str, Any]:
    return {
        "scores": [episode.score for episode in episodes],
        "frames": sum(episode.frames for episode in episodes),
        "decisions": sum(len(episode) for episode in episodes),
        "paying": sum(int((episode.rewards > 0).sum()) for episode in episodes),
        "cuts": [sum(episode.cut == cut for episode in episodes) for cut in Cut],
        "squares": [_squares(episodes, False), _squares(episodes, True)],
        "promises": promises,
    }


def _squares(episodes: list[Episode], ended: bool) -> tuple[float, int]:
    """Return the sum of squares, and the number, of all rewards that are not zero: those of ends, or all others."""
    rewards = [e.rewards[-1:] if ended else e.rewards[:-1] for e in episodes if e.terminated]
    rewards += [] if ended else [e.rewards for e in episodes if not e.terminated]
    every = np.concatenate(rewards).astype(np.float64) if rewards else np.zeros(0)
    return float(np.square(every).sum()), int(np.count_nonzero(every))
