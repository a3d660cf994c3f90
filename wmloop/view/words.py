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


def headline(pipeline: Pipeline, stage: str, metrics: Mapping[str, float]) -> str:
    """Return the stage's metric that tells most, in a word, with its figure, or nothing.

    The score of real episodes that are collected is not the agent's: their actions are random, or explore.
    """
    for name in pipeline.row(stage).headline:
        if name in metrics:
            explores = name == "score" and stage == pipeline.collected_by
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


def number(value: float) -> str:
    """Return a count or a rate: `5.3`, `950`, `9500`, `31.2k`, `4.1M`."""
    for unit, scale, least in (("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if value >= least:
            return f"{value / scale:.{0 if value >= 100 * scale else 1}f}{unit}"
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"


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
