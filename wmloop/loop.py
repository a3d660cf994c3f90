"""The outer loop: which (iteration, stage) has no committed version yet? Do that one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

import torch

from wmloop import __version__, envs
from wmloop.config import RunConfig
from wmloop.config.text import to_toml
from wmloop.device import release_memory
from wmloop.errors import DraftUnusableError, Interrupted, UsageError, WmloopError
from wmloop.events import Message, Reporter, RunFinished, RunStarted, VersionCommitted
from wmloop.history import History
from wmloop.pipelines import Pipeline, Stage
from wmloop.ranks import ALONE, Ranks
from wmloop.retention import Retention, prune
from wmloop.store import Store, Version
from wmloop.training.context import StageContext


def run(
    store: Store, config: RunConfig, pipeline: Pipeline, device: torch.device, report: Reporter,
    should_stop: Callable[[], bool], used_up: Callable[[], bool] = lambda: False, ranks: Ranks = ALONE,
) -> str:  # fmt: skip
    """Do what is missing until the goal is confirmed, the budget is spent or somebody stops it; return the reason.

    `start` and `resume` are both this function. The budget's hours count the time of all committed versions, of what
    was interrupted, and of the current process. `used_up` tells whether the limits of a study are reached. The other `ranks`
    perform with this one, the first, what they may (see follower). The reason is `goal`, `iterations`, `hours`, `limits` or
    `interrupted`; after the last, resume goes on.
    """
    begun = time.monotonic()
    history = History(store, pipeline)
    first = history.next_position()
    spent = history.worked()

    def out_of_time() -> bool:
        return config.budget.hours is not None and spent + time.monotonic() - begun >= config.budget.hours * 3600

    report(RunStarted(store.name, first[0], config.budget.iterations, config.budget.goal, str(device),
                      first != (0, 0), config.budget.hours))  # fmt: skip
    while True:
        iteration, place = history.next_position()
        if not history.made(iteration) and history.meets(config.budget.goal):
            reason = "goal"
        elif iteration >= config.budget.iterations:
            reason = "iterations"
        elif out_of_time():
            reason = "hours"
        elif used_up():
            reason = "limits"
        elif should_stop():
            reason = "interrupted"
        else:
            try:
                version = _perform(store, history, config, device, pipeline.stages[place], iteration, report,
                                   lambda: should_stop() or out_of_time() or used_up(), ranks)  # fmt: skip
                history.add(version)
                release_memory()
                if place == len(pipeline.stages) - 1:
                    _make_room(store, history, config)
                continue
            except Interrupted:
                reason = "interrupted" if should_stop() else "hours" if out_of_time() else "limits"
        best = history.best_evaluation()
        served = (best.iteration, best.metrics["score"]) if best else (None, None)
        report(RunFinished(store.name, reason, *served))
        return reason


def _make_room(store: Store, history: History, config: RunConfig) -> None:
    """Prune what the settings do not keep."""
    keep = config.store
    if keep.keep_last is not None:
        prune(store, history, Retention(keep.keep_last, keep.keep_best, keep.keep_every), config.replay)


def inputs(history: History, stage: Stage, iteration: int) -> tuple[dict[str, Version], dict[str, Version]]:
    """Return the versions that a stage of an iteration reads, by stage: those of this iteration, and those it goes on from."""

    def known(name: str, at: int) -> Version:
        version = history.version(at, name)
        assert version is not None, f"{name} of iteration {at} comes earlier in the table"
        return version

    needs = {name: known(name, iteration) for name in stage.needs}
    carries = {}
    if iteration > history.first:
        carries = {name: known(name, iteration - 1) for name in stage.carries}
        accepted = history.newest_accepted(iteration)
        carries |= {name: known(name, accepted) for name in stage.carries_accepted}
    return needs, carries


def _perform(
    store: Store, history: History, config: RunConfig, device: torch.device, stage: Stage, iteration: int,
    report: Reporter, should_stop: Callable[[], bool], ranks: Ranks,
) -> Version:  # fmt: skip
    needs, carries = inputs(history, stage, iteration)
    draft = store.draft(iteration, stage.name)
    ranks = ranks if stage.data_parallel else ALONE
    context = StageContext(
        config, history.pipeline, iteration, stage.name, stage.unit, device, lambda: history.collected(iteration + 1),
        lambda: history.scored(iteration + 1), draft, report, should_stop, ranks,
    )  # fmt: skip
    run = stage.run
    made_with = {"wmloop": __version__, "torch": torch.__version__, **envs.versions()}

    def attempt() -> Version:
        if ranks.size > 1:
            told = {"run": str(store.path), "config": to_toml(config), "iteration": iteration, "stage": stage.name}
            ranks.announce(told)
        metrics = run(context, **needs, **carries)
        _require_figures(history.pipeline, stage, metrics)
        return draft.commit([*needs.values(), *carries.values()], metrics, draft.seconds, made_with)

    try:
        try:
            version = attempt()
        except DraftUnusableError as error:
            report(
                Message(f"{error}; what was saved of {draft.name} is discarded, and the stage starts again", "warning")
            )
            draft.discard()
            version = attempt()
    except BaseException:
        with contextlib.suppress(OSError, WmloopError):
            draft.note_work()
        raise
    report(VersionCommitted(iteration, stage.name, version.metrics, version.num_bytes, version.seconds))
    return version


def _require_figures(pipeline: Pipeline, stage: Stage, metrics: object) -> None:
    """Refuse, before they are committed, metrics that nobody could go on from.

    Raises:
        UsageError: they are none, or the stage that scores tells no score.
    """
    lacks = ""
    if not isinstance(metrics, Mapping):
        lacks = f"returned {type(metrics).__name__} instead of its metrics, a mapping of numbers by name"
    elif stage.name == pipeline.scored_by and "score" not in metrics:
        lacks = f"scores the agent, but returned no metric 'score': it returned {', '.join(metrics) or 'none'}"
    if lacks:
        raise UsageError(f"the stage {stage.name!r} of the pipeline {pipeline.name!r} {lacks}")
