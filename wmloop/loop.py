"""The outer loop: which (iteration, stage) has no committed version yet? Do that one."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from wmloop import __version__, envs, ranking
from wmloop.config import RunConfig
from wmloop.errors import Interrupted
from wmloop.events import Reporter, RunFinished, RunStarted, VersionCommitted
from wmloop.pipelines import WORLD_MODEL, Stage
from wmloop.stages.context import StageContext
from wmloop.store import Store, Version


def run(
    store: Store, config: RunConfig, device: torch.device, report: Reporter, should_stop: Callable[[], bool]
) -> str:
    """Do what is missing until the goal is confirmed, the budget is spent or somebody stops it; return the reason.

    `start` and `resume` are both this function. The budget's hours count the time of all committed versions and of the
    current process. The reason is `goal`, `iterations`, `hours` or `interrupted`; after the last, resume goes on.
    """
    begun = time.monotonic()
    spent = sum(version.seconds for version in store.versions())

    def out_of_time() -> bool:
        return config.budget.hours is not None and spent + time.monotonic() - begun >= config.budget.hours * 3600

    first = next_position(store)
    report(RunStarted(store.name, first[0], config.budget.iterations, config.budget.goal, str(device),
                      first != (0, 0), config.budget.hours))  # fmt: skip
    while True:
        iteration, place = next_position(store)
        if place == 0 and goal_met(store, config):
            reason = "goal"
        elif iteration >= config.budget.iterations:
            reason = "iterations"
        elif out_of_time():
            reason = "hours"
        elif should_stop():
            reason = "interrupted"
        else:
            try:
                _perform(store, config, device, WORLD_MODEL[place], iteration, report,
                         lambda: should_stop() or out_of_time())  # fmt: skip
                continue
            except Interrupted:
                reason = "interrupted" if should_stop() else "hours"
        best = best_evaluation(store)
        served = (best.iteration, best.metrics["score"]) if best else (None, None)
        report(RunFinished(store.name, reason, *served))
        return reason


def next_position(store: Store) -> tuple[int, int]:
    """Return the first (iteration, place in the table) without a committed version: a scan, there is no pointer."""
    for iteration in range(len(store.iterations()) + 1):
        for place, stage in enumerate(WORLD_MODEL):
            if store.version(iteration, stage.name) is None:
                return iteration, place
    raise AssertionError("an iteration beyond the last has no versions")


def evaluations(store: Store) -> list[Version]:
    """Return the evaluations so far, one an iteration."""
    return [version for version in store.versions() if version.stage == "evaluate"]


def best_evaluation(store: Store) -> Version | None:
    """Return the evaluation whose triple `play` and `eval` serve (see ranking.merit)."""
    scored = evaluations(store)
    place = ranking.best([version.metrics for version in scored])
    return None if place is None else scored[place]


def goal_met(store: Store, config: RunConfig) -> bool:
    """Return whether some evaluation reached the goal and the further tracks confirmed it."""
    return any(ranking.confirms(version.metrics, config.budget.goal) for version in evaluations(store))


def _perform(
    store: Store, config: RunConfig, device: torch.device, stage: Stage, iteration: int, report: Reporter,
    should_stop: Callable[[], bool],
) -> None:  # fmt: skip
    def known(name: str, at: int) -> Version:
        version = store.version(at, name)
        assert version is not None, f"{name} of iteration {at} comes earlier in the table"
        return version

    needs = {name: known(name, iteration) for name in stage.needs}
    carries = {}
    if iteration:
        carries = {name: known(name, iteration - 1) for name in stage.carries}
        accepted = ranking.newest_accepted([version.metrics for version in evaluations(store)])
        carries |= {name: known(name, accepted) for name in stage.carries_accepted}
    draft = store.draft(iteration, stage.name)
    context = StageContext(
        config, iteration, stage.name, device, needs, carries,
        lambda name: [known(name, at) for at in range(iteration + 1) if at < iteration or store.version(at, name)],
        draft, report, should_stop,
    )  # fmt: skip
    begun = time.monotonic()
    metrics = stage.run(context)
    seconds = time.monotonic() - begun
    made_with = {"wmloop": __version__, "torch": torch.__version__, **envs.versions()}
    version = draft.commit([*needs.values(), *carries.values()], metrics, seconds, made_with)
    report(VersionCommitted(iteration, stage.name, version.metrics, version.num_bytes, seconds))
