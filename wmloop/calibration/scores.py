"""Scores of held-out episodes, and what M predicts beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wmloop.agents.collector import EpisodeTask, Tick, drive, halves
from wmloop.agents.recorder import Recorder
from wmloop.calibration.ends import ends
from wmloop.calibration.forecasts import forecast
from wmloop.calibration.gap import gap
from wmloop.calibration.windows import ReturnForecast
from wmloop.config import RunConfig
from wmloop.envs import Envs


class EpisodeResult(NamedTuple):
    """What happened in one episode, and what M predicted of it (see windows.ReturnForecast)."""

    seed: int
    score: float
    frames: int
    terminated: bool
    predicted: list[float]
    real: list[float]
    steps: Sequence[int] = ()
    decisions: int = 0
    ends: Sequence[Sequence[float]] = ()


def score_episodes(
    config: RunConfig, pool: Envs, agent: Any, seeds: Sequence[int], tick: Tick, dreams: bool
) -> list[EpisodeResult]:
    """Drive at most one wave of episodes with the deterministic policy; `tick` as in `collector.drive`.

    If the agent `dreams`, its world model is asked what it predicts (see Pipeline.dreams).
    """
    wave = [EpisodeTask(seed) for seed in seeds]
    trace = Recorder() if dreams else None
    episodes = drive(pool, wave, dict.fromkeys(halves(pool.num_envs), agent), tick, trace=trace)
    told = forecast(agent, trace, config, episodes) if trace else [ReturnForecast([], [], [])] * len(episodes)
    return [
        EpisodeResult(e.seed, e.score, e.frames, e.terminated, p.predicted, p.real, p.steps, p.decisions, p.ends)
        for e, p in zip(episodes, told, strict=True)
    ]


def summarise(results: Sequence[EpisodeResult]) -> dict[str, float]:
    """Return the metrics of an evaluation.

    - `score`, `score_min`: mean and smallest return of the episodes, in the environment's rewards.
    - `score_std`: standard deviation of the returns (with n - 1); `score_se`: standard error of their mean. A single episode
      tells neither.
    - `frames`: environment steps.

    Those of the world model's predictions are described in `gap.gap` and `ends.ends`.
    """
    forecasts = [ReturnForecast(r.predicted, [], r.real, r.steps, r.decisions, r.ends) for r in results]
    scores = np.array([result.score for result in results])
    figures = {"score": float(scores.mean())}
    if len(scores) > 1:
        spread = float(scores.std(ddof=1))
        figures |= {"score_std": spread, "score_se": spread / math.sqrt(len(scores))}
    figures |= {"score_min": float(scores.min()), "frames": float(sum(result.frames for result in results))}
    return figures | gap(forecasts) | ends(forecasts)


def details(results: Sequence[EpisodeResult]) -> list[dict[str, Any]]:
    """Return what `wmloop eval --json` tells of each episode."""
    return [
        {"seed": result.seed, "score": result.score, "frames": result.frames, "terminated": result.terminated}
        for result in results
    ]
