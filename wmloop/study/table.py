"""The figures of a study: its rows at each limit, one seed each and all together, and all of it as CSV."""

from __future__ import annotations

import csv
import functools
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wmloop.study.file import Row, Study
from wmloop.study.results import Final, Point, Result
from wmloop.study.statistics import Summary, difference, iqm, summarise
from wmloop.study.task import Task
from wmloop.study.words import plain

#: The columns of the CSV. `kind` is point (of a learning curve), final (of one seed), row (all seeds) or published.
COLUMNS = (
    "kind", "row", "seed", "limit", "frames", "evaluation_frames", "minutes", "seeds", "episodes", "score", "std", "iqm",
    "low_over_episodes", "high_over_episodes", "low_over_seeds", "high_over_seeds", "against", "difference",
    "low_difference", "high_difference", "finished", "worst", "predicted_return", "real_return", "source", "differs",
)  # fmt: skip


class Difference(NamedTuple):
    """By how much the interquartile mean of a row is above that of the row `against`, and its 95% interval for other seeds."""

    against: str
    value: float
    low: float
    high: float


class Line(NamedTuple):
    """A row at a limit: what its seeds came to, those that are not done or had no agent by then left out.

    `difference` is to the first row of the same task; None for that row, where one of them has a single seed, and at equal
    minutes where it is `elsewhere`: on another model of processor or GPU than that row. A program need not tell its own.
    """

    row: Row
    finals: Mapping[int, Final]
    summary: Summary | None
    missing: list[int]
    without: list[int]
    difference: Difference | None = None
    elsewhere: bool = False

    @property
    def scores(self) -> tuple[tuple[float, ...], ...]:
        """Return its scores, (seeds, episodes)."""
        return tuple(tuple(final.scores) for final in self.finals.values())

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure over its seeds, None where not all of them tell it."""
        values = [getattr(final, name) for final in self.finals.values()]
        return None if not values or None in values else statistics.fmean(values)

    @property
    def gaps(self) -> list[float]:
        """Return by how much the predicted return is above the real one, of each seed; none without a world model."""
        told = [(final.predicted, final.real) for final in self.finals.values()]
        return [predicted - real for predicted, real in told if predicted is not None and real is not None]


class Table:
    """All that a study has come to by now."""

    def __init__(self, study: Study, results: Mapping[Task, Result | None]) -> None:
        """Take a study and what each of its tasks came to, None for those that are not done."""
        self.study = study
        self._results = {(task.row.name, task.seed): result for task, result in results.items()}
        tasks = {row.name: study.task(row) for row in study.rows}
        self._first = {name: next(one for one in tasks if tasks[one] == task) for name, task in tasks.items()}

    def made(self, name: str) -> dict[str, list[tuple[str, int]]]:
        """Return what the runs tell of what they were made with, such as their `cpu`, and the runs (row, seed) of each."""
        told: dict[str, list[tuple[str, int]]] = {}
        for run, result in self._results.items():
            for one in [] if result is None else result.told(name, str):
                told.setdefault(one, []).append(run)
        return told

    @property
    def done(self) -> int:
        """Return how many tasks are done."""
        return sum(result is not None for result in self._results.values())

    @property
    def cores(self) -> list[int]:
        """Return on how many cores its runs were made, in order, each number once; nothing where none tells."""
        return sorted({count for result in self._results.values() if result for count in result.told("cores", int)})

    def result(self, row: Row, seed: int) -> Result | None:
        """Return what a row with a seed came to."""
        return self._results[row.name, seed]

    def curves(self, row: Row) -> dict[int, list[Point]]:
        """Return the learning curves of a row by seed."""
        results = {seed: self.result(row, seed) for seed in self.study.seeds}
        return {seed: result.points for seed, result in results.items() if result is not None and result.points}

    def lines(self, limit: str) -> list[Line]:
        """Return the rows at a limit, in their order."""
        lines = {row.name: self._line(row, limit) for row in self.study.rows}
        return [self._compared(line, lines[self._first[name]], limit) for name, line in lines.items()]

    def tasks(self, limit: str) -> list[list[Line]]:
        """Return the rows at a limit, those of each task by themselves: scores of two tasks cannot be compared."""
        tasks: dict[str, list[Line]] = {}
        for line in self.lines(limit):
            tasks.setdefault(self._first[line.row.name], []).append(line)
        return list(tasks.values())

    def _compared(self, line: Line, first: Line, limit: str) -> Line:
        """Return a line with its difference to the first one of its task, where these compare."""
        machines = [self._machines(one) for one in (line, first) if one.finals]
        if limit == "minutes" and len({one for one in machines if one is not None}) > 1:
            return line._replace(elsewhere=True)
        if first.row is line.row or min(len(line.finals), len(first.finals)) < 2:
            return line
        return line._replace(difference=_difference(first.row.name, line.scores, first.scores))

    def _machines(self, line: Line) -> frozenset[str] | None:
        """Return the models of processors and GPUs that a line's runs tell of; None of a program that tells nothing."""
        results = [self.result(line.row, seed) for seed in line.finals]
        told = frozenset(
            one for result in results if result for name in ("cpu_model", "gpu") for one in result.told(name, str)
        )
        return told or (frozenset() if line.row.command is None else None)

    def _line(self, row: Row, limit: str) -> Line:
        results = {seed: self.result(row, seed) for seed in self.study.seeds}
        missing = [seed for seed, result in results.items() if result is None]
        told = {seed: result.finals.get(limit) for seed, result in results.items() if result is not None}
        finals = {seed: final for seed, final in told.items() if final is not None}
        line = Line(row, finals, None, missing, [seed for seed in told if told[seed] is None])
        return line._replace(summary=_summary(line.scores, self.study.finished)) if finals else line

    def csv(self) -> str:
        """Return all of it as CSV, a learning curve's point or a score a line."""
        file = io.StringIO()
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for line in self._records():
            writer.writerow({name: _plain(value) for name, value in line.items() if value is not None})
        return file.getvalue()

    def _records(self) -> Iterable[dict[str, Any]]:
        study = self.study
        for row in study.rows:
            for seed, points in self.curves(row).items():
                for point in points:
                    yield {"kind": "point", "row": row.name, "seed": seed, **_where(point), "score": point.score}
        for limit in study.limits:
            for line in self.lines(limit):
                common = {"row": line.row.name, "limit": limit}
                for seed, final in line.finals.items():
                    yield {"kind": "final", **common, "seed": seed, **_where(final), **_scored(final, study.finished)}
                if line.summary is not None:
                    yield {"kind": "row", **common, **_summed(line)}
        for one in study.published:
            yield {"kind": "published", "row": one.name, "frames": one.frames, "episodes": one.episodes,
                   "score": one.score, "std": one.std, "source": one.source, "differs": one.differs}  # fmt: skip


def runs_told(text: str) -> set[str] | None:
    """Return the names of the runs that a study's CSV tells of, None where it is no study's."""
    lines = csv.DictReader(io.StringIO(text))
    if not {"kind", "row", "seed", "limit", "score"} <= set(lines.fieldnames or ()):
        return None
    return {f"{line.get('row')}-{line['seed']}" for line in lines if line.get("seed")}


@functools.cache
def _summary(scores: tuple[tuple[float, ...], ...], finished: float | None) -> Summary:
    """Return the figures of scores (seeds, episodes): they are asked for in many places, and take a while each time."""
    return summarise(scores, finished)


@functools.cache
def _difference(
    against: str, scores: tuple[tuple[float, ...], ...], others: tuple[tuple[float, ...], ...]
) -> Difference:
    mine, theirs = np.array(scores), np.array(others)
    return Difference(against, float(iqm(mine.ravel()) - iqm(theirs.ravel())), *difference(mine, theirs))


def _where(point: Point | Final) -> dict[str, float]:
    return {"frames": point.frames, "evaluation_frames": point.evaluated, "minutes": point.seconds / 60}


def _scored(final: Final, finished: float | None) -> dict[str, float | None]:
    own = _summary((tuple(final.scores),), finished)
    return {
        "episodes": own.episodes, "score": own.mean, "std": _deviation(final.scores), "iqm": own.iqm,
        "low_over_episodes": own.over_episodes[0], "high_over_episodes": own.over_episodes[1], "finished": own.finished,
        "worst": own.worst, "predicted_return": final.predicted, "real_return": final.real,
    }  # fmt: skip


def _summed(line: Line) -> dict[str, float | str | None]:
    summary = line.summary
    assert summary is not None, "it is asked for where there is one"
    low, high = summary.over_seeds or (None, None)
    against, value, least, most = line.difference or (None, None, None, None)
    means = [statistics.fmean(final.scores) for final in line.finals.values()]
    return {
        "frames": line.mean("frames"), "evaluation_frames": line.mean("evaluated"),
        "minutes": (line.mean("seconds") or 0.0) / 60, "seeds": summary.seeds, "episodes": summary.episodes,
        "score": summary.mean, "std": _deviation(means), "iqm": summary.iqm,
        "low_over_episodes": summary.over_episodes[0], "high_over_episodes": summary.over_episodes[1],
        "low_over_seeds": low, "high_over_seeds": high, "against": against, "difference": value, "low_difference": least,
        "high_difference": most, "finished": summary.finished, "worst": summary.worst,
        "predicted_return": line.mean("predicted"), "real_return": line.mean("real"),
    }  # fmt: skip


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, float) else value
