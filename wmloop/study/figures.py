"""The learning curves of a study: score against real frames, and against minutes of work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmloop.report import drawing
from wmloop.study.file import LIMITS, Row
from wmloop.study.results import Point
from wmloop.study.table import Table

_STEPS, _BEYOND = 60, 1.5
_LABELS = dict(zip(LIMITS, ("real frames collected", "minutes of work"), strict=True))


def curves(table: Table, against: str) -> str:
    """Return the curves `against` frames or minutes as an SVG file: of each row the mean of its seeds, and each seed thin.

    The mean is drawn where all of its seeds have a score; between two of them a score is on the straight line. What is far
    beyond the study's limit of these, where nothing is compared, is left out.
    """
    rows = [(row, table.curves(row)) for row in table.study.rows]
    rows = [(row, seeds) for row, seeds in rows if any(len(points) > 1 for points in seeds.values())]
    figure, axes = drawing.axes(3.0 + 0.16 * len(rows), xlabel=_LABELS[against], ylabel="mean score of an evaluation")
    for (row, seeds), (colour, line) in zip(rows, drawing.styles(len(rows)), strict=True):
        lines = [_along(points, against) for points in seeds.values()]
        if len(lines) > 1:
            for x, y in lines:
                axes.plot(x, y, color=colour, linewidth=0.6, alpha=0.4)
            x, y = _mean(lines)
            axes.plot(x, y, line[1:], color=colour, linewidth=1.8, label=f"{_named(row)} (mean of {len(lines)})")
        else:
            axes.plot(*lines[0], line, color=colour, markersize=3, label=_named(row))
    if (bound := table.study.limits.get(against)) is not None:
        axes.axvline(bound, color=drawing.GREY, linewidth=0.8, linestyle=":")
        axes.set_xlim(right=min(axes.get_xlim()[1], _BEYOND * bound))
    axes.set_xlim(left=0)
    if against == "frames":
        drawing.count_ticks(axes)
    if rows:
        drawing.legend(figure)
    return drawing.svg_file(figure)


def _named(row: Row) -> str:
    """Return a row's name for the legend, which leaves out whatever begins with a line."""
    return f" {row.name}" if row.name.startswith("_") else row.name


def _along(points: Sequence[Point], against: str) -> tuple[np.ndarray, np.ndarray]:
    x = [point.frames if against == "frames" else point.seconds / 60 for point in points]
    return np.array(x, np.float64), np.array([point.score for point in points], np.float64)


def _mean(lines: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    first, last = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    if first > last:
        return np.zeros(0), np.zeros(0)
    at = np.linspace(first, last, _STEPS)
    return at, np.mean([np.interp(at, x, y) for x, y in lines], axis=0)
