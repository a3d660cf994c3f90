"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from wmloop.cli.completion import run_names, setting_names

Progress = Literal["auto", "rich", "plain", "json", "none"]
Device = Literal["auto", "cpu", "cuda", "mps"]

RunsOption = Annotated[Path, typer.Option("--runs", envvar="WMLOOP_RUNS", metavar="DIR", help="Where runs live.")]
NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="The run; without a name the one with the latest activity.", autocompletion=run_names
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option("--version", metavar="ITERATION", min=0, help="Take this iteration's agent, not the best one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ProgressOption = Annotated[
    Progress,
    typer.Option(help="How to show what happens: a live view, a line an event, JSON lines, nothing."),
]
TrackOption = Annotated[
    bool, typer.Option("--track", help="Write TensorBoard's files too, to the run's folder tensorboard/.")
]
IterationsOption = Annotated[int | None, typer.Option(metavar="N", help="Outer iterations at most.")]
HoursOption = Annotated[float | None, typer.Option(metavar="H", help="Hours of work at most, over all resumes.")]
GoalOption = Annotated[
    float | None, typer.Option(metavar="SCORE", help="Mean real score on held-out tracks that ends the run.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a setting, e.g. memory.hidden=512; repeatable.",
        autocompletion=setting_names,
    ),
]


def budget(iterations: int | None, hours: float | None, goal: float | None) -> dict[str, dict[str, float]]:
    """Return the settings layer of the budget options that were given."""
    given = {"iterations": iterations, "hours": hours, "goal": goal}
    return {"budget": {name: value for name, value in given.items() if value is not None}}
