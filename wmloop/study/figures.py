"""The learning curves of a study: score against real frames, and against minutes of work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmloop.report import drawing
from wmloop.study.file import Row
from wmloop.study.results import Point
from wmloop.study.table import Table

_STEPS, _BEYOND = 60, 1.5
_LABELS = {"frames": "real frames collected", "minutes": "minutes of work"}


def curves(table: Table, limit: str) -> str:
    """Return the curves against `frames` or `minutes` as an SVG file: of each row the mean of its seeds, and each seed thin.

    The mean is drawn where all of its seeds have a score; between two of them a score is on the straight line. What is far
    beyond the limit, where nothing is compared, is left out.
    """
    rows = [(row, table.curves(row)) for row in table.study.rows]
    rows = [(row, seeds) for row, seeds in rows if any(len(points) > 1 for points in seeds.values())]
    figure, axes = drawing.axes(3.0 + 0.16 * len(rows), xlabel=_LABELS[limit], ylabel="mean score of an evaluation")
    for (row, seeds), (colour, line) in zip(rows, drawing.styles(len(rows)), strict=True):
        lines = [_along(points, limit) for points in seeds.values()]
        if len(lines) > 1:
            for x, y in lines:
                axes.plot(x, y, color=colour, linewidth=0.6, alpha=0.4)
            x, y = _mean(lines)
            axes.plot(x, y, line[1:], color=colour, linewidth=1.8, label=f"{_named(row)} (mean of {len(lines)})")
        else:
            axes.plot(*lines[0], line, color=colour, markersize=3, label=_named(row))
    bound = table.study.limits[limit]
    axes.axvline(bound, color=drawing.GREY, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, min(axes.get_xlim()[1], _BEYOND * bound))
    if limit == "frames":
        drawing.count_ticks(axes)
    if rows:
        drawing.legend(figure)
    return drawing.svg_file(figure)


def _named(row: Row) -> str:
    """Return a row's name for the legend, which leaves out whatever begins with a line."""
    return f" {row.name}" if row.name.startswith("_") else row.name


def _along(points: Sequence[Point], limit: str) -> tuple[np.ndarray, np.ndarray]:
    x = [point.frames if limit == "frames" else point.seconds / 60 for point in points]
    return np.array(x, np.float64), np.array([point.score for point in points], np.float64)


def _mean(lines: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    first, last = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    if first > last:
        return np.zeros(0), np.zeros(0)
    at = np.linspace(first, last, _STEPS)
    return at, np.mean([np.interp(at, x, y) for x, y in lines], axis=0)
