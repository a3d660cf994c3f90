"""How the report's figures look: narrow enough for a phone, in the page's own colours, by matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

#: Wong's colours, which people tell apart however they see them; each has a lighter one on a dark page.
REAL, DREAM, SEEN, GREY = "#0072b2", "#d55e00", "#009e73", "#888888"
SERIES = (REAL, DREAM, SEEN, "#cc79a7", "#b8860b", "#56b4e9")
ON_DARK = {REAL: "#4db2ec", DREAM: "#ff9248", SEEN: "#35c99a", "#b8860b": "#e6b422"}
#: Stands for the colour of the page's text.
INK = "#010203"
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "wmloop", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "font.family": "sans-serif", "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 9,
}  # fmt: skip
WIDTH, HEIGHT = 5.2, 3.0
#: What matplotlib names its groups after, which nothing refers to, and which is the same in every figure.
_NAMES = re.compile(r' id="[A-Za-z0-9.]+_\d+"')


def panels(rows: int = 1, columns: int = 1, height: float = HEIGHT, **options: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes: one, or as many as `rows` by `columns`."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        return figure, figure.subplots(rows, columns, **options)


def axes(height: float = HEIGHT, **labels: str) -> tuple[Figure, Any]:
    """Return a figure and its only axes."""
    figure, one = panels(height=height)
    one.set(**labels)
    return figure, one


def legend(figure: Figure, columns: int = 2) -> None:
    """Put what the lines of a figure are above it, off the curves."""
    shown = {
        label: handle for one in figure.axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    with mpl.rc_context(_STYLE):
        figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=columns, fontsize=8)


def legend_above(one: Any, columns: int = 4) -> None:
    """Put what the lines of one panel are above it."""
    with mpl.rc_context(_STYLE):
        one.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=columns, fontsize=8, borderaxespad=0.1)


def whole_ticks(one: Any) -> None:
    """Let an axis of iterations have ticks at whole ones only."""
    one.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def count_ticks(one: Any) -> None:
    """Let an axis of counts be read: 40 k, not 40000."""
    one.xaxis.set_major_formatter(EngFormatter(sep=" "))
    one.xaxis.set_major_locator(MaxNLocator(5))


def styles(count: int) -> list[tuple[str, str]]:
    """Return a colour and a line for each of several runs, all different for up to two dozen."""
    looks = [(colour, line) for line in ("o-", "s--", "^:", "v-.") for colour in SERIES]
    return [looks[i % len(looks)] for i in range(count)]


def svg(figure: Figure) -> str:
    """Return a figure as SVG for the inside of a page, the same each time: no XML head, colours as the page has them."""
    text = _saved(figure, transparent=True)
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    for colour in ON_DARK:
        text = text.replace(colour, f"var({variable(colour)})")
    return text


def svg_file(figure: Figure) -> str:
    """Return a figure as an SVG file, the same each time: black on white, as it looks on any page."""
    return _saved(figure, transparent=False).replace(INK, "#000000")


def _saved(figure: Figure, transparent: bool) -> str:
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=transparent)
    return _NAMES.sub("", file.getvalue())


def variable(colour: str) -> str:
    """Return the name of the page's variable for a colour that is another on a dark page."""
    return f"--c{colour.removeprefix('#')}"


def colours(dark: bool) -> str:
    """Return the CSS that sets these variables."""
    return "".join(f"{variable(plain)}:{light if dark else plain};" for plain, light in ON_DARK.items())


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the largest of the values that are numbers; 0 and 1 where there is none."""
    numbers = [value for value in values if value == value]
    return (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
