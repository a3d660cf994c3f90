"""Vectors as pictures: what each of their numbers did lately, as lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from wmloop.display.lettering import draw_label

#: Moments that a plot shows, and numbers of a vector.
MOMENTS, MOST = 100, 24
#: What is real, expected and dreamt, in the colours of the report on a dark page; what is called otherwise has the next ones.
COLOURS = {"real": (77, 178, 236), "expected": (53, 201, 154), "dream": (255, 146, 72)}
_PAPER, _PANEL, _ZERO, _INK = (12, 12, 15), (24, 24, 29), (60, 60, 66), (235, 235, 235)
_HEAD, _GAP = 20, 4
#: Of a panel's height: room above and below the lines.
_MARGIN = 0.08


class Plot:
    """The latest MOMENTS of some vectors by name, a panel for each of their numbers, up to MOST.

    A panel's scale spans what it has shown since the plot was begun.
    """

    def __init__(self) -> None:
        self._moments: deque[Mapping[str, np.ndarray]] = deque(maxlen=MOMENTS)
        self._low, self._high = np.zeros(0), np.zeros(0)

    def __bool__(self) -> bool:
        """Tell whether there is anything to draw."""
        return bool(self._moments)

    def add(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Add a moment: a vector (n,) for each name. Names may come and go, n stays."""
        if not vectors:
            return
        told = np.stack(list(vectors.values())).astype(np.float64)
        low, high = told.min(0), told.max(0)
        first = not self._moments
        self._low = low if first else np.minimum(self._low, low)
        self._high = high if first else np.maximum(self._high, high)
        self._moments.append(vectors)

    def draw(self, height: int, width: int) -> np.ndarray:
        """Return a picture (height, width, 3) uint8 of it."""
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = _PAPER
        names = list(dict.fromkeys(name for moment in self._moments for name in moment))
        count = min(MOST, len(self._low))
        if count == 0:
            return canvas
        colours = dict(zip(names, _colours(names), strict=True))
        self._legend(canvas[:_HEAD], colours, count)
        columns = 1 if count <= 4 else 2 if count <= 12 else 3
        rows = -(-count // columns)
        down = np.linspace(_HEAD, height + _GAP, rows + 1).astype(int)
        across = np.linspace(0, width + _GAP, columns + 1).astype(int)
        for number in range(count):
            row, column = number % rows, number // rows
            box = slice(down[row], down[row + 1] - _GAP), slice(across[column], across[column + 1] - _GAP)
            canvas[box] = self._panel(number, colours, *canvas[box].shape[:2])
        return canvas

    def _legend(self, head: np.ndarray, colours: Mapping[str, tuple[int, int, int]], count: int) -> None:
        at, size = 0, len(self._low)
        words = [*colours.items(), *([(f"the first {count} of {size}", _INK)] if count < size else [])]
        for name, colour in words:
            room = head[:, at:]
            marked = draw_label(room, name, colour)
            wide = np.flatnonzero((marked != room).any((0, 2)))
            room[:] = marked
            at += int(wide[-1]) + _GAP if len(wide) else 0

    def _panel(self, number: int, colours: Mapping[str, tuple[int, int, int]], height: int, width: int) -> np.ndarray:
        panel = np.empty((height, width, 3), np.uint8)
        panel[:] = _PANEL
        low, span = self._low[number], max(float(self._high[number] - self._low[number]), 1e-9)
        top = min(_HEAD, height // 3) if len(self._low) > 1 else 0
        room = height - top
        rows, at = np.arange(height)[:, None], np.linspace(0, MOMENTS - 1, width)
        thick = min(max(1.0, height / 60), 2.5)

        def place(values: np.ndarray) -> np.ndarray:
            return np.asarray(top + room * (1 - _MARGIN - (1 - 2 * _MARGIN) * (values - low) / span))

        if low < 0 < low + span:
            panel[round(float(place(np.zeros(1))[0]))] = _ZERO
        for name in reversed(list(colours)):  # what is real lies above what is said of it
            told = np.array([m[name][number] if name in m else np.nan for m in self._moments], np.float64)
            y = np.interp(at, np.arange(len(told)), place(told), right=np.nan)
            after = np.where(np.isnan(np.append(y[1:], np.nan)), y, np.append(y[1:], np.nan))
            upper, lower = np.minimum(y, after) - thick, np.maximum(y, after) + thick
            panel[(rows >= upper) & (rows <= lower)] = colours[name]
        latest = self._moments[-1]
        value = latest[next(name for name in colours if name in latest)][number]
        return draw_label(panel, f"{number}: {value:.3g}", _INK) if top == _HEAD else panel


def _colours(names: list[str]) -> list[tuple[int, int, int]]:
    """Return a colour for each name: its own, else one that no other has."""
    rest = iter(
        [colour for name, colour in COLOURS.items() if name not in names] + [(204, 121, 167), (230, 180, 34)] * 9
    )
    return [COLOURS[name] if name in COLOURS else next(rest) for name in names]
