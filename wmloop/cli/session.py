"""One process at work on a run: its view, its log, and how it stops."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from wmloop import machine, signals
from wmloop.cli.exits import say, say_next
from wmloop.cli.opening import commits, name_log, play_command
from wmloop.cli.stopping import Stop
from wmloop.commands import command, quoted
from wmloop.config import RunConfig, settings, with_settings
from wmloop.config.text import toml_value
from wmloop.errors import EnvironmentFailedError, RankLostError, StorageError, WmloopError
from wmloop.events import Event, Message, Output, Picture, Reporter, Resources, StageStarted, Track, VersionCommitted
from wmloop.history import History
from wmloop.opening import history_of, pipeline_of, stored_config
from wmloop.store import Store
from wmloop.store.notes import take_notes
from wmloop.study.limits import UsedUp
from wmloop.study.words import plain
from wmloop.view import View, ViewState, open_view
from wmloop.view.lines import Throttle, note, stamped, timed_record
from wmloop.view.state import recall

_LOG_SECONDS = 5.0
_RESOURCES_SECONDS = 5.0
_PICTURES_SECONDS = 1.0


class Session:
    """Work on a run with a view, its log and signals."""

    def __init__(
        self, store: Store, stored: RunConfig, config: RunConfig, progress: str, root: Path, track: bool = False,
        notes: Sequence[Message] = (), printed: Sequence[str] = (), used_up: UsedUp | None = None,
    ) -> None:  # fmt: skip
        """Take the run, its own settings `stored`, those it goes by now, the folder of runs `root`, and whether to `track`.

        `notes` is what is to be said as it begins, and `printed` what its environment has printed so far. `used_up` ends it,
        too, where it is part of a study. The caller holds the run's lock.
        """
        self._store, self._stored, self._config = store, stored, config
        self._run = root / store.name if root.absolute() == store.path.parent else store.path  # as the user says it
        self._again = resume_command(self._run, stored, config) + (" --track" if track else "")
        self._progress, self._pipeline = progress, pipeline_of(config)
        self._notes, self._printed = notes, printed
        self._throttle = Throttle(_LOG_SECONDS)
        self._place = "the run"
        self._view: View | None = None
        self._track, self._used_up = track, used_up
        self._followers: list[Reporter] = []
        self._measured = -_RESOURCES_SECONDS
        self._pictures: dict[str, np.ndarray] = {}
        self._tracks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._saved = -_PICTURES_SECONDS

    def run(self) -> None:
        """Run the loop to one of its ends and say which.

        Raises:
            typer.Exit: it was stopped, with 130, 143 or 129.
            WmloopError: as the loop does.
        """
        from wmloop import loop
        from wmloop.device import commit, set_up
        from wmloop.ranks import joined

        device, ranks = set_up(self._config.device, self._config.threads, self._config.precision), joined()
        ranks.prepare(device)
        state = ViewState(self._pipeline)
        here = {"cores": machine.cores(), "cpu_model": machine.cpu_model(), "git": commit()}
        record = timed_record("SessionStarted", changed=changed(self._stored, self._config), **here)
        self._store.journal.append(record)
        notes = [*self._notes]
        if ranks.size > 1:
            notes.append(
                Message(f"{ranks.size} ranks train together, which torchrun began; this one collects and scores")
            )
        for told in notes:
            say(f"note: {told.text}")
            self._store.journal.append(stamped(told))
        for line in self._printed:
            self._store.journal.append_output(line)
        with contextlib.ExitStack() as stack:
            history = history_of(self._store, self._config)
            seen = recall(state, commits(history.everything()), time.monotonic())
            worked = history.worked()
            self._view = open_view(self._progress, dataclasses.replace(seen, spent=worked))
            stack.callback(self._view.close)
            self._follow(stack)
            stack.callback(self._save_pictures)
            stop = stack.enter_context(Stop(self._stopping, self._leaving))
            try:
                reason = loop.run(self._store, self._config, self._pipeline, device, self._report, stop,
                                  self._used_up or (lambda: False), ranks)  # fmt: skip
            except EnvironmentFailedError as error:
                if not stop.within(0.3):  # a SIGTERM to every process ends the workers too, and maybe first
                    error.add_note(f"nothing that was saved is lost: `{self._again}` continues from there")
                    name_log(error, self._store)
                    raise
                reason = "interrupted"
            except RankLostError as error:
                stop.expect(signal.SIGTERM)  # torchrun ends all
                error.add_note(f"nothing that was saved is lost: `{self._again}` continues from there")
                raise
            except WmloopError:
                raise
            except Exception as error:
                error.add_note(f"Nothing that was saved is lost: `{self._again}` continues from there.")
                raise
        if reason == "limits":
            return
        if reason == "interrupted":
            say("stopped; what was done is saved")
            say_next({"continue": self._again})
            raise typer.Exit(128 + (stop.signum or signal.SIGINT))
        history = history_of(self._store, self._config)
        acts = {} if not history.all(history.pipeline.agent) else {
            "watch it": play_command(self._run),
            "score it on fresh episodes": command("eval", self._run),
            "read what it learnt": command("report", self._run),
        }  # fmt: skip
        say_next(acts | {"train further": self._further(reason)})

    def _further(self, reason: str) -> str:
        """Return the command that goes on with a run that ended for `reason`: with more of what was spent."""
        history = history_of(self._store, self._config)
        worked = history.worked()
        larger = larger_budget(self._config, history, worked)
        ended = {reason, *spent(self._config, history, worked)}
        budget = {part: value for part, value in larger.items() if part in ended}
        return resume_command(self._run, self._stored, with_settings(self._config, {"budget": budget}))

    def _follow(self, stack: contextlib.ExitStack) -> None:
        """Let tables follow the run's events, and TensorBoard where it is asked for."""
        from wmloop.tracking import MetricsTable, TensorBoard

        table = MetricsTable(self._store, self._pipeline.names[-1])
        table.write()
        self._followers = [table.report, *([self._used_up.report] if self._used_up else [])]
        if self._track:
            board = TensorBoard(self._store)
            stack.callback(board.close)
            self._followers.append(board.report)

    def _report(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._place = f"{event.stage} of iteration {event.iteration}"
        if isinstance(event, Output):
            self._store.journal.append_output(event.line)
            return
        if self._throttle.passes(event, time.monotonic()):
            self._store.journal.append(stamped(event))
        assert self._view is not None
        self._view.report(event)
        if not isinstance(event, Resources) and time.monotonic() >= self._measured + _RESOURCES_SECONDS:
            self._measured = time.monotonic()
            self._report(resources(self._store.path))
            for text in take_notes():
                self._report(Message(text, "warning"))
        if isinstance(event, Picture):
            self._pictures[event.kind] = event.image
        if isinstance(event, Track):
            self._tracks[event.kind] = event.vectors, event.actions
        due = time.monotonic() >= self._saved + _PICTURES_SECONDS
        if isinstance(event, VersionCommitted) or (isinstance(event, Picture | Track) and due):
            self._save_pictures()
        for follow in self._followers:
            follow(event)

    def _save_pictures(self) -> None:
        """Save the latest pictures and tracks for `wmloop watch`; a disk that refuses stops no run for it."""
        self._saved = time.monotonic()
        if self._pictures or self._tracks:
            with contextlib.suppress(StorageError):
                self._store.journal.save_pictures(self._pictures, self._tracks)

    def _stopping(self, signum: int) -> None:
        assert self._view is not None
        once_more = "press it again" if signum == signal.SIGINT else "send it again"
        self._view.notice(
            f"{signals.NAMES[signum]}: saving {self._place}, then stopping"
            f" ({once_more}, {signals.SAME_SECONDS:g} s later or more, to exit without saving)"
        )

    def _leaving(self, signum: int) -> None:
        assert self._view is not None
        self._view.abandon()
        note(f"exiting now; what was not saved yet will be done again. Continue with\n  {self._again}")


def resources(run: Path) -> Resources:
    """Return what there is of memory and disk; 0 where the system does not tell."""
    free = 0
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(run).free
    return Resources(machine.resident(), free)


def larger_budget(config: RunConfig, history: History, seconds: float) -> dict[str, float]:
    """Return more of each part of a run's budget than it has used in `seconds` of work; a goal that no agent has met."""
    budget, (done, _) = config.budget, history.next_position()
    met = [version.metrics.get("confirmed_score_low", -math.inf) for version in history.scored()]
    goal = max([budget.goal or 0.0, *met])
    return {
        "iterations": 2 * max(done, budget.iterations),
        "hours": float(f"{2 * max(budget.hours or 1, seconds / 3600):.2g}"),
        "goal": goal + (abs(goal) / 100 if 0 < abs(goal) < 10 else max(1.0, abs(goal) / 100)),
    }


def spent(config: RunConfig, history: History, seconds: float) -> list[str]:
    """Return the parts of a run's budget that are used up."""
    budget, (done, _) = config.budget, history.next_position()
    used = ["iterations"] if done >= budget.iterations else []
    if history.meets(budget.goal):
        used.append("goal")
    if budget.hours is not None and seconds >= budget.hours * 3600:
        used.append("hours")
    return used


def more(store: Store) -> list[str]:
    """Return the options by which a run that has come to its end goes on: with more than was its end."""
    config = stored_config(store)
    history = history_of(store, config)
    worked = history.worked()
    larger = larger_budget(config, history, worked)
    return [word for part in spent(config, history, worked) for word in (f"--{part}", plain(larger[part]))]


def changed(stored: RunConfig, config: RunConfig) -> dict[str, Any]:
    """Return the settings by which a session differs from its run's own, by dotted name."""
    old, new = settings(stored), settings(config)
    return {name: value for name, value in new.items() if value != old[name]}


def resume_command(run: Path, stored: RunConfig, config: RunConfig) -> str:
    """Return the command that goes on with the run in the folder `run` as it is going: with what was changed."""
    words: list[str] = []
    for name, value in changed(stored, config).items():
        option = name.removeprefix("budget.")
        if option != name and value is not None:
            words += [f"--{option}", str(value)]
        else:
            words += ["--set", f"{name}={toml_value(value) if value is not None else 'none'}"]
    return " ".join([command("resume", run), quoted(words)]).rstrip()
