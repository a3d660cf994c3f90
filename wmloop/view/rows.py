"""Rows of styled text and pictures, cut to a width: what the live view is laid out with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment
from rich.style import Style

_STYLES = {
    name: Style.parse(definition)
    for name, definition in {
        "dim": "bright_black",
        "bold": "bold",
        "accent": "cyan",
        "good": "green",
        "real": "bold green",
        "dream": "magenta",
        "warning": "yellow",
    }.items()
}


class Span(NamedTuple):
    """A piece of a row. `paint`, if given, is written over `text`: a line of a picture, escapes included."""

    text: str
    style: str = ""
    paint: str = ""


Row = Sequence[Span]


def row_width(row: Row) -> int:
    """Return how many cells a row takes."""
    return sum(cell_len(span.text) for span in row)


def cut(row: Row, width: int) -> list[Span]:
    """Return the row in exactly `width` cells: padded with blanks, or cut off with an ellipsis."""
    result: list[Span] = []
    left = width
    for span in row:
        size = cell_len(span.text)
        if size > left:
            if not span.paint and left > 0:
                result.append(span._replace(text=set_cell_size(span.text, left - 1) + "…"))
                left = 0
            break
        result.append(span)
        left -= size
    return [*result, Span(" " * left)] if left > 0 else result


def wrapped(text: str, width: int, rows: int) -> list[str]:
    """Return `text` in at most `rows` lines of `width` characters, broken between words; an ellipsis ends what is cut."""
    return textwrap.wrap(text, max(2, width), max_lines=rows, placeholder="…", break_on_hyphens=False)


def spread(left: Row, right: Row, width: int) -> list[Span]:
    """Return `left` and `right` at the two ends of `width` cells; `left` gives way where both do not fit."""
    room = width - row_width(right)
    return [*cut(left, room), *right] if room > 0 else cut(right, width)


def beside(left: Sequence[Row], right: Sequence[Row], left_width: int, gap: int = 2) -> list[Row]:
    """Return two blocks of rows beside each other."""
    height = max(len(left), len(right))
    padded = [*left, *[[]] * (height - len(left))], [*right, *[[]] * (height - len(right))]
    return [[*cut(a, left_width), Span(" " * gap), *b] for a, b in zip(*padded, strict=True)]


def rule(title: str, width: int) -> Row:
    """Return a thin line with a title near its left end."""
    head = f"── {title} " if title else ""
    return [Span(head + "─" * max(0, width - cell_len(head)), "dim")]


class Rows:
    """Rich's face of rows, cut to the width they are given."""

    def __init__(self, rows: Iterable[Row], width: int) -> None:
        self.rows = [cut(row, width) for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for row in self.rows:
            for text, style, paint in row:
                yield Segment(text, _STYLES.get(style))
                if paint:  # a control segment has no width, so Rich lays out the blanks that it covers
                    control = [(ControlType.CURSOR_BACKWARD, len(text))]
                    yield Segment(f"\x1b[{len(text)}D{paint}", None, control)
            yield Segment.line()
