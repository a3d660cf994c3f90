"""Several runs beside one another, as a page."""

from __future__ import annotations

from collections.abc import Sequence

from wmloop.config import settings
from wmloop.report import groups
from wmloop.report.facts import Facts
from wmloop.report.groups import Group
from wmloop.report.html import Page, cell, chart, mean, percent, safe, setting, signed, thousands
from wmloop.report.words import TERMS, world_model
from wmloop.view.words import span


def compare(runs: Sequence[Facts], commands: Sequence[tuple[str, Sequence[str]]]) -> bytes:
    """Return a page that compares several runs; `commands` are the name and the lines of each."""
    page = Page(f"{' and '.join(facts.name for facts in runs)} · wmloop")
    page.add(f"<h1>{safe(' and '.join(facts.name for facts in runs))}</h1>")
    together = groups.grouped(runs)
    several = [group for group in together if len(group.runs) > 1]
    environments = ", ".join(dict.fromkeys(facts.config.env.id for facts in runs))
    page.say(f"{len(runs)} runs · {environments}", "dim")
    for group in several:
        page.say(
            f"{group.name} differ in the seed alone, but for budget, store and machine: they are drawn as their mean, with a"
            " band of ± one standard deviation."
        )
    page.front()
    page.head("Scores")
    head = ["run", "seed", "iterations", "score of best agent", "confirming episodes", "fresh episodes", "worst episode", "gap",
            "gap in %", "real frames", "work"]  # fmt: skip
    page.table(head, [_summary(facts) for facts in runs])
    if several:
        page.table(
            ["runs that differ in the seed alone", "seeds", "score of best agent, mean ± deviation over seeds"],
            map(_kind, several),
        )
    page.pair(
        chart(groups.together(together, "frames"), "score against real frames"),
        chart(groups.together(together, "hours"), "score against time worked") if any(facts.worked for facts in runs) else "",
        chart(groups.gaps(together), "predicted minus real return") if any(facts.dreams for facts in runs) else "",
        chart(groups.spreads(runs), "the best agents' scores over episodes: boxes are the middle half, whiskers the whole"
              " range, triangles the means; where single episodes are not stored, a line of ± one standard deviation"),
    )  # fmt: skip
    page.head("Settings that differ")
    differing = _differing(runs)
    if differing:
        page.table(["setting", *(facts.name for facts in runs)], differing)
    else:
        page.say("None.")
    page.head("What the words mean")
    dreaming = [facts.pipeline for facts in runs if facts.dreams]
    page.terms(TERMS | (world_model(dreaming) if dreaming else {}))
    page.head("Commands that repeat these runs")
    for name, lines in commands:
        page.subhead(name)
        page.lines(lines)
    return page.text()


def _summary(facts: Facts) -> list[str]:
    best, seed = facts.best, f"{facts.config.seed}"
    if best is None:
        return [facts.name, seed, "0", *[""] * 8]
    fresh = facts.fresh
    return [
        facts.name, seed, f"{len(facts.points)}", f"{mean(best.score, best.std)} (iteration {best.iteration})",
        cell(best.confirmed), cell(sum(fresh) / len(fresh)) if fresh else "", cell(best.worst),
        signed(best.gap_points, best.gap_points_error), percent(best.gap), thousands(facts.collected),
        span(facts.worked) if facts.worked else "",
    ]  # fmt: skip


def _kind(group: Group) -> list[str]:
    middle, deviation, count = group.best()
    return [group.name, f"{count}", mean(middle, deviation)]


def _differing(runs: Sequence[Facts]) -> list[list[str]]:
    """Return a row for each setting that is not the same in all runs."""
    tables = [settings(facts.config) for facts in runs]
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        told = [setting(table[name], 24) if name in table else "-" for table in tables]
        if len(set(told)) > 1:
            rows.append([name, *told])
    return rows
