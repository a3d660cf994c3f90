"""Score a run's agent on fresh episodes, and keep what came of it with the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from wmloop import __version__, ranking
from wmloop.agents.collector import Tick, waves
from wmloop.calibration.scores import EpisodeResult, details, score_episodes, summarise
from wmloop.config import RunConfig
from wmloop.device import machine_facts
from wmloop.envs import make_envs
from wmloop.history import History
from wmloop.serving.agent import Served
from wmloop.store import Store, Version
from wmloop.store.draft import utc_now


def fresh_scores(
    history: History, config: RunConfig, iteration: int, seeds: Sequence[int], device: torch.device, tick: Tick,
    output: Callable[[str], None],
) -> Iterator[list[EpisodeResult]]:  # fmt: skip
    """Yield what the agent of an iteration scores in the episodes of `seeds`, a wave of them at a time.

    `tick` is called as in collector.drive, `output` with the lines that the environment prints.
    """
    with make_envs(config.env, min(config.env.num_envs, len(seeds)), output=output) as pool:
        agent = Served.of(history, iteration).agent_in(pool, history, config, device)
        for wave in waves(seeds, pool.num_envs):
            yield score_episodes(config, pool, agent, wave, tick, history.pipeline.dreams)


def told(store: Store, iteration: int, seed: int, results: Sequence[EpisodeResult], seconds: float) -> dict[str, Any]:
    """Return what `wmloop eval --json` tells of the fresh episodes of a seed."""
    return {
        "run": store.name,
        "iteration": iteration,
        "seed": seed,
        **summarise(results),
        "score_ci95": ranking.interval([result.score for result in results]),
        "seconds": seconds,
        "tracks": details(results),
    }


def keep(store: Store, report: Mapping[str, Any], config: RunConfig, scored: Version) -> None:
    """Keep with a run what `told` tells of the agent `scored`; raises StorageError."""
    made = {**machine_facts(), "wmloop": __version__}
    record = {
        "environment": config.env.id,
        "created": utc_now(),
        "version": scored.name,
        "hash": scored.hash,
        "made": made,
    }
    store.evaluations.add({**report, **record})
