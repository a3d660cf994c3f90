"""What a run came to, in a few lines that stay after the view is gone."""

from __future__ import annotations

import math

from wmloop.view.lines import REASONS
from wmloop.view.state import Score, ViewState
from wmloop.view.words import figure, number, span

_ROWS = 12  # so many evaluations are listed, the newest


def summary(state: ViewState, now: float) -> list[str]:
    """Return the lines: how the run ended, what it took, its evaluations (the newest if many), and the best of them."""
    ended = REASONS.get(state.reason, state.reason) if state.reason else "not finished"
    lines = [f"run {state.run}: {ended}", f"  {span(state.worked(now))} of work, {number(state.frames)} real frames"]
    if not state.scores:
        return [*lines, f"  no score yet: the first one comes with {state.pipeline.scored_by}"]
    predicts = any(math.isfinite(score.predicted) for score in state.scores)
    lines.append("  iteration   score +- std" + ("      predicted and real return" if predicts else ""))
    lines += [_row(score, predicts) for score in state.scores[-_ROWS:]]
    if any(abs(score.paid - score.real) > 0.01 * abs(score.real) for score in state.scores[-_ROWS:]):  # not of NaN
        lines.append(
            "  (real return: over the agent steps that M's prediction covers, so it can differ from the score)"
        )
    best = state.best
    if best is not None:
        sure = "" if best.confirmed is None else f", {figure(best.confirmed)} on the confirming episodes"
        lines.append(f"  best: {figure(best.real)} in iteration {best.iteration}{sure}")
    return lines


def _row(score: Score, predicts: bool) -> str:
    deviation = "" if math.isnan(score.std) else f" +- {figure(score.std)}"
    predicted = ""
    if predicts and math.isfinite(score.predicted):
        predicted = f"{figure(score.predicted):>11}" + ("" if math.isnan(score.paid) else f"  {figure(score.paid):>8}")
    return f"  {score.iteration:9d}   {figure(score.real) + deviation:<17} {predicted}".rstrip()
