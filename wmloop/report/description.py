"""One run as a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from wmloop.config.presets import published
from wmloop.ranking import interval
from wmloop.report import charts, curves
from wmloop.report.episode import Drive
from wmloop.report.facts import Facts, Point
from wmloop.report.html import Page, cell, chart, mean, percent, safe, signed, thousands
from wmloop.report.origin import Commands, following, mapping, origin
from wmloop.report.probe import Layer, Probe
from wmloop.report.words import TERMS, world_model
from wmloop.report.worlds import ended, watched, worlds
from wmloop.store import Evaluation
from wmloop.view.words import counted, number, size, span


def describe(
    facts: Facts, probe: Probe | None, iteration: int, commands: Commands, drive: Drive | None = None,
    stored: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> bytes:  # fmt: skip
    """Return the report of one run, a page.

    `probe` looked at its agent of `iteration`. Without a world model there is nothing to ask: `drive` is what the agent did,
    and `stored` are its tensors, by network.
    """
    page = Page(f"{facts.name} · wmloop")
    _front(page, facts)
    page.head("Learning")
    _learning(page, facts)
    _evaluations(page, facts)
    if probe:
        watched(page, probe.drive, probe.dream, _agent(facts, iteration))
        worlds(page, probe)
        ended(page, probe, facts)
    elif drive:
        watched(page, drive, None, _agent(facts, iteration))
    _training(page, facts)
    _time(page, facts)
    _networks(page, probe, stored or {})
    _published(page, facts)
    _meanings(page, facts)
    following(page, commands.following)
    origin(page, facts, commands)
    return page.text()


def _front(page: Page, facts: Facts) -> None:
    page.add(f"<h1>{safe(facts.name)}</h1>")
    began, ended = (stamp[:16].replace("T", " ") for stamp in (facts.created, facts.ended))
    imported = mapping(facts.made.get("imported"))
    parts = [
        facts.config.env.id,
        f"pipeline {facts.config.pipeline}",
        f"preset {facts.config.preset}",
        f"seed {facts.config.seed}",
        f"imported {began} UTC" if imported else f"begun {began} UTC" if began else "",
        f"last stage output {ended} UTC" if facts.worked and ended else "",
        f"{span(facts.worked)} of work" if facts.worked else "",
    ]
    page.say(" · ".join(part for part in parts if part), "dim")
    page.say(_verdict(facts), "lead")
    best = facts.best
    fresh = facts.fresh
    page.cards({
        "score on held-out episodes": mean(best.score, best.std) if best else "",
        f"score on {counted(len(fresh), 'fresh episode')}": cell(float(np.mean(fresh))) if fresh else "",
        "worst held-out episode": cell(best.worst) if best else "",
        "predicted minus real return": signed(best.gap_points, best.gap_points_error) if best and facts.dreams else "",
        "iterations": f"{len(facts.points)}" if not imported else "",
        "real frames collected": thousands(facts.collected),
        "frames of evaluation": thousands(facts.evaluated),
        "on the disk": size(facts.bytes),
    })  # fmt: skip
    page.front()


def _agent(facts: Facts, iteration: int) -> str:
    return "The agent" if "imported" in facts.made else f"The agent of iteration {iteration}"


def _verdict(facts: Facts) -> str:
    best = facts.best
    if best is None:
        return "This run has not been evaluated yet."
    count = sum(not track.further for track in facts.tracks)
    over = f" over {counted(count, 'held-out episode')}" if count else ""
    sure = f", {cell(best.confirmed)} on confirming ones" if math.isfinite(best.confirmed) else ""
    goal = facts.config.budget.goal
    aimed = "" if goal is None else f" The goal is {goal:g}."
    score = mean(best.score, best.std)
    which = "The agent" if "imported" in facts.made else f"The best agent is that of iteration {best.iteration}"
    return f"{which}: score {score}{over}{sure}.{aimed}"


def _learning(page: Page, facts: Facts) -> None:
    if len(facts.points) > 1:
        page.pair(
            chart(charts.learning(facts, "frames"), "score against real frames"),
            chart(charts.learning(facts, "hours"), "the same against time worked") if facts.worked else "",
            chart(charts.gap(facts), "predicted against real return") if facts.dreams else "",
            chart(charts.tracks(facts), "the best agent, episode by episode") if facts.tracks or facts.fresh else "",
        )
    if not facts.points:
        page.say("No iteration has been evaluated yet.")
    else:
        rows = [_iteration(point) for point in facts.points]
        page.table(_ITERATION_HEAD, [["imported", *row[1:]] for row in rows] if "imported" in facts.made else rows)
        if any(math.isfinite(point.gap_points) and math.isnan(point.gap) for point in facts.points):
            page.say(
                "The gap in % is left out where it is as large as the real return, or this does not differ clearly from 0.",
                "dim",
            )


_ITERATION_HEAD = (
    "iteration", "frames", "work", "score ± deviation", "worst episode", "confirming episodes", "predicted return",
    "real return", "gap", "gap in %", "M's correlation",
)  # fmt: skip


def _iteration(point: Point) -> list[str]:
    return [
        f"{point.iteration}", thousands(point.frames), span(3600 * point.hours) if point.hours else "",
        mean(point.score, point.std), cell(point.worst), cell(point.confirmed), cell(point.predicted_return),
        cell(point.real_return), signed(point.gap_points, point.gap_points_error), percent(point.gap), cell(point.correlation),
    ]  # fmt: skip


def _evaluations(page: Page, facts: Facts) -> None:
    if not facts.evaluations:
        return
    page.head("Evaluations on fresh episodes")
    page.say("By `wmloop eval`, on episodes that are used neither for training nor for choosing a run's best agent.")
    head = [
        "agent", "when (UTC)", "seed", "episodes", "score", "95% CI of the mean", "worst episode", "machine", "commit",
    ]  # fmt: skip
    page.table(head, [_evaluation(kept, "imported" in facts.made) for kept in facts.evaluations])


def _evaluation(kept: Evaluation, imported: bool) -> list[str]:
    made, bounds = mapping(kept.record.get("made")), interval(kept.scores)
    agent = f"iteration {int(kept.version.partition('/')[0])}" if kept.version[:4].isdecimal() else kept.version
    agent = "imported" if imported else agent
    return [
        agent,
        kept.created[:16].replace("T", " "), f"{kept.seed}", f"{len(kept.scores)}", cell(float(np.mean(kept.scores))),
        f"{cell(bounds[0])} to {cell(bounds[1])}" if bounds else "", cell(min(kept.scores)), str(made.get("cpu", "")),
        str(made.get("git", ""))[:9],
    ]  # fmt: skip


def _training(page: Page, facts: Facts) -> None:
    if not facts.curves:
        return
    page.head("Training")
    page.say(
        "Orange: values logged during training, where the log has them; blue: the value at each iteration's end. What is"
        " measured at each training step is the mean over these steps, each of which counts 0.98 as much as the next (before"
        " 2026-11-30 the first one counted more)."
    )
    drawn = {stage: list(own) for stage, own in groupby(facts.curves, lambda curve: curve.stage)}
    page.pair(*(chart(curves.draw(own), f"in the stage {stage}") for stage, own in drawn.items()))
    page.add("<details><summary>What these metrics are</summary>")
    page.terms({curve.metric: curve.meaning for curve in facts.curves if curve.meaning})
    page.add("</details>")


def _time(page: Page, facts: Facts) -> None:
    if facts.worked:
        page.head("Time")
        page.pair(chart(charts.time(facts), "the time of each stage in each iteration"))
        page.table(["stage", "total", "share", "per iteration", "throughput"], _times(facts))


def _times(facts: Facts) -> list[list[str]]:
    totals = {stage: sum(spent.get(stage, 0.0) for spent in facts.seconds.values()) for stage in facts.pipeline.names}
    whole, count = sum(totals.values()), max(1, len(facts.seconds))
    rows = [
        [s, span(total), f"{total / whole:.0%}", span(total / count), _throughput(facts, s)]
        for s, total in totals.items()
        if total
    ]
    return [*rows, ["all", span(whole), "100%", span(whole / count), ""]]


def _throughput(facts: Facts, stage: str) -> str:
    return f"{number(facts.rates[stage])} {facts.pipeline.row(stage).unit}/s" if stage in facts.rates else ""


def _networks(page: Page, probe: Probe | None, stored: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    if not probe and not stored:
        return
    page.head("The networks")
    if probe:
        for name, layers in probe.networks.items():
            if not layers:  # it has nothing to learn
                continue
            total = sum(layer.parameters for layer in layers)
            _network(page, name, total, ["layer", "kind", "output", "parameters"], map(_layer, layers))
    for name, arrays in stored.items():
        total = sum(array.size for array in arrays.values())
        _network(page, name, total, ["tensor", "shape", "parameters"], map(_tensor, arrays, arrays.values()))


def _network(page: Page, name: str, total: int, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    page.add(f"<details><summary><b>{safe(name)}</b>: {total:,} trainable parameters</summary>")
    page.table(head, rows)
    page.add("</details>")


def _layer(layer: Layer) -> list[str]:
    return [layer.name, layer.kind, layer.shape, f"{layer.parameters:,}"]


def _tensor(name: str, array: np.ndarray) -> list[str]:
    return [name, " by ".join(map(str, array.shape)), f"{array.size:,}"]


def _published(page: Page, facts: Facts) -> None:
    about, others = published(facts.config.env.id)
    if not others:
        return
    page.head("Published scores")
    where = "in the real environment" if facts.pipeline.agent in facts.pipeline.collectors else "only in M's dreams"
    page.say(f"Mean score over episodes of {facts.config.env.id}. The published figures are {about}; this run's"
             f" agent was trained {where}.")  # fmt: skip
    own = []
    for label, scores in facts.scores.items():
        if len(scores) > 1:
            own.append(
                (
                    f"{facts.name}, {counted(len(scores), f'{label} episode')}",
                    mean(float(np.mean(scores)), float(np.std(scores, ddof=1))),
                )
            )
    if not own and facts.best:
        own = [(f"{facts.name}, held-out episodes", mean(facts.best.score, facts.best.std))]
    page.table(["system", "score"], [*others.items(), *own], mine=range(len(others), len(others) + len(own)))


def _meanings(page: Page, facts: Facts) -> None:
    page.head("What the words mean")
    page.terms(TERMS | (world_model([facts.pipeline]) if facts.dreams else {}))
    more = "`docs/how-it-works.md` explains how the parts work together, " if facts.dreams else ""
    page.say(
        f"More in wmloop's documentation: {more}`docs/faq.md` answers questions, `docs/settings.md` lists all settings."
    )
