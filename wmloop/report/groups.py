"""Figures of several runs: those that differ by seed alone are one line with a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from wmloop.config import settings
from wmloop.report import charts, drawing
from wmloop.report.facts import PLACE, Facts

#: What runs that are taken together may have otherwise: where they ran, how far, and what they keep.
_FREE = (*PLACE, "budget.", "store.")
#: Characters of a name in a figure.
_LONG = 30


class Group(NamedTuple):
    """Runs that differ by seed alone."""

    runs: Sequence[Facts]

    @property
    def name(self) -> str:
        """Return what it is called: all its runs' names."""
        return ", ".join(facts.name for facts in self.runs)

    @property
    def length(self) -> int:
        """Return how many evaluations all of its runs have."""
        return min(len(facts.points) for facts in self.runs)

    def best(self) -> tuple[float, float, int]:
        """Return the mean of the scores of its runs' best agents, their deviation with n - 1, and how many there are."""
        scores = [facts.best.score for facts in self.runs if facts.best]
        middle = float(np.mean(scores)) if scores else float("nan")
        return middle, float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan"), len(scores)

    def values(self, name: str) -> np.ndarray:
        """Return a figure of the evaluations that all its runs have, (runs, evaluations)."""
        return np.array([[getattr(p, name) for p in facts.points[: self.length]] for facts in self.runs], np.float64)


def grouped(runs: Sequence[Facts]) -> list[Group]:
    """Return the runs, those together that differ by seed alone, in the order of the first of each.

    Budget, store and machine do not matter. Of one seed a group has one run: another of it, such as a fork, is no new one.
    """
    kinds: dict[str, list[Facts]] = {}
    for facts in runs:
        kind = {name: value for name, value in settings(facts.config).items() if not name.startswith(_FREE)}
        key = repr(kind)
        while any(facts.config.seed == other.config.seed for other in kinds.get(key, ())):
            key += " again"
        kinds.setdefault(key, []).append(facts)
    return [Group(members) for members in kinds.values()]


def _lines(groups: Sequence[Group], axes: Any, x: Any, name: str) -> Iterator[np.ndarray]:
    """Draw a figure of each group: a line with its band, or the line of a single run; yield what was drawn."""
    for group, (colour, line) in zip(groups, drawing.styles(len(groups)), strict=True):
        label = _short(group.name)
        label = f" {label}" if label.startswith("_") else label  # matplotlib leaves such names out of legends
        if len(group.runs) == 1:
            (facts,) = group.runs
            values = np.array([getattr(p, name) for p in facts.points], np.float64)
            axes.plot([x(p) for p in facts.points], values, line, color=colour, markersize=3, label=label)
            yield values
            continue
        for facts in group.runs:
            own = [getattr(p, name) for p in facts.points]
            axes.plot([x(p) for p in facts.points], own, color=colour, linewidth=0.6, alpha=0.5)
            yield np.array(own, np.float64)
        if group.length:
            at = np.array([[x(p) for p in facts.points[: group.length]] for facts in group.runs]).mean(0)
            values = group.values(name)
            middle, deviation = values.mean(0), values.std(0, ddof=1)
            axes.fill_between(at, middle - deviation, middle + deviation, color=colour, alpha=0.2, linewidth=0)
            axes.plot(
                at, middle, line, color=colour, markersize=3, linewidth=1.8, label=f"mean of {len(group.runs)}: {label}"
            )


def together(groups: Sequence[Group], against: str) -> Figure:
    """Draw the scores of several runs against `frames` or `hours`."""
    runs = [facts for group in groups for facts in group.runs]
    label, factor = charts.along(runs, against)
    figure, axes = drawing.axes(_height(groups), xlabel=label, ylabel="score of an episode")
    drawn = list(_lines(groups, axes, lambda point: getattr(point, against) * factor, "score"))
    goals = {facts.config.budget.goal for facts in runs}
    if len(goals) == 1:
        charts.goal_line(axes, goals.pop(), [float(value) for values in drawn for value in values])
    if against == "frames":
        drawing.count_ticks(axes)
    drawing.legend(figure, 1 if _crowded(groups) else 2)
    return figure


def gaps(groups: Sequence[Group]) -> Figure:
    """Draw predicted less real return of several runs."""
    figure, axes = drawing.axes(_height(groups), xlabel="iteration", ylabel="predicted minus real return")
    list(_lines(groups, axes, lambda point: point.iteration, "gap_points"))
    axes.axhline(0, color=drawing.GREY, linewidth=0.8)
    drawing.whole_ticks(axes)
    drawing.legend(figure, 1 if _crowded(groups) else 2)
    return figure


def spreads(runs: Sequence[Facts]) -> Figure:
    """Draw the scores of each run's served agent in all its episodes; where these are not recorded, mean and deviation."""
    figure, axes = drawing.axes(3.2 + 0.12 * len(runs), ylabel="score")
    for place, facts in enumerate(runs, 1):
        scores = [track.score for track in facts.tracks] + facts.fresh
        if scores:
            axes.boxplot([scores], positions=[place], widths=0.5, whis=(0, 100), showmeans=True, **_BOX)
        elif facts.best:
            error = np.nan_to_num(facts.best.std)
            axes.errorbar([place], [facts.best.score], [error], color=drawing.REAL, marker="^", capsize=6)
    crowded = len(runs) > 4 or max(len(facts.name) for facts in runs) > 12
    names = [_short(facts.name) for facts in runs]
    axes.set_xticks(range(1, len(runs) + 1), names, rotation=90 if crowded else 0)
    axes.set_xlim(0.4, len(runs) + 0.6)
    return figure


_INK: Any = {"color": drawing.INK, "linewidth": 0.8}
_BOX: Any = {"boxprops": _INK, "whiskerprops": _INK, "capprops": _INK, "medianprops": {"color": drawing.DREAM},
             "meanprops": {"marker": "^", "markerfacecolor": drawing.SEEN, "markeredgecolor": drawing.SEEN}}  # fmt: skip


def _short(name: str) -> str:
    """Return a name, of a long one its beginning and its end."""
    return name if len(name) <= _LONG else f"{name[: _LONG // 2 - 1]}…{name[-_LONG // 2 :]}"


def _crowded(groups: Sequence[Group]) -> bool:
    return len(groups) > 4 or any(len(_short(group.name)) > 15 for group in groups)


def _height(groups: Sequence[Group]) -> float:
    return 3.2 + (0.16 * len(groups) if _crowded(groups) else 0.08 * len(groups))
