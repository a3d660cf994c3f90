"""How far a task is, as its files tell while another process performs it."""

from __future__ import annotations

import contextlib
import json
import statistics

from wmloop.errors import WmloopError
from wmloop.opening import history_of, stored_config
from wmloop.store import Store
from wmloop.store.files import read_regular
from wmloop.study.program import scores_files
from wmloop.study.results import Point, Result, points_of
from wmloop.study.task import Task
from wmloop.study.words import plain


def so_far(task: Task) -> list[Point]:
    """Return the evaluations that a task has by now; none where they cannot be read at the moment."""
    with contextlib.suppress(WmloopError, OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        if task.row.command is None:
            store = Store.open(task.folder / task.name)
            return list(points_of(history_of(store, stored_config(store))).values())
        written = read_regular(scores_files(task)[-1]).decode(errors="replace").split("\n")
        told = [json.loads(line) for line in written[:-1]]  # the last may be half of one
        return [
            Point(float(one["frames"]), 0.0, float(one["seconds"]), float(one["score"]))
            for one in told
            if "score" in one
        ]
    return []


def running(task: Task) -> str:
    """Return in a few words how far a task is that is under way."""
    points = so_far(task)
    if not points:
        return "begun"
    last = points[-1]
    return f"{last.frames / 1000:.0f} k frames, {last.seconds / 60:.0f} min: {plain(last.score, 4)}"


def done(result: Result) -> str:
    """Return in a few words what a task has come to: its mean score at each limit."""
    means = (final and plain(statistics.fmean(final.scores), 4) for final in result.finals.values())
    return " | ".join(mean or "no agent" for mean in means)
