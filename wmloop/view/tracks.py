"""What was observed and done, agent step by agent step: a plot a number, reality beside a dream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wmloop.events import Track
from wmloop.view.rows import Row, Span, cut, rule
from wmloop.view.words import bars, curve, figure

_KINDS = ("real", "dream")
#: Cells of the two ends of a range, and the fewest of a plot.
_RANGE, _LEAST = 20, 9
_TALLEST = 3
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Line(NamedTuple):
    """One number over the agent steps of each kind of track: values (T+1,), NaN where there is none."""

    label: str
    values: Mapping[str, np.ndarray]
    discrete: bool


def lines_of(tracks: Mapping[str, Track]) -> tuple[list[Line], list[Line]]:
    """Return a line for each number of the vectors, and one for each of the actions."""
    shown = {kind: tracks[kind] for kind in _KINDS if kind in tracks}
    vectors = {kind: track.vectors for kind, track in shown.items()}
    actions = {kind: np.atleast_2d(track.actions.T).T for kind, track in shown.items()}
    after = {kind: np.concatenate([done, np.full((1, done.shape[1]), np.nan)]) for kind, done in actions.items()}
    discrete = all(
        done.dtype.kind in "iu" and done.min(initial=0) >= 0 and done.max(initial=0) < len(_DIGITS)
        for done in actions.values()
    )
    count = max((done.shape[1] for done in after.values()), default=0)
    names = ["action"] if count == 1 else [f"action {i}" for i in range(count)]
    size = max((part.shape[1] for part in vectors.values()), default=0)
    return _lines(vectors, [str(i) for i in range(size)], False), _lines(after, names, discrete)


def _lines(told: Mapping[str, np.ndarray], names: Sequence[str], discrete: bool) -> list[Line]:
    return [
        Line(name, {kind: part[:, i] for kind, part in told.items() if i < part.shape[1]}, discrete)
        for i, name in enumerate(names)
    ]


def plots(tracks: Mapping[str, Track], width: int, room: int, comfortable: int = 0) -> list[Row]:
    """Return a head and a plot for each number and action, in at most `room` rows of `width` cells, or nothing.

    A cell is an agent step: of an episode the latest are shown, of a dream the first. Both have one scale, from the least to
    the greatest value that is shown. Where not all fit, the first do, actions too. Plots become taller as far as they fit into
    `comfortable` rows, no more than `room`.
    """
    numbers, actions = lines_of(tracks)
    fit = room - 1
    done = min(len(actions), max(1, fit // 3, fit - len(numbers)))
    lines = [*numbers[: max(0, fit - done)], *actions[:done]]
    column = max((len(line.label) for line in lines), default=0)
    left = column + 1 + _RANGE
    cells = _cells(tracks, width - left - 1)
    if fit < 1 or not lines or min(cells.values()) < _LEAST:
        return []
    title = "observation and action" if numbers else "action"
    if len(lines) < len(numbers) + len(actions):
        title = f"{len(lines)} of {len(numbers) + len(actions)} numbers"
    head = cut(rule(title, left), left)
    for kind, count in cells.items():
        head += [Span(" "), *cut(rule("real, by agent step" if kind == "real" and count > 24 else kind, count), count)]
    rows: list[Row] = [head]
    flat = sum(line.discrete for line in lines)
    tall = min(max((comfortable - 1 - flat) // max(1, len(lines) - flat), 1), _TALLEST)
    for line in lines:
        rows += _plot(line, column, cells, 1 if line.discrete else tall)
    return rows


def _cells(tracks: Mapping[str, Track], width: int) -> dict[str, int]:
    """Return the cells of each kind: a dream has those that it takes, up to half, and reality the rest."""
    kinds = [kind for kind in _KINDS if kind in tracks]
    if len(kinds) < 2:
        return dict.fromkeys(kinds, width)
    dream = min(max(len(tracks["dream"].vectors), _LEAST), (width - 1) // 2)
    return {"real": width - 1 - dream, "dream": dream}


def _plot(line: Line, column: int, cells: Mapping[str, int], tall: int) -> list[list[Span]]:
    told = {kind: line.values.get(kind, np.zeros(0)) for kind in cells}
    shown = {kind: told[kind][-count:] if kind == "real" else told[kind][:count] for kind, count in cells.items()}
    low, high = _bounds(np.concatenate(list(shown.values())))
    ends = f" {figure(low):>8} to {figure(high):<8}" if low < high else f" {figure(high):>8}"
    label = [*cut([Span(line.label)], column), Span(ends, "dim")]
    rows = [cut(label if row == 0 else [], column + 1 + _RANGE) for row in range(tall)]
    for kind, part in shown.items():
        values = part.tolist()
        if line.discrete:
            drawn = ["".join(_DIGITS[int(value)] if math.isfinite(value) else " " for value in values)]
        else:
            drawn = [bars(values, low, high)] if tall == 1 else curve(values, low, high, tall)
        for row, text in zip(rows, drawn, strict=True):
            row += [Span(" "), *cut([Span(text, kind)], cells[kind])]
    return rows


def _bounds(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest of the values that are finite; NaN where none is."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (math.nan, math.nan)
