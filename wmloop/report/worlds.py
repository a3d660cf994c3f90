"""The sections of a page on what the agent did, and on what V and M made of it."""

from __future__ import annotations

from collections.abc import Mapping

from wmloop.calibration.ends import by_bin, calibration, ends
from wmloop.calibration.windows import ReturnForecast
from wmloop.report import charts
from wmloop.report.episode import Dream, Drive
from wmloop.report.facts import Facts
from wmloop.report.html import Page, cell, chart, film, still
from wmloop.report.probe import Probe
from wmloop.report.vectors import VectorProbe
from wmloop.view.words import counted, figure

#: How long each picture of a film is shown.
_MILLISECONDS = 80
_OPEN_LOOP = (
    "From a moment of a real episode on, M continues from its own predictions, with the recorded actions: one imagined episode,"
    " without resampling."
)


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
            "M's dream, in which C acts without further"
            f" observations. Sum of rewards over these {dream.length} agent steps: predicted {cell(dream.predicted)}, real"
            f" {cell(dream.paid)}."
        )
        if dream.pictures is not None:
            where = f"From agent step {dream.decision} on. Left: the real episode. Right: {told}"
            films.append(film(dream.pictures, _MILLISECONDS, where))
        if dream.vectors is not None:
            real, dreamt = dream.vectors
            drawn = charts.vectors({"real episode": real, "M's dream": dreamt}, dream.decision + 1)
            caption = f"The vector observed, from agent step {dream.decision} on, and in {told}"
            films.append(
                chart(drawn, caption if dream.pictures is None else "the vector observed, and in the same dream")
            )
    if drive.vectors is not None:
        drawn = charts.vectors({"observed": drive.vectors}, 0)
        films.append(chart(drawn, "the vector that is observed in the same episode, number by number"))
    page.pair(*films, chart(charts.episode(drive), "the same episode, step by step"))


def worlds(page: Page, probe: Probe) -> None:
    """Show V's reconstructions and M's dreams beside reality."""
    rewards = chart(charts.rewards(probe), "rewards predicted one agent step ahead; on the line they are as predicted")
    if probe.draws:
        _reconstructions(page, probe)
    page.head("M's predictions")
    if probe.draws:
        _pictures(page, probe)
    if probe.vectors is not None:
        _vectors(page, probe.vectors)
    if probe.draws or probe.vectors is not None:
        drawn = chart(charts.ahead(probe), "error of the predicted images") if probe.draws else ""
        page.pair(drawn, rewards)
        return
    page.say("This agent's world model does not predict images or vectors, so its dreams cannot be shown.")
    page.pair(rewards)


def _reconstructions(page: Page, probe: Probe) -> None:
    page.head("V's reconstructions")
    page.say("Above: observations. Below: V's reconstructions. What is missing there is not available to M and C.")
    page.add(
        still(
            [probe.real, probe.seen],
            f"episode of environment seed {probe.seeds[0]}, six moments from its start to its end",
        )
    )


def _pictures(page: Page, probe: Probe) -> None:
    page.subhead("One agent step ahead")
    page.add(
        still(
            [probe.came, probe.expected],
            "above: V's reconstruction of the next observation; below: M's prediction of it",
        )
    )
    page.subhead("Open loop")
    page.say(_OPEN_LOOP + f" The columns are agent steps ahead: {', '.join(map(str, probe.steps))}.")
    page.pair(*(
        still(
            [strip.real, strip.seen, strip.dreamt],
            f"seed {strip.seed}, from agent step {strip.decision} on: observation, V's reconstruction, M's prediction",
        )
        for strip in probe.strips
    ))  # fmt: skip


def _vectors(page: Page, probe: VectorProbe) -> None:
    page.subhead("The observed vector, one agent step ahead")
    page.say(
        "V only standardises these numbers: mean 0 and deviation 1 over iteration 0's episodes. The table is in the"
        " environment's units, all errors are root mean squares. A prediction that always said that nothing"
        " changes would have the error in the last column."
    )
    rows = [
        [f"{number}", *map(figure, row)]
        for number, row in enumerate(zip(probe.deviation, probe.error, probe.change, strict=True))
    ]
    page.table(
        ["number", "standard deviation", "error of M's prediction", "change in one agent step"], rows[: charts.MOST]
    )
    if len(rows) > charts.MOST:
        page.say(f"The vector has {len(rows)} numbers; the first {charts.MOST} are shown.")
    page.subhead("The observed vector, open loop")
    page.say(_OPEN_LOOP)
    page.pair(
        *(
            chart(
                charts.vectors({"real episode": track.real, "M's prediction": track.dreamt}, track.decision),
                f"seed {track.seed}, from agent step {track.decision} on",
            )
            for track in probe.tracks
        ),
        chart(charts.drift(probe), "error of the predicted vectors, in standard deviations of each number"),
    )


def ended(page: Page, probe: Probe, facts: Facts) -> None:
    """Tell how well M knows when episodes end."""
    page.subhead("Terminations")
    page.say(
        "Calibration of the termination probability that M predicts one step ahead: if calibrated, the mean predicted"
        " probability equals the fraction that terminated."
    )
    told: list[tuple[str, Mapping[str, float]]]
    told = [
        (counted(len(probe.scores), "fresh episode"), ends([ReturnForecast([], [], [], ends=by_bin(*probe.done.T))]))
    ]
    if facts.best and facts.best.ends:
        which = "" if "imported" in facts.made else f" of iteration {facts.best.iteration}"
        told.append((f"the held-out episodes{which}", facts.best.ends))
    for place, figures in told:
        page.say(
            f"Of {place}: {figures['terminations']:.0f} terminated; M predicted {figures['predicted_terminations']:.1f}."
        )
        head = ["predicted probability", "agent steps", "mean prediction", "fraction that terminated"]
        page.table(head, [
            [f"{one.low:g} to {one.high:g}", f"{one.decisions:,.0f}", f"{one.expected:.2%}", f"{one.ended:.2%}"]
            for one in calibration(figures)
        ])  # fmt: skip
    page.pair(
        chart(
            charts.reliability([(place, calibration(figures)) for place, figures in told]),
            "fraction that terminated against predicted probability, with 95% intervals; dotted: calibrated",
        )
    )
