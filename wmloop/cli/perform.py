"""Perform one task of a study in this process: train its run, or begin its program, and score what came of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import typer

from wmloop.cli.exits import say
from wmloop.cli.opening import log_named, output_of
from wmloop.cli.stopping import Stop
from wmloop.errors import Interrupted, RunLockedError
from wmloop.opening import history_of, pipeline_of, stored_config

if TYPE_CHECKING:
    from wmloop.events import Message
    from wmloop.history import History
    from wmloop.store import Store
    from wmloop.study.results import Final, Result
    from wmloop.study.task import Task

#: An earlier process of the task, whose study was killed, may still be saving.
_PATIENCE_SECONDS = 120.0


def perform(task: Task) -> None:
    """Do what of a task is not done, and commit what it came to. It stops where standard input ends, as on SIGTERM.

    Raises:
        typer.Exit: it was stopped, with 130, 143 or 129.
        WmloopError: as training, scoring and other programs do.
    """
    from wmloop.store import atomic

    threading.Thread(target=_leash, daemon=True).start()
    with _alone(task):
        atomic.remove_strays(task.place)
        if task.result() is None:
            task.finish(_by_program(task) if task.row.command is not None else _by_training(task))


def _leash() -> None:
    """End this process as soon as the one that began it is gone."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _alone(task: Task) -> Any:
    """Return the lock of a task, once whoever held it has let go of it."""
    from wmloop.store.lock import holder, run_lock

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (who := holder(task.place)) and time.monotonic() < deadline:
        say(f"waiting for {who}, which is still at work on {task.name}")
        time.sleep(1.0)
    if who:
        raise RunLockedError(
            f"{task.name} is still being worked on by {who}, {task.place}: stop it, then give the same command"
        )
    return run_lock(task.place)


def _by_program(task: Task) -> Result:
    from wmloop.study import program

    with Stop(lambda signum: say("ending the program"), lambda signum: program.end_lost(task)) as stop:
        try:
            return program.perform(task, stop)
        except Interrupted as error:
            say(str(error))
            raise typer.Exit(128 + (stop.signum or signal.SIGTERM)) from None


def _by_training(task: Task) -> Result:
    from wmloop.cli.session import Session
    from wmloop.config import with_settings
    from wmloop.starting import begin, exists, on_this_machine, settle
    from wmloop.store import Store
    from wmloop.study.file import KEPT
    from wmloop.study.limits import UsedUp

    study, row, root = task.study, task.row, task.folder
    notes: list[Message] = []
    printed: list[str] = []
    if exists(root, task.name):
        store = Store.open(root / task.name)
        stored = stored_config(store)
    else:
        config = settle(None if "preset" in row.settings else "laptop", study.layers(row, task.seed))[1]
        store, stored, notes, printed = begin(config, root, task.name, printed)
    config = with_settings(with_settings(on_this_machine(stored), {"store": row.settings.get("store", {})}), KEPT)
    with store.lock():
        history = history_of(store, config)
        used_up = UsedUp(study.limits, history, history.worked())
        Session(store, stored, config, "plain", root, False, notes, printed, used_up).run()
    finals = {name: _final(task, store, name, limit) for name, limit in study.limits.items()}
    return _result(task, store, finals)


def _final(task: Task, store: Store, limit: str, value: float) -> Final | None:
    """Return the agent that a run had at a limit with its scores on the fresh episodes: kept ones, or scored now."""
    from wmloop.study.results import Final, chosen, is_within, points_of

    config = stored_config(store)
    history = history_of(store, config)
    iteration = chosen(history, limit, value)
    if iteration is None:
        return None
    point = [point for point in points_of(history).values() if is_within(point, limit, value)][-1]
    scored = history.version(iteration, history.pipeline.scored_by)
    assert scored is not None, "it was chosen among those that were scored"
    told = scored.metrics
    return Final(
        point.frames, point.evaluated, point.seconds, _scores(task, store, history, iteration),
        told.get("predicted_return"), told.get("real_return"),
    )  # fmt: skip


def _scores(task: Task, store: Store, history: History, iteration: int) -> list[float]:
    from wmloop.device import resolve_device, resolve_threads, set_up
    from wmloop.scoring import fresh_scores, keep, told

    config, study = stored_config(store), task.study
    version = history.version(iteration, pipeline_of(config).agent)
    assert version is not None, "what was scored has an agent"
    for kept in store.evaluations.all():
        if (kept.hash, kept.seed, len(kept.scores)) == (version.hash, study.episodes_seed, study.episodes):
            return kept.scores
    say(f"scoring the agent of iteration {iteration} on {study.episodes} fresh episodes of seed {study.episodes_seed}")
    where = set_up(resolve_device(config.device), resolve_threads(config.threads))
    begun, results = time.monotonic(), []
    with log_named(store):
        for wave in fresh_scores(
            history, config, iteration, task.episodes, where, lambda count, _: None, output_of(store)
        ):
            results += wave
            say(f"{len(results)} of {study.episodes} episodes")
    report = told(store, iteration, study.episodes_seed, results, time.monotonic() - begun)
    keep(store, report, config, version)
    return [result.score for result in results]


def _result(task: Task, store: Store, finals: dict[str, Final | None]) -> Result:
    from wmloop.study.results import Result, points_of

    history = history_of(store, stored_config(store))
    begun = [record for record in store.journal.events()[0] if record.get("event") == "SessionStarted"]
    sessions = [{name: record[name] for name in ("cores", "cpu_model", "git") if name in record} for record in begun]
    made = {**store.facts, "sessions": sessions}
    return Result(list(points_of(history).values()), finals, made)
