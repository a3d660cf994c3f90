"""The figures of one run: how it learnt, how far its dreams were from reality, and where its time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wmloop.calibration.ends import Calibration
from wmloop.ranking import proportion
from wmloop.report import drawing
from wmloop.report.drawing import DREAM, GREY, REAL, SEEN
from wmloop.report.episode import Drive
from wmloop.report.facts import Facts
from wmloop.report.probe import Probe
from wmloop.report.vectors import VectorProbe
from wmloop.view.words import counted

#: Numbers of a vector that are shown.
MOST = 24
#: Units of work, and from how many hours on it is told in them.
_UNITS = {"hours": (3.0, 1.0), "minutes": (0.05, 60.0), "seconds": (0.0, 3600.0)}


def along(runs: Sequence[Facts], against: str) -> tuple[str, float]:
    """Return what an axis of `frames` or `hours` is called for these runs, and what its values are multiplied by."""
    if against == "frames":
        return "real frames collected", 1.0
    longest = max((facts.points[-1].hours for facts in runs if facts.points), default=0.0)
    return next((f"{unit} of work", factor) for unit, (least, factor) in _UNITS.items() if longest >= least)


def learning(facts: Facts, against: str) -> Figure:
    """Draw the score, its deviation over episodes and the predicted return, if any, against `frames` or `hours`."""
    label, factor = along([facts], against)
    figure, axes = drawing.axes(3.3, xlabel=label, ylabel="score of an episode")
    x = [getattr(point, against) * factor for point in facts.points]
    score, std = (np.array([getattr(p, name) for p in facts.points]) for name in ("score", "std"))
    axes.fill_between(x, score - std, score + std, color=REAL, alpha=0.18, linewidth=0)
    axes.plot(x, score, "o-", color=REAL, markersize=3, label="score ± one standard deviation")
    values = [*score - np.nan_to_num(std), *score + np.nan_to_num(std)]
    if facts.dreams:
        predicted = [p.predicted_return for p in facts.points]
        axes.plot(x, predicted, "s--", color=DREAM, markersize=3, label="predicted return")
        axes.plot(x, [p.real_return for p in facts.points], ":", color=REAL, label="real return")
        values += [*predicted, *(p.real_return for p in facts.points)]
    sure = [(at, p.confirmed) for at, p in zip(x, facts.points, strict=True) if np.isfinite(p.confirmed)]
    if sure:
        axes.plot(*zip(*sure, strict=True), "D", color=drawing.INK, markersize=4, label="score on confirming episodes")
    goal_line(axes, facts.config.budget.goal, values)
    if against == "frames":
        drawing.count_ticks(axes)
    drawing.legend(figure)
    return figure


def goal_line(axes: Any, goal: float | None, values: Sequence[float]) -> None:
    """Draw the goal where it is near the values, else say where it is: an axis that reached it would flatten them."""
    if goal is None:
        return
    low, high = drawing.spread(values)
    near = 0.6 * (high - low)
    if low - near <= goal <= high + near:
        axes.axhline(goal, color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(f"goal {goal:g}", (0, goal), xycoords=("axes fraction", "data"), xytext=(2, 2),
                      textcoords="offset points", fontsize=8, color=GREY)  # fmt: skip
    else:
        axes.set_title(f"goal {goal:g} {'↑' if goal > high else '↓'}", loc="right", fontsize=8, color=GREY)


def reliability(told: Sequence[tuple[str, Sequence[Calibration]]]) -> Figure:
    """Draw the fraction of agent steps that terminated, with its 95% interval, against the mean predicted probability.

    One line a set of episodes; where none terminated, the interval alone.
    """
    figure, axes = drawing.axes(
        3.3,
        xlabel="predicted probability of termination",
        ylabel="fraction that terminated",
        xscale="log",
        yscale="log",
    )
    least = 1.0
    for (place, bins), (colour, line) in zip(told, drawing.styles(len(told)), strict=True):
        shown = [(one.expected, one.ended, *proportion(one.ended, one.decisions)) for one in bins if one.expected > 0]
        for expected, _, low, high in shown:
            axes.plot([expected, expected], [low, high], color=colour, linewidth=0.9, alpha=0.6)
        points = [(expected, ended) for expected, ended, *_ in shown if ended > 0]
        axes.plot(*zip(*points, strict=True) if points else ([], []), line, color=colour, markersize=4, label=place)
        least = min([least, *(expected for expected, *_ in shown), *(ended for _, ended in points)])
    ends = (least / 2, 1.0)
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlim=ends, ylim=ends)
    drawing.legend(figure, 1)
    return figure


def gap(facts: Facts) -> Figure:
    """Draw predicted less real return with its error, and how well M ranks moments, over iterations."""
    ranked = [(p.iteration, p.correlation) for p in facts.points if np.isfinite(p.correlation)]
    rows = 2 if ranked else 1
    figure, panels = drawing.panels(rows, 1, 1.2 + 1.5 * rows, sharex=True, squeeze=False)
    above = panels[0, 0]
    told = [(p.iteration, p.gap_points, p.gap_points_error) for p in facts.points if np.isfinite(p.gap_points)]
    if told:
        iterations, difference, error = np.array(told).T
        above.errorbar(iterations, difference, np.nan_to_num(error), color=DREAM, marker="o", markersize=3, capsize=2)
    above.axhline(0, color=GREY, linewidth=0.8)
    above.set(ylabel="predicted minus\nreal return")
    if ranked:
        panels[1, 0].plot(*zip(*ranked, strict=True), "o-", color=SEEN, markersize=3)
        panels[1, 0].axhline(0, color=GREY, linewidth=0.8)
        panels[1, 0].set(ylabel="M's correlation", ylim=(min(-0.05, *(c for _, c in ranked)), 1.05))
    panels[-1, 0].set_xlabel("iteration")
    drawing.whole_ticks(panels[-1, 0])
    return figure


def tracks(facts: Facts) -> Figure:
    """Draw the served agent's score in each of its episodes, the best first, those of `wmloop eval` too."""
    figure, axes = drawing.axes(xlabel="episodes, best first", ylabel="score")
    kinds = [
        (counted(len(scores), f"{name} episode"), colour, scores)
        for (name, scores), colour in zip(facts.scores.items(), (REAL, SEEN, DREAM), strict=True)
        if scores
    ]
    for label, colour, scores in kinds:
        axes.plot(np.linspace(0, 1, len(scores)), sorted(scores, reverse=True), ".", color=colour, label=label)
    axes.set_xticks([0, 0.5, 1], ["best", "median", "worst"])
    drawing.legend(figure, 3)
    return figure


def ahead(probe: Probe) -> Figure:
    """Draw how far an open-loop dream's pictures come to be from reality."""
    figure, axes = _errors(probe, "grey levels of 255", "image")
    axes.axhline(probe.seen_error, color=SEEN, linewidth=1, linestyle=":", label="V's reconstruction")
    axes.set_ylim(0)
    axes.set_xticks(probe.steps)
    drawing.legend(figure)
    return figure


def drift(probe: VectorProbe) -> Figure:
    """Draw how far an open-loop dream's vectors come to be from reality."""
    figure, axes = _errors(probe, "standard deviations", "vector")
    axes.set_ylim(0)
    drawing.whole_ticks(axes)
    drawing.legend(figure)
    return figure


def _errors(probe: Probe | VectorProbe, unit: str, shown: str) -> tuple[Figure, Axes]:
    """Draw the errors of an open-loop dream, and of what was shown at its begin."""
    figure, axes = drawing.axes(3.2, xlabel="agent steps ahead", ylabel=f"RMS error, {unit}")
    x = np.arange(1, len(probe.dream_error) + 1)
    axes.plot(x, probe.dream_error, color=DREAM, label="M's prediction")
    axes.plot(x, probe.stay_error, color=GREY, linestyle="--", label=f"no change: the {shown} at agent step 0")
    return figure, axes


def vectors(lines: Mapping[str, np.ndarray], first: int) -> Figure:
    """Draw vectors (T, n) by name, the real ones first, a panel for each of up to MOST numbers, from agent step `first` on."""
    count = min(MOST, next(iter(lines.values())).shape[1])
    columns = 1 if count <= 4 else 2
    rows = -(-count // columns)
    figure, panels = drawing.panels(rows, columns, 0.7 + 0.75 * rows, sharex=True, squeeze=False)
    for number, axes in enumerate(panels.T.flat):
        if number >= count:
            axes.set_axis_off()
            continue
        for (name, values), colour in zip(lines.items(), (REAL, DREAM), strict=False):
            x = np.arange(first, first + len(values))
            axes.plot(x, values[:, number], color=colour, linewidth=1, label=name)
        axes.set_ylabel(f"{number}", rotation=0, labelpad=8)
        axes.tick_params(labelsize=7)
    for axes in panels[-1]:
        axes.set_xlabel("agent step")
        drawing.whole_ticks(axes)
    if len(lines) > 1:
        drawing.legend(figure)
    return figure


def rewards(probe: Probe) -> Figure:
    """Draw rewards paid against those expected, in tenths of equal numbers of decisions."""
    figure, axes = drawing.axes(3.2, xlabel="reward predicted by M", ylabel="real reward, mean")
    order = np.argsort(probe.reward[:, 0])
    parts = [part for part in np.array_split(probe.reward[order], 10) if len(part)]
    expected, paid = np.array([part.mean(0) for part in parts]).T
    error = [part[:, 1].std() / np.sqrt(len(part)) for part in parts]
    span = [min(expected.min(), paid.min()), max(expected.max(), paid.max())]
    axes.plot(span, span, color=GREY, linewidth=0.8, label="as predicted")
    axes.errorbar(expected, paid, error, color=DREAM, marker="o", markersize=4, linestyle="", capsize=2,
                  label="a tenth of the agent steps")  # fmt: skip
    drawing.legend(figure)
    return figure


def episode(drive: Drive) -> Figure:
    """Draw the rewards and the actions of one episode, and what M expected of each decision if it was asked."""
    count = len(drive.rewards)
    figure, (above, middle, below) = drawing.panels(3, 1, 4.6, sharex=True)
    above.plot(np.arange(1, count + 1), np.cumsum(drive.rewards), color=REAL)
    above.set(ylabel="score so far")
    middle.plot(np.arange(count), drive.rewards, color=REAL, linewidth=0.9, label="real reward")
    if drive.expected is not None:
        middle.plot(np.arange(count), drive.expected, color=DREAM, linewidth=0.9, label="predicted by M")
    middle.set(ylabel="reward")
    drawing.legend_above(middle)
    low, high = np.percentile(drive.rewards, [0, 99]) if count else (0, 1)
    if count and high > 0 and drive.rewards.max() > 4 * high:  # one that is far above all others would make them a line
        middle.set_ylim(min(low, 0.0), 1.3 * high)
    below.set(ylabel="action", xlabel="agent step")
    drawing.whole_ticks(below)
    if drive.actions.ndim == 1:  # one of several, by its number
        below.plot(np.arange(count), drive.actions, ".", color=drawing.SERIES[0], markersize=3)
        below.set_ylim(-0.5, drive.actions.max(initial=1) + 0.5)
        below.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        return figure
    actions = drive.actions.reshape(count, -1)
    if actions.shape[1] > len(drawing.SERIES):
        below.set(ylabel=f"action, its first {len(drawing.SERIES)} numbers")
    for place, colour in zip(range(actions.shape[1]), drawing.SERIES, strict=False):
        below.plot(np.arange(count), actions[:, place], color=colour, linewidth=0.9, label=f"action {place}")
    drawing.legend_above(below, 3)
    return figure


def time(facts: Facts) -> Figure:
    """Draw how long each stage took in each iteration."""
    longest = max((sum(spent.values()) for spent in facts.seconds.values()), default=0.0)
    unit, seconds = ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)
    figure, axes = drawing.axes(3.2, xlabel="iteration", ylabel=unit)
    base, iterations = np.zeros(len(facts.seconds)), list(facts.seconds)
    for stage, (colour, _) in zip(facts.pipeline.names, drawing.styles(24), strict=False):
        took = np.array([spent.get(stage, 0.0) / seconds for spent in facts.seconds.values()])
        axes.bar(iterations, took, bottom=base, color=colour, label=stage, width=0.8)
        base += took
    drawing.whole_ticks(axes)
    drawing.legend(figure, 5)
    return figure
