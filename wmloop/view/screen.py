"""The live view as a pure function: a state, a size and a time make rows of text and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from rich.cells import cell_len
from rich.console import RenderableType

from wmloop.view.lines import REASONS
from wmloop.view.rows import Row, Rows, Span, beside, cut, row_width, rule, spread, wrapped
from wmloop.view.state import Score, ViewState
from wmloop.view.tracks import lines_of, plots
from wmloop.view.words import figure, headline, number, size, span, sparkline

_PICTURE_ROWS = (6, 20)
_PICTURE_GAP = 2
_WIDE = 76  # from here on the scores have room beside the losses
_TALL = 30  # from here on there is room for more figures
_MANY_FIGURES = 14  # so many rows they may have before plots become taller
_WARNING_SECONDS = 600.0  # so long a warning stays, unless another comes
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
    bottom = _footer(state, width, now, notice, hint)
    top = [*_header(state, width, now), *_strip(state, width), *_progress(state, width)][: max(0, height - len(bottom))]
    room = height - len(top) - len(bottom)
    shown = _shown(state, width, height, room, paint)
    middle = [*_figures(state, width, room - len(shown)), *shown]
    middle = middle[: max(0, height - len(top) - len(bottom))]
    blank: list[Row] = [[]] * max(0, height - len(top) - len(middle) - len(bottom))
    return Rows([*top, *middle, *blank, *bottom][:height], width)


def _shown(state: ViewState, width: int, height: int, room: int, paint: Paint | None) -> list[Row]:
    """Return plots of what is observed and done, and pictures below them, as far as they fit into `room` rows with the figures.

    Pictures become smaller for plots of vectors. For those of actions alone they do not: only a tall screen has these, too.
    """
    figures = 8 if height >= _TALL else 6 if width >= _WIDE else 10
    kinds = max(1, len(state.pipeline.images))
    columns = (width - _PICTURE_GAP * (kinds - 1)) // kinds
    least, most = _PICTURE_ROWS
    rows = min(columns // 2, room - figures, most)
    if not (paint and state.pictures and width >= 80 and height >= 24 and rows >= least):
        return plots(state.tracks, width, room - figures, room - _MANY_FIGURES)
    numbers, _ = lines_of(state.tracks)
    kept = least if numbers else rows
    beside = plots(state.tracks, width, room - figures - kept) if numbers or height >= _TALL else []
    rows = min(rows, room - figures - len(beside))
    return [*beside, *_pictures(state, rows, paint)]


def _header(state: ViewState, width: int, now: float) -> list[Row]:
    # a finished run stands at an iteration that it will not do
    done = min(state.iteration + 1, state.iterations)
    right = f"iteration {state.iteration} ({done} of {state.iterations}) · {span(state.worked(now))}"
    ahead = state.goal_in(now) if width >= 80 else None
    goal = (
        [f"goal {state.goal:g}" + (f" in {span(ahead)} or more" if ahead is not None else "")]
        if state.goal < math.inf
        else []
    )
    facts = [state.device, *goal]
    if state.hours is not None:
        facts.append(f"{state.hours:g} h at most")
    if state.best is not None:
        facts.append(f"best {figure(state.best.real)} (iteration {state.best.iteration})")
    facts.append(f"{number(state.frames)} frames")
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
        if running is not None and running.name == name:
            mark, style = "●", "bold"
            said, took = headline(state.pipeline, name, running.metrics), f"{running.share:.0%} {_rate(running.rate)}"
        elif finished is not None:
            mark, style = "✓", "good"
            said, took = finished.headline, f"{span(finished.seconds)} {_rate(finished.rate)}"
        else:
            mark, style, said, took = "○", "dim", "", ""
        head = Span(mark + gap + name, style)
        for row, part in ((names, head), (figures, Span(2 * gap + said)), (times, Span(2 * gap + took, "dim"))):
            row += [*cut([part], cell - 1), Span(" ")]
    return [names, figures, times]


def _rate(rate: float) -> str:
    return f"{number(rate)}/s" if rate > 0 else ""


def _progress(state: ViewState, width: int) -> list[Row]:
    running = state.running
    if running is None:
        return [[Span(REASONS.get(state.reason, state.reason) if state.reason else "preparing …", "dim")]]
    left = running.seconds_left
    eta = "" if left is None else f" · {span(left)} left"
    rate = f" · {number(running.rate)} {running.unit}/s" if running.rate > 0 else ""
    text = f" {running.share:4.0%}{eta}{rate}"
    room = max(4, width - len(running.name) - 1 - len(text))
    full = round(running.share * room)
    return [
        [Span(running.name + " ", "bold"), Span("━" * full, "accent"), Span("━" * (room - full), "dim"), Span(text)]
    ]


def _figures(state: ViewState, width: int, room: int) -> list[Row]:
    """Return the losses beside the scores, or above them on a narrow screen, in at most `room` rows.

    Before the first score there is what an iteration does in its place.
    """
    wide = width >= _WIDE
    half = (width - 3) // 2 if wide else width
    share = room - 1 if wide else (room - 2) // 2
    scores = _scores(state, half, share) if state.scores else _plan(state, room - 1 if wide else room - 4)
    losses = _losses(state, half, room - 1 if wide else room - 2 - max(len(scores), room - 2 - share))
    iteration, _, stage = state.curves_of.partition("/")
    heads = f"{stage} of iteration {iteration}" if stage else "losses", _scores_head(state)
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
    """Return the real scores over those that M predicted, on one scale, then as many evaluations as fit, newest first."""
    scores = state.scores
    if not scores or room < 1:
        return []
    real, predicted = [s.real for s in scores], [s.predicted for s in scores]
    finite = [value for value in [*real, *predicted] if math.isfinite(value)]
    bounds = (min(finite), max(finite)) if finite else (0.0, 0.0)
    bars = width - 18
    rows: list[Row] = [
        [Span("score ", "real"), Span(f"{figure(real[-1]):>7}  "), Span(sparkline(real, bars, *bounds), "real")],
    ]
    if state.pipeline.dreams:
        bar = Span(sparkline(predicted, bars, *bounds), "dream")
        rows.append([Span("M     ", "dream"), Span(f"{_known(predicted[-1]):>7}  "), bar])
    if state.open_loop is not None:
        correlation, bias = state.open_loop
        told = f", bias {bias:+.0%}" if math.isfinite(bias) else ""
        rows.append([Span(f"open loop: corr. {correlation:.2f}{told}", "dim")])
    left = room - len(rows)
    shown = sorted(scores[-left:], key=lambda s: -s.iteration) if left > 0 else []
    return [*rows, *(_score_row(score, score is state.best, state.pipeline.dreams) for score in shown)][:room]


def _scores_head(state: ViewState) -> str:
    """Return the title of the scores, and when the next one comes, if that is known."""
    if not state.scores and state.reason is None:
        return "one iteration"
    predicted = ", and M's predicted return" if state.pipeline.dreams else ""
    ahead = state.score_in()
    return f"score{predicted}" if ahead is None else f"score · next in {span(ahead)}"


def _plan(state: ViewState, room: int) -> list[Row]:
    """Return what the stages of an iteration do, and when the first score comes."""
    rows: list[Row] = [
        [*cut([Span(stage.name)], 11), Span(stage.about, "dim")] for stage in state.pipeline.stages if stage.about
    ]
    return [*rows, [Span(f"the first score comes with {state.pipeline.scored_by}", "dim")]][: max(0, room)]


def _known(value: float) -> str:
    return figure(value) if math.isfinite(value) else ""


def _score_row(score: Score, best: bool, dreams: bool) -> Row:
    confirmed = "" if score.confirmed is None else f" confirmed {figure(score.confirmed)}"
    gap = f" gap {score.gap:+.0%}" if abs(score.gap) < 1 else ""  # larger than the real return it says nothing
    deviation = "" if math.isnan(score.std) else f" ±{figure(score.std)}"
    predicted = f"  M {figure(score.predicted)}{gap}" if dreams and math.isfinite(score.predicted) else ""
    return [
        Span(f"{score.iteration:4d}  ", "dim"),
        Span(f"{figure(score.real)}{deviation}", "real" if best else ""),
        Span(confirmed, "good"),
        Span(predicted, "dream"),
        Span("  best" if best else "", "real"),
    ]


def _pictures(state: ViewState, rows: int, paint: Paint) -> list[Row]:
    columns = 2 * rows
    lines = []
    for kind in state.pipeline.images:
        image = state.pictures.get(kind)
        lines.append([""] * rows if image is None else paint(image, rows, columns))
    gap = Span(" " * _PICTURE_GAP)
    head = [cell for kind in state.pipeline.images for cell in (*cut([Span(kind, "dim")], columns), gap)]
    painted: list[Row] = [
        [cell for part in row for cell in (Span(" " * columns, "", part), gap)] for row in zip(*lines, strict=True)
    ]
    return [head, *painted]


def _footer(state: ViewState, width: int, now: float, notice: str, hint: str) -> list[Row]:
    """Return a row of what is saved, and below it what is said, in two rows at most, or else what there is of memory.

    The hint stands at the right end of the last row that has room for it. What does not fit beside it is left out whole.
    """
    parts = []
    if state.commit is not None:
        commit, at = state.commit
        parts.append(f"committed {commit.iteration:04d}/{commit.stage} ({size(commit.num_bytes)}) {span(now - at)} ago")
    if state.snapshot is not None:
        parts.append(f"snapshot {span(now - state.snapshot[1])} ago")
    memory = ""
    if state.resources is not None:
        memory = f"RAM {size(state.resources.memory_bytes)} · disk free {size(state.resources.free_bytes)}"
    text, style = (notice, "warning") if notice else _said(state, now)
    said: list[Row] = [[Span(line, style)] for line in wrapped(text, width, 2)]
    if cell_len(" · ".join(parts)) + 2 + cell_len(memory) > width:
        said, memory = said or [[Span(memory, "dim")]], ""
    how = Span("" if notice else hint, "dim")
    if said and row_width(said[-1]) + 2 + row_width([how]) > width:
        return [_status(parts, [how], width), *said]
    last = said.pop() if said else []
    return [_status(parts, [Span(memory, "dim")], width), *said, spread(last, [how], width)]


def _said(state: ViewState, now: float) -> tuple[str, str]:
    """Return what is to be read now and its style: the newest warning of late, else the newest message."""
    fresh = [note for note in state.notes if now - note.at < _NOTE_SECONDS]
    warnings = [note for note in state.notes if note.level == "warning" and now - note.at < _WARNING_SECONDS]
    said = [*fresh, *warnings]
    return (said[-1].text, said[-1].level) if said else ("", "")


def _status(parts: list[str], right: Row, width: int) -> Row:
    """Return as many of `parts` as fit beside `right`, the first of them in any case."""
    right = [Span("  "), *right] if row_width(right) else right
    while len(parts) > 1 and cell_len(" · ".join(parts)) + row_width(right) > width:
        parts = parts[:-1]
    return spread([Span(" · ".join(parts), "dim")], right, width)
