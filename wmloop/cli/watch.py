"""`wmloop watch`: the live view of a run that another process is training."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.opening import commits, open_run, play_command, trust_of
from wmloop.cli.options import NameArgument, RunsOption
from wmloop.commands import command
from wmloop.opening import came_as, pipeline_of, stored_config

if TYPE_CHECKING:
    from wmloop.events import Event
    from wmloop.store import Store
    from wmloop.view import ViewState

_LOOK_SECONDS = 0.5


@guarded
def watch(
    name: NameArgument = None,
    progress: Annotated[
        Literal["auto", "rich", "plain", "json"],
        typer.Option(
            help="auto, rich: a live view, or as plain where stdout cannot show it; plain: one line per event; json: JSON"
            " lines."
        ),
    ] = "auto",
    runs: RunsOption = Path("runs"),
) -> None:
    """Watch a run that another process is training, from its log.

    The view is that of `wmloop start`; its images are updated once a second. Ctrl-C ends `watch`, not the run. If no process
    is training the run, its last screen is printed; as JSON, its last event.
    """
    from wmloop.events import RunFinished, from_record
    from wmloop.view import open_view, show_ended
    from wmloop.view.lines import json_line

    store = open_run(runs, name)
    if (agent := came_as(store)) is not None:
        say(f"{store.name} is {agent}: there is no training to watch")
        say_next(
            {"see what it scored": command("log", store.path), "watch it": play_command(store.path, *trust_of(store))}
        )
        return
    log = Log(store)
    state, latest = so_far(store, log)
    if not store.holder():
        if progress == "json":
            for event in [event for record in Log(store).records() if (event := from_record(record))][-1:]:
                print(json_line(event), flush=True)
        else:
            show_ended(replace(state, ended=latest), progress)
        _ended(store, state.reason)
        return
    reason = None  # what there was is an earlier process's
    view = open_view(progress, state, "Ctrl-C ends watch, not the run")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            for event in log.follow(lambda: store.holder() is not None):
                view.report(event)
                if isinstance(event, RunFinished):
                    reason = event.reason
                    break
    finally:
        view.close()
    if reason or not store.holder():
        _ended(store, reason)


class Log:
    """Read a run's log from its beginning, and then as it grows."""

    def __init__(self, store: Store) -> None:
        self._store, self._place = store, 0

    def records(self) -> list[dict[str, Any]]:
        """Return the records that were not read yet."""
        records, self._place = self._store.journal.events(self._place)
        return records

    def follow(self, alive: Callable[[], bool]) -> Iterator[Event]:
        """Yield events as they are written, and the latest pictures and tracks, until nobody writes the run and all is read."""
        from wmloop.events import Picture, Track, from_record

        while True:
            going_on = alive()  # asked first: what was written before the end is read after it
            pictures, tracks = self._store.journal.pictures()
            for kind, image in pictures.items():
                yield Picture(0, "", kind, image)
            for kind, track in tracks.items():
                yield Track(0, "", kind, *track)
            for record in self.records():
                if event := from_record(record):
                    yield event
            if not going_on:
                return
            time.sleep(_LOOK_SECONDS)


def so_far(store: Store, log: Log) -> tuple[ViewState, float]:
    """Return the view's state after all that is in the log by now, and when the latest of it was written."""
    from wmloop.events import RunStarted, VersionCommitted, from_record
    from wmloop.view import ViewState
    from wmloop.view.state import recall, reduce

    seen = [(record, event) for record in log.records() if (event := from_record(record))]
    starts = [place for place, (_, event) in enumerate(seen) if isinstance(event, RunStarted)]
    latest = seen[starts[-1] :] if starts else []
    own = {(event.iteration, event.stage) for _, event in latest if isinstance(event, VersionCommitted)}
    before = [version for version in commits(store.versions()) if (version.iteration, version.stage) not in own]
    now, wall = time.monotonic(), datetime.datetime.now(datetime.UTC)
    state = recall(ViewState(pipeline_of(stored_config(store)), run=store.name, began=now), before, now)
    at = now
    for record, event in latest:
        at = now - _age(record, wall)
        state = reduce(state, event, at)
    return state, at


def _age(record: dict[str, Any], wall: datetime.datetime) -> float:
    """Return how many seconds ago a record was written."""
    try:
        return max(0.0, (wall - datetime.datetime.fromisoformat(str(record["time"]))).total_seconds())
    except (KeyError, ValueError, TypeError):
        return 0.0


def _ended(store: Store, reason: str | None) -> None:
    from wmloop.cli.session import more

    how = {None: "is not being trained at the moment", "interrupted": "is stopped"}.get(reason, "has ended")
    say(f"the run {store.name} {how}")
    say_next({
        "see what it did": command("log", store.path),
        "continue it": command("resume", store.path, *more(store)),
    })  # fmt: skip
