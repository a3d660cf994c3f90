"""The report's drawings, by matplotlib, each a figure of its own and narrow enough for a phone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from wmloop.report.facts import Facts
from wmloop.report.probe import Probe

#: Wong's colours, which people tell apart however they see them.
REAL, DREAM, SEEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
_RUNS = (REAL, DREAM, SEEN, "#CC79A7", "#E69F00", "#56B4E9")
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "wmloop", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "font.family": "sans-serif",
}  # fmt: skip
_WIDTH, _HEIGHT = 5.2, 3.0
#: Characters of a run's name in a figure.
_LONG = 30


def _legend(axes: Any, **where: Any) -> None:
    axes.legend(frameon=False, **where)


def _name(facts: Facts) -> str:
    """Return a run's name, of a long one its beginning and its end."""
    return facts.name if len(facts.name) <= _LONG else f"{facts.name[: _LONG // 2 - 1]}…{facts.name[-_LONG // 2 :]}"


def _crowded(runs: Sequence[Facts]) -> bool:
    """Return whether the runs' names would cover a figure of the usual size."""
    return len(runs) > 6 or sum(len(_name(facts)) for facts in runs) > 3 * _LONG


def _runs_axes(runs: Sequence[Facts], **labels: str) -> tuple[Figure, Any]:
    """Return axes for several runs, higher by the room that their names need below them."""
    return _axes(_HEIGHT + 0.2 * len(runs) if _crowded(runs) else _HEIGHT, **labels)


def _runs_legend(figure: Figure, axes: Any, runs: Sequence[Facts], **where: Any) -> None:
    if _crowded(runs):
        figure.legend(frameon=False, loc="outside lower center")
    else:
        _legend(axes, **where)


def _runs_styles(runs: Sequence[Facts]) -> list[tuple[Facts, str, str]]:
    """Return a colour and a line for each run, all different for up to two dozen."""
    looks = [(colour, line) for line in ("o-", "s--", "^:", "v-.") for colour in _RUNS]
    return [(facts, *looks[i % len(looks)]) for i, facts in enumerate(runs)]


def svg(figure: Figure) -> str:
    """Return a figure as SVG for the inside of a page: without an XML head, and the same each time."""
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _axes(height: float = _HEIGHT, **labels: str) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        axes.set(**labels)
        return figure, axes


def learning(facts: Facts, against: str) -> Figure:
    """Draw the real score, its deviation over tracks and the dream's promise, if any, against `frames` or `hours`."""
    figure, axes = _axes(xlabel=_AGAINST[against], ylabel="score of an episode")
    x = [getattr(point, against) for point in facts.points]
    score, std = (np.array([getattr(p, name) for p in facts.points]) for name in ("score", "std"))
    axes.fill_between(x, score - std, score + std, color=REAL, alpha=0.18, linewidth=0)
    axes.plot(x, score, "o-", color=REAL, markersize=3, label="reality (± one deviation over tracks)")
    if facts.dreams:
        promised = [p.promised for p in facts.points]
        axes.plot(x, promised, "s--", color=DREAM, markersize=3, label="the dream's promise of an episode")
        axes.plot(x, [p.paid for p in facts.points], ":", color=REAL, label="what reality paid for the same")
    sure = [(at, p.confirmed) for at, p in zip(x, facts.points, strict=True) if np.isfinite(p.confirmed)]
    if sure:
        axes.plot(*zip(*sure, strict=True), "D", color="black", markersize=4, label="on further tracks")
    if facts.config.budget.goal is not None:
        axes.axhline(facts.config.budget.goal, color=GREY, linewidth=0.8, linestyle=":")
    _legend(axes, loc="lower right")
    return figure


_AGAINST = {"frames": "real frames collected", "hours": "hours of work"}


def trust(facts: Facts) -> Figure:
    """Draw the dream-real gap with its error, and M's foresight on fresh episodes, over iterations."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 4.2), layout="constrained")
        above, below = figure.subplots(2, sharex=True)
    iterations = [point.iteration for point in facts.points]
    gap, error = (100 * np.array([getattr(p, name) for p in facts.points]) for name in ("gap", "gap_error"))
    above.errorbar(iterations, gap, np.abs(np.nan_to_num(error)), color=DREAM, marker="o", markersize=3, capsize=2)
    above.axhline(0, color=GREY, linewidth=0.8)
    above.set_yscale("symlog", linthresh=10)  # the first dreams may be off by hundreds
    above.set_yticks([-100, -10, 0, 10, 100], ["-100", "-10", "0", "10", "100"])
    above.set(ylabel="dream over reality, %")
    below.plot(iterations, [p.correlation for p in facts.points], "o-", color=SEEN, markersize=3, label="correlation")
    below.plot(iterations, [p.bias for p in facts.points], "s--", color=GREY, markersize=3, label="bias")
    below.axhline(0, color=GREY, linewidth=0.8)
    below.set(xlabel="iteration", ylabel="M, 25 decisions ahead", ylim=(-0.6, 1.05))
    _legend(below)
    return figure


def tracks(facts: Facts) -> Figure:
    """Draw the served agent's score on each of its tracks, the best first."""
    figure, axes = _axes(xlabel="tracks, best first", ylabel="score")
    for further, colour, label in ((False, REAL, "evaluation tracks"), (True, SEEN, "further tracks")):
        scores = sorted((t.score for t in facts.tracks if t.further == further), reverse=True)
        if scores:
            axes.plot(np.linspace(0, 1, len(scores)), scores, ".", color=colour, label=f"{len(scores)} {label}")
    axes.set_xticks([0, 0.5, 1], ["best", "median", "worst"])
    _legend(axes)
    return figure


def ahead(probe: Probe) -> Figure:
    """Draw how far an open-loop dream's pictures come to be from reality."""
    figure, axes = _axes(xlabel="decisions ahead", ylabel="RMS error, grey levels of 255")
    x = np.arange(1, len(probe.dream_error) + 1)
    axes.plot(x, probe.stay_error, color=GREY, linestyle="--", label="the picture it began with")
    axes.plot(x, probe.dream_error, color=DREAM, label="the dream")
    axes.axhline(probe.seen_error, color=SEEN, linewidth=1, linestyle=":", label="V's reconstruction")
    axes.set_ylim(0)
    axes.set_xticks(probe.steps)
    _legend(axes)
    return figure


def rewards(probe: Probe) -> Figure:
    """Draw rewards paid against those expected, in tenths of equal numbers of decisions."""
    figure, axes = _axes(xlabel="reward M expected of a decision", ylabel="reward paid, mean")
    order = np.argsort(probe.reward[:, 0])
    parts = np.array_split(probe.reward[order], 10)
    expected, paid = np.array([part.mean(0) for part in parts]).T
    error = [part[:, 1].std() / np.sqrt(max(1, len(part))) for part in parts]
    span = [min(expected.min(), paid.min()), max(expected.max(), paid.max())]
    axes.plot(span, span, color=GREY, linewidth=0.8)
    axes.errorbar(expected, paid, error, color=DREAM, marker="o", markersize=4, linestyle="", capsize=2)
    return figure


def time(facts: Facts) -> Figure:
    """Draw the minutes of each stage in each iteration."""
    figure, axes = _axes(xlabel="iteration", ylabel="minutes")
    base, iterations = np.zeros(len(facts.seconds)), list(facts.seconds)
    for stage, colour in zip(facts.pipeline.names, _RUNS, strict=False):
        minutes = np.array([spent.get(stage, 0.0) / 60 for spent in facts.seconds.values()])
        axes.bar(iterations, minutes, bottom=base, color=colour, label=stage, width=0.8)
        base += minutes
    _legend(axes, ncols=3, fontsize=8)
    axes.set_ylim(0, max(base.max(initial=0.0), 1e-3) * 1.3)
    return figure


def together(runs: Sequence[Facts], against: str) -> Figure:
    """Draw the real scores of several runs."""
    figure, axes = _runs_axes(runs, xlabel=_AGAINST[against], ylabel="score of an episode")
    for facts, colour, line in _runs_styles(runs):
        x = [getattr(point, against) for point in facts.points]
        score, std = (np.array([getattr(p, name) for p in facts.points]) for name in ("score", "std"))
        axes.fill_between(x, score - std, score + std, color=colour, alpha=0.12, linewidth=0)
        axes.plot(x, score, line, color=colour, markersize=3, label=_name(facts))
    _runs_legend(figure, axes, runs, loc="lower right")
    return figure


def gaps(runs: Sequence[Facts]) -> Figure:
    """Draw the dream-real gaps of several runs."""
    figure, axes = _runs_axes(runs, xlabel="iteration", ylabel="dream over reality, %")
    for facts, colour, line in _runs_styles(runs):
        iterations = [point.iteration for point in facts.points]
        axes.plot(iterations, [100 * p.gap for p in facts.points], line, color=colour, markersize=3, label=_name(facts))
    axes.axhline(0, color=GREY, linewidth=0.8)
    _runs_legend(figure, axes, runs)
    return figure


def spreads(runs: Sequence[Facts]) -> Figure:
    """Draw the scores of each run's served agent on all its tracks."""
    figure, axes = _runs_axes(runs, ylabel="score")
    axes.boxplot([[t.score for t in facts.tracks] or [np.nan] for facts in runs], whis=(0, 100), showmeans=True)
    turned = 90 if _crowded(runs) else 0
    axes.set_xticks(range(1, len(runs) + 1), [_name(facts) for facts in runs], rotation=turned)
    return figure


def grid(rows: Sequence[np.ndarray], scale: int = 2) -> np.ndarray:
    """Return rows of pictures (N, H, W, 3) as one, `scale` times as large."""
    gap = 4
    height, width = rows[0].shape[1:3]
    count = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) - gap, count * (width + gap) - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet.repeat(scale, 0).repeat(scale, 1)


def png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8 as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png", optimize=True)
    return file.getvalue()
