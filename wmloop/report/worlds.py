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


def watched(page: Page, drive: Drive, dream: Dream | None, agent: str) -> None:
    """Show an episode and a dream of an agent, moving, and what was done and paid in the episode."""
    page.head("Watch it")
    page.say(
        f"{agent} in a fresh episode (environment seed {drive.seed}), used neither for training nor for choosing the best"
        f" agent: score {cell(drive.score)} in {len(drive.rewards)} agent steps."
    )
    films = []
    if drive.real is not None and len(drive.real) > 1:
        each = "" if drive.stride == 1 else f" One image per {drive.stride} agent steps."
        beside = [drive.real] if drive.seen is None else [drive.real, drive.seen]
        what = (
            "What the agent observes."
            if drive.seen is None
            else "Left: what the agent observes. Right: V's reconstruction."
        )
        films.append(film(beside, _MILLISECONDS, what + each))
    if dream is not None:
        told = (
            f"From agent step {dream.decision} on. Left: the real episode. Right: M's dream, in which C acts without further"
            f" observations. Sum of rewards over these {len(dream.real)} agent steps: predicted {cell(dream.predicted)}, real"
            f" {cell(dream.paid)}."
        )
        films.append(film([dream.real, dream.dreamt], _MILLISECONDS, told))
    page.pair(*films, chart(charts.episode(drive), "the same episode, step by step"))


def worlds(page: Page, probe: Probe) -> None:
    """Show V's reconstructions and M's dreams beside reality."""
    if not probe.draws:
        page.head("What M predicts")
        page.say("This agent's world model does not predict images, so its dreams cannot be shown.")
        page.pair(
            chart(charts.rewards(probe), "rewards predicted one agent step ahead; on the line they are as predicted")
        )
        return
    page.head("V's reconstructions")
    page.say("Above: observations. Below: V's reconstructions. What is missing there is not available to M and C.")
    page.add(
        still(
            [probe.real, probe.seen],
            f"episode of environment seed {probe.seeds[0]}, six moments from its start to its end",
        )
    )
    page.head("M's predictions")
    page.subhead("One agent step ahead")
    page.add(
        still(
            [probe.came, probe.expected],
            "above: V's reconstruction of the next observation; below: M's prediction of it",
        )
    )
    page.subhead("Open loop")
    page.say(
        "From a moment of a real episode on, M continues from its own predictions, with the recorded actions. The columns are"
        f" agent steps ahead: {', '.join(map(str, probe.steps))}."
    )
    page.pair(*(
        still(
            [strip.real, strip.seen, strip.dreamt],
            f"seed {strip.seed}, from agent step {strip.decision} on: observation, V's reconstruction, M's prediction",
        )
        for strip in probe.strips
    ))  # fmt: skip
    page.pair(
        chart(charts.ahead(probe), "error of the predicted images"),
        chart(charts.rewards(probe), "rewards predicted one agent step ahead; on the line they are as predicted"),
    )


def ended(page: Page, probe: Probe, facts: Facts) -> None:
    """Tell how well M knows when episodes end."""
    page.subhead("Terminations")
    page.say(
        "Calibration of the termination probability that M predicts one step ahead: if calibrated, the mean predicted"
        " probability equals the fraction that terminated."
    )
    told: list[tuple[str, Mapping[str, float]]]
    told = [(f"{len(probe.scores)} fresh episodes", ends([ReturnForecast([], [], [], ends=by_bin(*probe.done.T))]))]
    if facts.best and facts.best.ends:
        which = "" if "imported" in facts.made else f" of iteration {facts.best.iteration}"
        told.append((f"the held-out episodes{which}", facts.best.ends))
    for place, figures in told:
        page.say(
            f"Of {place} {figures['terminations']:.0f} terminated; M predicted {figures['predicted_terminations']:.1f}."
        )
        head = ["predicted probability", "agent steps", "mean prediction", "fraction that terminated"]
        page.table(head, _endings(figures))


def _endings(figures: Mapping[str, float]) -> list[list[str]]:
    rows = {}
    for name, decisions in figures.items():
        if name.endswith("_decisions"):
            _, low, high, _ = name.split("_")
            expected, ended = (figures[name.replace("_decisions", part)] for part in ("_expected", "_ended"))
            rows[float(low)] = [f"{low} to {high}", f"{decisions:,.0f}", f"{expected:.2%}", f"{ended:.2%}"]
    return [rows[low] for low in sorted(rows)]
