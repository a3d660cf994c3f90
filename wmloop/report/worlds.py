"""The sections of a page on what the agent did, and on what V and M made of it."""

from __future__ import annotations

from collections.abc import Mapping

from wmloop.calibration.ends import by_bin, ends
from wmloop.calibration.windows import ReturnForecast
from wmloop.report import charts
from wmloop.report.episode import Dream, Drive
from wmloop.report.facts import Facts
from wmloop.report.html import Page, cell, chart, film, still
from wmloop.report.probe import Probe

#: How long each picture of a film is shown.
_MILLISECONDS = 80


def watched(page: Page, drive: Drive, dream: Dream | None, iteration: int) -> None:
    """Show an episode and a dream, moving, and what was done and paid in the episode."""
    page.head("Watch it")
    page.say(
        f"The agent of iteration {iteration} on fresh episode {drive.track}, which nothing was trained or ranked on: score"
        f" {cell(drive.score)} in {len(drive.rewards)} decisions."
    )
    films = []
    if drive.real is not None and len(drive.real) > 1:
        each = "" if drive.stride == 1 else f" Every {drive.stride} decisions are one picture."
        beside = [drive.real] if drive.seen is None else [drive.real, drive.seen]
        what = "What the agent saw." if drive.seen is None else "Left what the agent saw, right what V kept of it."
        films.append(film(beside, _MILLISECONDS, what + each))
    if dream is not None:
        told = (
            f"From decision {dream.decision} on: left reality, right M's dream, in which C acts and no real picture is seen."
            f" Over these {len(dream.real)} decisions M expected {cell(dream.predicted)}, reality paid {cell(dream.paid)}."
        )
        films.append(film([dream.real, dream.dreamt], _MILLISECONDS, told))
    page.pair(*films, chart(charts.episode(drive), "the same episode, decision by decision"))


def worlds(page: Page, probe: Probe) -> None:
    """Show V's reconstructions and M's dreams beside reality."""
    if not probe.draws:
        page.head("What M expects")
        page.say("This agent's world model does not draw what it observes, so there are no pictures of its dreams.")
        page.pair(chart(charts.rewards(probe), "rewards a decision ahead; on the line they are as expected"))
        return
    page.head("What V sees")
    page.say("Above what was real, below V's reconstruction: what is missing there, neither M nor C can know.")
    page.add(still([probe.real, probe.seen], f"episode {probe.tracks[0]}, six moments from begin to end"))
    page.head("What M expects and dreams")
    page.subhead("One decision ahead")
    page.add(still([probe.came, probe.expected], "above what V saw next, below what M had expected"))
    page.subhead("Open loop")
    page.say(
        "From a real moment on M goes by its own predictions and the actions that were really taken. Columns are that many"
        f" decisions ahead: {', '.join(map(str, probe.steps))}."
    )
    page.pair(*(
        still(
            [strip.real, strip.seen, strip.dreamt],
            f"episode {strip.track} from decision {strip.decision}: reality, as V sees it, as M dreamt it",
        )
        for strip in probe.strips
    ))  # fmt: skip
    page.pair(
        chart(charts.ahead(probe), "how far dreamt pictures are from the real ones"),
        chart(charts.rewards(probe), "rewards a decision ahead; on the line they are as expected"),
    )


def ended(page: Page, probe: Probe, facts: Facts) -> None:
    """Tell how well M knows when episodes end."""
    page.subhead("Does M know when an episode ends?")
    page.say("What M expects before it sees what comes. Where it is calibrated, mean probability and share are alike.")
    told: list[tuple[str, Mapping[str, float]]]
    told = [(f"{len(probe.scores)} fresh episodes", ends([ReturnForecast([], [], [], ends=by_bin(*probe.done.T))]))]
    if facts.best and facts.best.ends:
        told.append((f"the held-out episodes of iteration {facts.best.iteration}", facts.best.ends))
    for place, figures in told:
        page.say(
            f"On {place} {figures['terminations']:.0f} episodes terminated; M had expected"
            f" {figures['predicted_terminations']:.1f}."
        )
        head = ["M's probability of an end", "decisions", "mean probability", "share that ended"]
        page.table(head, _endings(figures))


def _endings(figures: Mapping[str, float]) -> list[list[str]]:
    rows = {}
    for name, decisions in figures.items():
        if name.endswith("_decisions"):
            _, low, high, _ = name.split("_")
            expected, ended = (figures[name.replace("_decisions", part)] for part in ("_expected", "_ended"))
            rows[float(low)] = [f"{low} to {high}", f"{decisions:,.0f}", f"{expected:.2%}", f"{ended:.2%}"]
    return [rows[low] for low in sorted(rows)]
