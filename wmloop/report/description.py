"""One run as a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from wmloop.calibration.ends import by_bin, ends
from wmloop.calibration.windows import ReturnForecast
from wmloop.config.presets import published
from wmloop.config.text import to_toml
from wmloop.report import plots
from wmloop.report.facts import Facts, Point
from wmloop.report.html import Page, cell, percent, safe, thousands
from wmloop.report.probe import Layer, Probe
from wmloop.view.words import number, size, span


def describe(
    facts: Facts, probe: Probe | None, iteration: int, commands: Sequence[str], folder: Path,
    stored: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Path:  # fmt: skip
    """Write the report of one run; return the page's path.

    `probe` looked at its agent of `iteration`. Without a world model there is nothing to look at, and `stored` are the
    agent's tensors, by network.
    """
    page = Page(f"{facts.name} · wmloop", folder)
    page.add(f"<h1>{safe(facts.name)}</h1>")
    page.say(_verdict(facts))
    page.add(_cards(facts))
    page.head("Learning")
    if len(facts.points) > 1:
        page.pair(
            page.chart("learning-frames", plots.learning(facts, "frames"), "score and promise against real frames"),
            page.chart("learning-hours", plots.learning(facts, "hours"), "the same against hours of work"),
        )
        page.pair(
            page.chart("trust", plots.trust(facts), "the dream-real gap, and M's foresight on fresh episodes")
            if facts.dreams
            else "",
            page.chart("tracks", plots.tracks(facts), "the served agent, track by track") if facts.tracks else "",
        )
    if facts.points:
        told = len(_ITERATION_HEAD) if facts.dreams else _ITERATION_HEAD.index("promised")
        page.table(_ITERATION_HEAD[:told], [_iteration(point)[:told] for point in facts.points])
    else:
        page.say("No iteration has been evaluated yet.")
    if probe:
        _worlds(page, probe, iteration)
        _ends(page, probe, facts)
    page.head("Time")
    if any(map(sum, (spent.values() for spent in facts.seconds.values()))):
        page.pair(page.chart("time", plots.time(facts), "minutes of each stage in each iteration"))
        page.table(["stage", "total", "share", "an iteration", "throughput"], _times(facts))
    else:
        imported = "imported" in facts.made
        page.say(
            "This agent was imported; how long it took is not recorded."
            if imported
            else "No iteration is finished yet."
        )
    page.head("The networks")
    if probe:
        for name, layers in probe.networks.items():
            total = sum(layer.parameters for layer in layers)
            _network(page, name, total, ["layer", "kind", "output", "parameters"], map(_layer, layers))
    for name, arrays in (stored or {}).items():
        total = sum(array.size for array in arrays.values())
        _network(page, name, total, ["tensor", "shape", "parameters"], map(_tensor, arrays, arrays.values()))
    about, others = published(facts.config.env.id)
    if others:
        page.head("Beside others")
        where = "inside M alone" if facts.dreams else "in the real environment"
        page.say(f"Mean score over tracks. The published figures are {about}; this run's agent was trained {where}.")
        own = _own_rows(facts)
        page.table(["system", "score"], [*others.items(), *own], mine=range(len(others), len(others) + 2))
    _origin(page, facts, commands)
    return page.write()


def _worlds(page: Page, probe: Probe, iteration: int) -> None:
    page.head("What V sees" if probe.draws else "Fresh tracks")
    scores = ", ".join(f"{score:.0f}" for score in probe.scores)
    page.say(
        f"The agent of iteration {iteration} drove {len(probe.scores)} fresh tracks, which nothing was trained or ranked on"
        f" (scores {scores})."
    )
    if not probe.draws:
        page.say("This agent's world model does not draw what it observes, so there are no pictures of its dreams.")
        page.pair(page.chart("rewards", plots.rewards(probe), "rewards a decision ahead; on the line they are kept"))
        return
    page.pictures("reconstructions", [probe.real, probe.seen], "above what was real, below what V keeps of it")
    page.head("What M expects, one decision ahead")
    page.pictures("one-step", [probe.came, probe.expected], "above what V saw next, below what M had expected")
    page.head("What M dreams, eyes closed")
    page.say(
        "From a real moment on M goes by its own pictures, and by the actions that were really taken. Columns are that many"
        f" decisions ahead: {', '.join(map(str, probe.steps))}."
    )
    for place, strip in enumerate(probe.strips):
        caption = f"track {strip.track} from decision {strip.decision}: reality, as V sees it, as M dreamt it"
        page.pictures(f"dream-{place}", [strip.real, strip.seen, strip.dreamt], caption)
    error = page.chart("ahead", plots.ahead(probe), "how far dreamt pictures are from the real ones")
    calibration = page.chart("rewards", plots.rewards(probe), "rewards a decision ahead; on the line they are kept")
    page.pair(error, calibration)


def _ends(page: Page, probe: Probe, facts: Facts) -> None:
    page.head("Does M know when it ends?")
    page.say("What M expects before it sees what comes. Where it is calibrated, mean probability and share are alike.")
    told: list[tuple[str, Mapping[str, float]]]
    told = [(f"{len(probe.scores)} fresh tracks", ends([ReturnForecast([], [], [], ends=by_bin(*probe.done.T))]))]
    if facts.best and facts.best.ends:
        told.append((f"the evaluation of iteration {facts.best.iteration}", facts.best.ends))
    for place, figures in told:
        page.say(
            f"On {place} the environment ended {figures['terminations']:.0f} episodes, the others were cut; M had expected"
            f" {figures['predicted_terminations']:.1f} to be ended."
        )
        head = ["M's probability of an end", "decisions", "mean probability", "share that ended"]
        page.table(head, _endings(figures))


def _endings(figures: Mapping[str, float]) -> list[list[str]]:
    rows = []
    for name, decisions in figures.items():
        if name.endswith("_decisions"):
            _, low, high, _ = name.split("_")
            expected, ended = (figures[name.replace("_decisions", part)] for part in ("_expected", "_ended"))
            rows.append([f"{low} to {high}", f"{decisions:,.0f}", f"{expected:.2%}", f"{ended:.2%}"])
    return rows


def _verdict(facts: Facts) -> str:
    best = facts.best
    if best is None:
        return "This run has not been scored yet."
    count = sum(not track.further for track in facts.tracks)
    over = f" over {count} tracks" if count else ""
    sure = f", {best.confirmed:.0f} on further ones" if math.isfinite(best.confirmed) else ""
    goal = facts.config.budget.goal
    aimed = "" if goal is None else f" The goal is {goal:g}."
    return (
        f"The agent served is that of iteration {best.iteration}: {best.score:.0f} ± {best.std:.0f}{over}{sure}.{aimed}"
    )


def _cards(facts: Facts) -> str:
    best = facts.best
    hours = sum(sum(spent.values()) for spent in facts.seconds.values()) / 3600
    cards = [
        ("best score", f"{best.score:.0f} ± {best.std:.0f}" if best else "none yet"),
        ("its worst track", cell(best.worst) if best else ""),
        *([("dream over reality", percent(best.gap) if best else "")] if facts.dreams else []),
        ("iterations", f"{len(facts.points)}"),
        ("real frames collected", thousands(facts.collected)),
        ("driven in evaluations", thousands(facts.evaluated)),
        ("work", span(hours * 3600) if hours else "not recorded"),
        ("on the disk", size(facts.bytes)),
    ]
    return (
        f'<div class="cards">{"".join(f"<div><b>{safe(value)}</b>{safe(name)}</div>" for name, value in cards)}</div>'
    )


_ITERATION_HEAD = (
    "iteration", "frames", "hours", "score", "± tracks", "worst", "further", "promised", "gap", "M corr.", "M bias",
)  # fmt: skip


def _iteration(point: Point) -> list[str]:
    return [
        f"{point.iteration}", thousands(point.frames), f"{point.hours:.2f}", cell(point.score), cell(point.std),
        cell(point.worst), cell(point.confirmed), cell(point.promised), percent(point.gap),
        f"{point.correlation:.2f}" if math.isfinite(point.correlation) else "", percent(point.bias),
    ]  # fmt: skip


def _times(facts: Facts) -> list[list[str]]:
    totals = {stage: sum(spent.get(stage, 0.0) for spent in facts.seconds.values()) for stage in facts.pipeline.names}
    whole, count = sum(totals.values()), max(1, len(facts.seconds))
    rows = [
        [s, span(total), f"{total / whole:.0%}", span(total / count), _throughput(facts, s)]
        for s, total in totals.items()
    ]
    return [*rows, ["all", span(whole), "100%", span(whole / count), ""]]


def _throughput(facts: Facts, stage: str) -> str:
    return f"{number(facts.rates[stage])} {facts.pipeline.row(stage).unit}/s" if stage in facts.rates else ""


def _network(page: Page, name: str, total: int, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    page.add(f"<details><summary><b>{safe(name)}</b>: {total:,} trainable parameters</summary>")
    page.table(head, rows)
    page.add("</details>")


def _layer(layer: Layer) -> list[str]:
    return [layer.name, layer.kind, layer.shape, f"{layer.parameters:,}"]


def _tensor(name: str, array: np.ndarray) -> list[str]:
    return [name, " by ".join(map(str, array.shape)), f"{array.size:,}"]


def _own_rows(facts: Facts) -> list[tuple[str, str]]:
    rows = []
    for further, label in ((False, "evaluation"), (True, "further")):
        scores = np.array([track.score for track in facts.tracks if track.further == further])
        if len(scores):
            told = f"{facts.name}, {len(scores)} {label} tracks ({facts.config.env.id})"
            rows.append((told, f"{scores.mean():.0f} ± {scores.std():.0f}"))
    return rows


def _origin(page: Page, facts: Facts, commands: Sequence[str]) -> None:
    page.head("How to make it again")
    page.add(f"<pre>{safe(chr(10).join(commands))}</pre>")
    made, versions = facts.made, mapping(facts.made.get("versions"))
    told = [f"{name} {versions[name]}" for name in sorted(versions)]
    machine = [f"{made[name]}" for name in ("cpu", "gpu", "platform") if name in made]
    page.say(f"Made on {', '.join(machine) or 'a machine not recorded'}, {made.get('cores', '?')} cores, with"
             f" Python {made.get('python', '?')}, {', '.join(told) or 'versions not recorded'}.")  # fmt: skip
    if facts.parent.get("run"):
        page.say(f"Forked from {facts.parent.get('run')} after iteration {facts.parent.get('iteration')}.")
    page.say(f"Settings that differ from preset {facts.config.preset}: {', '.join(facts.changed) or 'none'}.")
    page.add(f"<details><summary>all settings</summary><pre>{safe(to_toml(facts.config))}</pre></details>")


def mapping(value: object) -> dict[str, object]:
    """Return a value out of a file from strangers as a mapping; anything else is an empty one."""
    return value if isinstance(value, dict) else {}
