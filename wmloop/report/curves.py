"""The figures of a run's training: what each stage ended with, and the way there as far as its log tells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from wmloop.events import Metrics, from_record
from wmloop.history import History
from wmloop.report import drawing

#: What tells most of how C learns, in the order in which it is drawn; everything else comes after it.
_FIRST = (
    "approx_kl", "entropy", "explained_variance", "clipfrac", "v_loss", "pg_loss", "ref_kl", "policy_epochs", "dream_return",
    "dream_terminated_fraction",
)  # fmt: skip
#: Settings and counts among a stage's figures: nothing that training changes.
_UNDRAWN = {"units", "frames", "decisions", "episodes", "temperature", "gamma", "finetuned", "reward_saturated"}
#: Points of the way that are drawn of a curve.
_MOST = 400


class Curve(NamedTuple):
    """One figure of a stage, what it means, points (iteration, value) inside its iterations, and where each of them ended."""

    stage: str
    metric: str
    meaning: str
    way: list[tuple[float, float]]
    ends: list[tuple[float, float]]


def curves(history: History, records: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """Return the curves of the stages that train, by stage, in the order of the pipeline.

    Iteration n is drawn from n to n + 1, with its stage's work spread over it. What never changes is left out.
    """
    pipeline = history.pipeline
    driving = {*pipeline.collectors, pipeline.scored_by}
    training = [stage.name for stage in pipeline.stages if stage.name not in driving or stage.agent_files]
    ways: dict[tuple[str, str], dict[int, list[float]]] = {}
    for event in map(from_record, records):
        if isinstance(event, Metrics) and event.stage in training:
            for metric, value in event.values.items():
                ways.setdefault((event.stage, metric), {}).setdefault(event.iteration, []).append(value)
    found = []
    for stage in training:
        versions = history.all(stage)
        names = dict.fromkeys(
            [*(metric for name, metric in ways if name == stage), *(name for v in versions for name in v.metrics)]
        )
        for metric in names:
            ends = [(v.iteration + 1.0, v.metrics[metric]) for v in versions if metric in v.metrics]
            way = [
                (iteration + (k + 1) / (len(values) + 1), value)
                for iteration, values in sorted(ways.get((stage, metric), {}).items())
                for k, value in enumerate(values)
            ]
            way = [point for point in way if math.isfinite(point[1])]
            if metric not in _UNDRAWN and len({value for _, value in [*way, *ends]}) > 1:
                meaning = next((m.told for m in pipeline.row(stage).metrics if m.covers(metric)), "")
                found.append(Curve(stage, metric, meaning, way[:: max(1, len(way) // _MOST)], ends))
    return sorted(found, key=lambda curve: (training.index(curve.stage), _place(curve.metric)))


def _place(metric: str) -> int:
    return _FIRST.index(metric) if metric in _FIRST else len(_FIRST)


def draw(stage: Sequence[Curve]) -> Figure:
    """Draw the curves of one stage, each in a panel of its own."""
    rows = -(-len(stage) // 2)
    figure, panels = drawing.panels(rows, 2, 0.3 + 1.35 * rows, squeeze=False, sharex=True)
    for panel, curve in zip(panels.flat, stage, strict=False):
        if curve.way:
            panel.plot(*zip(*curve.way, strict=True), color=drawing.DREAM, linewidth=0.8, alpha=0.7)
        if curve.ends:
            panel.plot(*zip(*curve.ends, strict=True), "o", color=drawing.REAL, markersize=3)
        panel.set_title(curve.metric, loc="left", fontsize=8)
        drawing.whole_ticks(panel)
        if _steep(curve):
            panel.set_yscale("log")
    for panel in list(panels.flat)[len(stage) :]:
        panel.set_visible(False)
    figure.supxlabel("iteration", fontsize=9, color=drawing.INK)
    return figure


def _steep(curve: Curve) -> bool:
    """Return whether a curve falls so far that its end would be a flat line at the bottom."""
    values = [value for _, value in [*curve.way, *curve.ends]]
    return min(values) > 0 and max(values) > 10 * sorted(values)[len(values) // 2]
