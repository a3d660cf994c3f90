"""The live view as a pure function: a state, a size and a time make rows of text and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from rich.console import RenderableType

from wmloop.view.lines import REASONS
from wmloop.view.rows import Row, Rows, Span, beside, cut, row_width, rule, spread
from wmloop.view.state import Score, ViewState
from wmloop.view.words import figure, headline, number, size, span, sparkline

_PICTURE_ROWS = (6, 20)
_PICTURE_GAP = 2
_TALL = 30  # from here on there is room for more figures
_ALARM_SECONDS = 600.0  # so long an alarm hides what was said after it
_NOTE_SECONDS = 60.0  # so long anything else is news


Paint = Callable[[np.ndarray, int, int], list[str]]
"""(image, rows, columns) -> that many lines of that many cells, as `frames.half_blocks` returns them."""


def render(
    state: ViewState,
    width: int,
    height: int,
    now: float,
    paint: Paint | None = None,
    notice: str = "",
    hint: str = "",
) -> RenderableType:
    """Return the view of `state` at `now` seconds in `height` rows of `width` cells; without `paint`, no pictures."""
    top = [*_header(state, width, now), *_strip(state, width), *_progress(state, width)]
    bottom = _footer(state, width, now, notice, hint)
    room = height - len(top) - len(bottom)
    pictures: list[Row] = []
    kinds = max(1, len(state.pipeline.images))
    columns = (width - _PICTURE_GAP * (kinds - 1)) // kinds
    rows = min(columns // 2, room - (8 if height >= _TALL else 6), _PICTURE_ROWS[1])
    if paint and state.pictures and width >= 80 and height >= 24 and rows >= _PICTURE_ROWS[0]:
        pictures = _pictures(state, rows, paint)
        room -= len(pictures)
    middle = [*_figures(state, width, room), *pictures]
    middle = middle[: max(0, height - len(top) - len(bottom))]
    blank: list[Row] = [[]] * max(0, height - len(top) - len(middle) - len(bottom))
    return Rows([*top, *middle, *blank, *bottom][:height], width)


def _header(state: ViewState, width: int, now: float) -> list[Row]:
    elapsed = state.spent + max(0.0, now - state.began)
    right = f"iteration {state.iteration} ({state.iteration + 1} of {state.iterations}) · {span(elapsed)}"
    ahead = state.goal_in(now) if width >= 80 else None
    goal = (
        [f"goal {state.goal:g}" + (f" in {span(ahead)}+" if ahead is not None else "")] if state.goal < math.inf else []
    )
    facts = [state.device, *goal]
    if state.hours is not None:
        facts.append(f"{state.hours:g} h at most")
    if state.best is not None:
        facts.append(f"best {figure(state.best.real)} (iteration {state.best.iteration})")
    facts.append(f"{number(state.frames)} real frames")
    return [
        spread([Span("wmloop ", "accent"), Span(state.run, "bold")], [Span(right)], width),
        [Span(" · ".join(facts), "dim")],
    ]


def _strip(state: ViewState, width: int) -> list[Row]:
    """Return three rows with a column per stage: its name, its headline figure, its time and rate."""
    cell = width // max(1, len(state.pipeline.names))
    gap = " " if cell >= 14 else ""
    names: list[Span] = []
    figures: list[Span] = []
    times: list[Span] = []
    for name in state.pipeline.names:
        finished, running = state.finished.get(name), state.running
        rate = f"{number(state.rates[name][0])}/s" if name in state.rates else ""
        if running is not None and running.name == name:
            mark, style = "●", "bold"
            said, took = headline(state.pipeline.row(name).headline, running.metrics), f"{running.share:.0%} {rate}"
        elif finished is not None:
            mark, style = "✓", "good"
            said, took = finished.headline, f"{span(finished.seconds)} {rate}"
        else:
            mark, style, said, took = "○", "dim", "", ""
        head = Span(mark + gap + name, style)
        for row, part in ((names, head), (figures, Span(2 * gap + said)), (times, Span(2 * gap + took, "dim"))):
            row += [*cut([part], cell - 1), Span(" ")]
    return [names, figures, times]


def _progress(state: ViewState, width: int) -> list[Row]:
    running = state.running
    if running is None:
        return [[Span(REASONS.get(state.reason, state.reason) if state.reason else "preparing …", "dim")]]
    left = running.seconds_left
    eta = "" if left is None else f" · {span(left)} left"
    text = f" {running.share:4.0%}{eta} · {number(running.rate)} {running.unit}/s"
    room = max(4, width - len(running.name) - 1 - len(text))
    full = round(running.share * room)
    return [
        [Span(running.name + " ", "bold"), Span("━" * full, "accent"), Span("━" * (room - full), "dim"), Span(text)]
    ]


def _figures(state: ViewState, width: int, room: int) -> list[Row]:
    """Return the losses beside the scores, or above them on a narrow screen, in at most `room` rows."""
    if not state.curves and not state.scores:
        return []
    wide = width >= 76
    half = (width - 3) // 2 if wide else width
    share = room - 1 if wide else (room - 2) // 2
    losses, scores = _losses(state, half, share), _scores(state, half, share)
    iteration, _, stage = state.curves_of.partition("/")
    dreamt = ", and as dreamt" if _dreams(state) else ""
    heads = f"{stage} of iteration {iteration}" if stage else "losses", f"score in reality{dreamt}"
    if wide:
        return [[*rule(heads[0], half), Span("   "), *rule(heads[1], half)], *beside(losses, scores, half, 3)]
    return [rule(heads[0], width), *losses, rule(heads[1], width), *scores]


def _losses(state: ViewState, width: int, room: int) -> list[Row]:
    stage = state.curves_of.partition("/")[2]
    first = state.pipeline.row(stage).headline
    names = sorted(state.curves, key=lambda name: name not in first)[: max(0, room)]
    column = min(20, max((len(name) for name in names), default=0))
    rows: list[Row] = []
    for name in names:
        points = state.curves[name]
        values = [points[at] for at in sorted(points)]
        bars = sparkline(values, width - column - 10)
        rows.append([*cut([Span(name)], column), Span(f" {figure(values[-1]):>7}  ", "bold"), Span(bars, "accent")])
    return rows


def _scores(state: ViewState, width: int, room: int) -> list[Row]:
    """Return the real score's history over the dream's on one scale, then as many evaluations as fit, newest first."""
    scores = state.scores
    if not scores or room < 1:
        return []
    real, dream = [s.real for s in scores], [s.promised for s in scores]
    finite = [value for value in [*real, *dream] if math.isfinite(value)]
    bounds = (min(finite), max(finite)) if finite else (0.0, 0.0)
    bars = width - 18
    rows: list[Row] = [
        [Span("real  ", "real"), Span(f"{figure(real[-1]):>7}  "), Span(sparkline(real, bars, *bounds), "real")],
    ]
    if _dreams(state):
        bar = Span(sparkline(dream, bars, *bounds), "dream")
        rows.append([Span("dream ", "dream"), Span(f"{figure(dream[-1]):>7}  "), bar])
    if state.open_loop is not None:
        correlation, bias = state.open_loop
        rows.append(
            [Span("M     ", "dream"), Span(f"   r {correlation:.2f}  bias {bias:+.0%}  ahead on fresh episodes", "dim")]
        )
    left = room - len(rows)
    shown = sorted(scores[-left:], key=lambda s: -s.iteration) if left > 0 else []
    return [*rows, *(_score_row(score, score is state.best, _dreams(state)) for score in shown)][:room]


def _dreams(state: ViewState) -> bool:
    """Return whether scores are promised: where there is a dream, it is shown."""
    return "dream" in state.pipeline.images


def _score_row(score: Score, best: bool, dreams: bool) -> Row:
    confirmed = "" if score.confirmed is None else f" confirmed {figure(score.confirmed)}"
    gap = "" if math.isnan(score.gap) else f" {score.gap:+.0%}"
    deviation = "" if math.isnan(score.std) else f" ±{figure(score.std)}"
    promised = f"  dream {figure(score.promised)}{gap}" if dreams else ""
    return [
        Span(f"{score.iteration:4d}  ", "dim"),
        Span(f"{figure(score.real)}{deviation}", "real" if best else ""),
        Span(promised, "dream"),
        Span(confirmed, "good"),
        Span("  best" if best else "", "real"),
    ]


def _pictures(state: ViewState, rows: int, paint: Paint) -> list[Row]:
    columns = 2 * rows
    head = "".join(f"{kind:<{columns + _PICTURE_GAP}}" for kind in state.pipeline.images)
    lines = []
    for kind in state.pipeline.images:
        image = state.pictures.get(kind)
        lines.append([""] * rows if image is None else paint(image, rows, columns))
    gap = Span(" " * _PICTURE_GAP)
    painted: list[Row] = [
        [cell for part in row for cell in (Span(" " * columns, "", part), gap)] for row in zip(*lines, strict=True)
    ]
    return [[Span(head.rstrip(), "dim")], *painted]


def _footer(state: ViewState, width: int, now: float, notice: str, hint: str) -> list[Row]:
    parts = []
    if state.commit is not None:
        commit, at = state.commit
        parts.append(f"committed {commit.iteration:04d}/{commit.stage} ({size(commit.num_bytes)}) {span(now - at)} ago")
    if state.snapshot is not None:
        saved, at = state.snapshot
        parts.append(f"snapshot of {saved.stage} {span(now - at)} ago")
    first: Row = [Span(" · ".join(parts), "dim")]
    last: Row = [Span(hint, "dim")]
    if state.resources is not None:
        there = Span(f"memory {size(state.resources.memory)} · {size(state.resources.free)} free", "dim")
        if row_width(first) + 2 + row_width([there]) <= width:
            first = spread(first, [there], width)
        else:
            last = spread(last, [there], width)
    if notice:
        last = [Span(notice, "warning")]
    elif state.notes:
        fresh = [note for note in state.notes if now - note.at < _NOTE_SECONDS]
        alarms = [note for note in state.notes if note.level == "alarm" and now - note.at < _ALARM_SECONDS]
        if said := [*fresh, *alarms]:
            last = [Span(said[-1].text, said[-1].level)]
    return [first, last]
