"""Several runs beside one another, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wmloop.report import plots
from wmloop.report.facts import Facts
from wmloop.report.html import Page, cell, percent, safe, thousands


def compare(runs: Sequence[Facts], commands: Sequence[str], folder: Path) -> Path:
    """Write a page that holds several runs against each other; return its path."""
    names = " and ".join(facts.name for facts in runs)
    page = Page(f"{names} · wmloop", folder)
    page.add(f"<h1>{safe(names)}</h1>")
    page.table(
        ["run", "seed", "iterations", "best score", "confirmed", "worst track", "gap", "real frames", "hours"],
        [_summary(facts) for facts in runs],
    )
    page.pair(
        page.chart("together-frames", plots.together(runs, "frames"), "score against real frames"),
        page.chart("together-hours", plots.together(runs, "hours"), "score against hours of work"),
    )
    page.pair(
        page.chart("gaps", plots.gaps(runs), "the dream-real gap"),
        page.chart("spreads", plots.spreads(runs), "the served agents' scores over tracks; triangles are means"),
    )
    page.head("Settings that differ from the preset's")
    for facts in runs:
        changed = ", ".join(facts.changed) or "none"
        page.say(f"{facts.name} (preset {facts.config.preset}): {changed}")
    page.head("Made by")
    page.add(f"<pre>{safe(chr(10).join(commands))}</pre>")
    return page.write()


def _summary(facts: Facts) -> list[str]:
    best, last = facts.best, facts.points[-1] if facts.points else None
    if best is None or last is None:
        return [facts.name, f"{facts.config.seed}", "0", *[""] * 6]
    score = f"{best.score:.0f} ± {best.std:.0f} (iteration {best.iteration})"
    return [
        facts.name, f"{facts.config.seed}", f"{len(facts.points)}", score, cell(best.confirmed), cell(best.worst),
        percent(best.gap), thousands(facts.collected), f"{last.hours:.2f}",
    ]  # fmt: skip
