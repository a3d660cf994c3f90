"""One line an event: for logs, pipes and machines. No escapes, and no more lines than somebody would read."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from wmloop import streams
from wmloop.events import (
    Event,
    Message,
    Metrics,
    Output,
    Picture,
    Progress,
    Resources,
    RunFinished,
    RunStarted,
    Snapshot,
    StageStarted,
    Track,
    VersionCommitted,
    to_record,
)
from wmloop.pipelines import Pipeline
from wmloop.view.words import headline, number, size, span, tenths

REASONS = {
    "goal": "the goal is reached and confirmed",
    "iterations": "all iterations are done",
    "hours": "the hours are used up",
    "limits": "the limits of its study are used up",
    "interrupted": "stopped on request",
}


_RESOURCES_SECONDS = 300.0


class Throttle:
    """Let through every event but pictures, tracks and output, and of Progress and Metrics one per stage every so many seconds.

    The end of a stage's progress passes too, once, and so do the metrics that come with it; resources do every few minutes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = {Progress: -math.inf, Metrics: -math.inf}
        self._ended = False
        self._resources_due = -math.inf

    def passes(self, event: Event, now: float) -> bool:
        """Tell whether `event`, which came at `now` seconds, is to be shown."""
        match event:
            case Picture() | Track() | Output():
                return False
            case Resources():
                if now < self._resources_due:
                    return False
                self._resources_due = now + _RESOURCES_SECONDS
            case StageStarted():
                self._due = dict.fromkeys(self._due, now + self._seconds)
                self._ended = False
            case Progress() if event.done >= event.total:
                first, self._ended = not self._ended, True
                if first:
                    self._due[Metrics] = now
                return first
            case Progress() | Metrics():
                if now < self._due[type(event)]:
                    return False
                self._due[type(event)] = math.inf if self._ended else now + self._seconds
        return True


class LineView:
    """Write events as lines to a file; notices go to stderr."""

    def __init__(self, file: TextIO | None, line: Callable[[Event], str], seconds: float) -> None:
        """Write `line(event)` to `file`, Progress and Metrics every `seconds` at most."""
        self._file = file
        self._line = line
        self._throttle = Throttle(seconds)

    def report(self, event: Event) -> None:
        """Write `event` unless it is one too many."""
        if self._file is not None and self._throttle.passes(event, time.monotonic()):
            self.write(self._line(event))

    def write(self, line: str) -> None:
        """Write one line, or several at once, for as long as somebody reads them."""
        if self._file is None:
            return
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except (OSError, ValueError):
            # the reader went away (`| head`), or its disk is full: days of training go on without it
            streams.discard(self._file)
            self._file = None

    def notice(self, text: str) -> None:
        """Say `text` at once; any thread may call this."""
        note(text)

    def close(self) -> None:
        """Do nothing: every line is flushed as it is written."""

    def abandon(self) -> None:
        """Do nothing, likewise."""


def note(text: str) -> None:
    """Write a line to stderr at once, past Python's buffers and whatever stands in for stderr."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="replace"))


def timed(pipeline: Pipeline, event: Event) -> str:
    """Return one line about `event` with the time of day."""
    return f"{datetime.datetime.now():%H:%M:%S}  {plain(pipeline, event)}"


def json_line(event: Event) -> str:
    """Return `event` as JSON with its UTC time; numbers that are not finite become null."""
    return json.dumps(stamped(event))


def stamped(event: Event) -> dict[str, Any]:
    """Return the record of an event that is logged with its UTC `time`; what is not finite becomes None."""
    record = to_record(event)
    assert record is not None, "what is not logged has none"
    return timed_record(**record)


def timed_record(event: str, **values: Any) -> dict[str, Any]:
    """Return the record of what happened now, as the log has it: its UTC `time`, its name, and values."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return {"time": now, "event": event, **{name: _finite(value) for name, value in values.items()}}


def plain(pipeline: Pipeline, event: Event) -> str:
    """Return one line about `event` of a pipeline's run in ASCII."""
    match event:
        case RunStarted():
            verb = "continues" if event.resumed else "starts"
            limits = [f"goal {event.goal:g}" if event.goal is not None else "no goal"]
            limits += [f"{event.hours:g} h at most"] if event.hours else []
            if event.iteration >= event.iterations:
                return f"run {event.run} has finished {event.iteration} iterations, and the limit is {event.iterations}"
            return (f"run {event.run} {verb} at iteration {event.iteration}, {event.iterations} at most, on {event.device}"
                    f" ({', '.join(limits)})")  # fmt: skip
        case StageStarted():
            return f"{_place(event)}  started: {number(event.total)} {event.unit}"
        case Progress():
            left = (event.total - event.done) / event.rate if event.rate > 0 else None
            eta = f", {span(left)} left" if left else ""
            return (f"{_place(event)}  {event.done / max(event.total, 1):.0%} ({number(event.done)} of"
                    f" {number(event.total)} {event.unit}, {number(event.rate)}/s{eta})")  # fmt: skip
        case Metrics():
            return f"{_place(event)}  {' '.join(f'{name}={value:.4g}' for name, value in event.values.items())}"
        case VersionCommitted():
            said = headline(pipeline, event.stage, event.metrics)
            return (f"{_place(event)}  committed: {said + ', ' if said else ''}{size(event.num_bytes)},"
                    f" {span(event.seconds)}")  # fmt: skip
        case Snapshot():
            return f"{_place(event)}  snapshot at step {number(event.done)}"
        case Resources():
            return f"RAM in use {size(event.memory_bytes)}, disk free {size(event.free_bytes)}"
        case Message():
            return event.text if event.level == "info" else f"{event.level}: {event.text}"
        case RunFinished():
            best = ""
            if event.best_score is not None:
                best = f"; best agent: iteration {event.best_iteration}, score {tenths(event.best_score)}"
            return f"run {event.run} ended: {REASONS.get(event.reason, event.reason)}{best}"
        case Picture():
            return f"{_place(event)}  a picture: {event.kind}"
        case Track():
            return f"{_place(event)}  vectors and actions: {event.kind}"
        case Output():
            return f"{_place(event)}  printed: {event.line}"


def _place(event: StageStarted | Progress | Metrics | Picture | Track | Output | VersionCommitted | Snapshot) -> str:
    return f"{event.iteration:04d}/{event.stage}"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return value
