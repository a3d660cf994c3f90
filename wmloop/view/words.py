"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from wmloop.pipelines import Pipeline

_WORDS = {
    "recon_loss": "recon",
    "newest_recon_loss": "recon",
    "dream_return": "dream",
    "confirmed_score": "confirmed",
}
_BARS = "▁▂▃▄▅▆▇█"
#: The left and the right dots of a cell of braille, the lowest first; together they are the union of their codes' bits.
_DOTS = "⡀⢀", "⠄⠠", "⠂⠐", "⠁⠈"


def headline(pipeline: Pipeline, stage: str, metrics: Mapping[str, float]) -> str:
    """Return the stage's metric that tells most, in a word, with its figure, or nothing.

    The score of real episodes that are collected is not the agent's: their actions are random, or explore.
    """
    for name in pipeline.row(stage).headline:
        if name in metrics:
            explores = name == "score" and stage in pipeline.collectors
            return f"{'explore' if explores else _WORDS.get(name, name)} {figure(metrics[name])}"
    return ""


def figure(value: float) -> str:
    """Return about three significant digits: `512`, `38.6`, `0.0871`, `3.2e-04`."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 100 or value == 0:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def tenths(value: float) -> str:
    """Return a score: `905.6`, `-3.4`, and `0.740` or `4.0e-04` where tenths would say too little."""
    if abs(value) >= 1 or value == 0:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.1e}"


def number(value: float) -> str:
    """Return a count or a rate: `5.3`, `950`, `9500`, `31.2k`, `4.1M`."""
    for unit, scale, least in (("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if value >= least:
            return f"{value / scale:.{0 if value >= 100 * scale else 1}f}{unit}"
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"


def counted(count: int, what: str) -> str:
    """Return how many of `what` there are: `1 episode`, `4 episodes`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def size(num_bytes: int) -> str:
    """Return bytes as `310 B`, `4.2 kB`, `1.7 MB`, `3.1 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes} B"


def span(seconds: float) -> str:
    """Return a duration: `4.2 s`, `38 s`, `12:05`, `3:04:05`, `2 d 03:04`."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{hours // 24} d {hours % 24:02d}:{minutes:02d}"


def sparkline(values: Sequence[float], width: int, low: float | None = None, high: float | None = None) -> str:
    """Return the values as at most `width` bars, means of equal stretches, from `low` to `high` or their own bounds."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    count = min(width, len(finite))
    means = []
    for i in range(count):
        part = finite[i * len(finite) // count : (i + 1) * len(finite) // count]
        means.append(sum(part) / len(part))
    bottom = min(means) if low is None else low
    top = max(means) if high is None else high
    if top <= bottom:
        return _BARS[3] * count
    scale = (len(_BARS) - 1) / (top - bottom)
    return "".join(_BARS[round(min(max(mean - bottom, 0), top - bottom) * scale)] for mean in means)


def bars(values: Sequence[float], low: float, high: float) -> str:
    """Return a bar a value, from `low` to `high`; a blank where it is not finite."""
    return "".join(" " if level is None else _BARS[level] for level in _levels(values, low, high, len(_BARS)))


def curve(values: Sequence[float], low: float, high: float, rows: int) -> list[str]:
    """Return a line through the values, a cell each, from `low` to `high` in so many rows of braille, the highest first.

    There is a gap where a value is not finite.
    """
    cells = [[0] * len(values) for _ in range(rows)]
    before: int | None = None
    for at, level in enumerate(_levels(values, low, high, len(_DOTS) * rows)):
        if level is not None:
            first = level if before is None else before
            for dot in {*range(first, level), *range(level, first + 1), level}:
                cells[rows - 1 - dot // len(_DOTS)][at] |= ord(_DOTS[dot % len(_DOTS)][0])
            cells[rows - 1 - level // len(_DOTS)][at] |= ord(_DOTS[level % len(_DOTS)][1])
        before = level
    return ["".join(chr(cell) if cell else " " for cell in row) for row in cells]


def _levels(values: Sequence[float], low: float, high: float, count: int) -> list[int | None]:
    """Return the values as 0 to `count` - 1, the middle where there is no span; None where they are not finite."""
    if high <= low:
        return [(count - 1) // 2 if math.isfinite(value) else None for value in values]
    scale = (count - 1) / (high - low)
    return [round((min(max(value, low), high) - low) * scale) if math.isfinite(value) else None for value in values]
