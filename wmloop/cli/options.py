"""Options that several commands share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmloop.cli.completion import run_names, setting_names
from wmloop.seeding import EPISODES_A_SEED, LAST_SEED

if TYPE_CHECKING:
    from wmloop.config import RunConfig

#: What `--json` prints is read by programs: a change that they could not read would raise this number.
_FORMAT = 1
Progress = Literal["auto", "rich", "plain", "json", "none"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def at_home(path: Path | None) -> Path | None:
    """Return a path with `~` as the home folder, which a shell leaves alone in `--runs=~/x`."""
    try:
        return path and path.expanduser()
    except RuntimeError:
        raise typer.BadParameter(f"there is no home folder for {path.parts[0]!r}") from None  # type: ignore[union-attr]


RunsOption = Annotated[
    Path,
    typer.Option("--runs", envvar="WMLOOP_RUNS", metavar="DIR", help="Folder of the runs.", callback=at_home),
]
NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="The run. Without it the one with the latest activity.", autocompletion=run_names
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", min=0, max=LAST_SEED, help="Seed of the fresh episodes: each N gives other episodes."
    ),
]
EpisodesOption = Annotated[
    int,
    typer.Option(
        "--episodes",
        metavar="N",
        min=1,
        max=EPISODES_A_SEED,
        help="Number of episodes, each with another environment seed.",
    ),
]
IterationOption = Annotated[
    int | None,
    typer.Option(
        "--iteration",
        metavar="N",
        min=0,
        help="Use the agent of this iteration. Without it the best: the one with the"
        " highest mean score less one standard error.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object: `command`, `format` (version of the format), and the results."),
]
ProgressOption = Annotated[
    Progress,
    typer.Option(
        help="auto, rich: a live view, or as plain where stdout cannot show it; plain: one line per event; json: JSON lines;"
        " none: nothing."
    ),
]
PipelineOption = Annotated[
    str | None,
    typer.Option(
        metavar="PIPELINE",
        help="What to train: world-model, vanilla-ppo (PPO in the real environment, for pictures and Box actions), ppo-features"
        " (PPO in the real environment on what V and M make of it), hs18 or hs18-dream (CMA-ES for a linear policy, in the real"
        " environment or in dreams), or a pipeline of an installed package. Without it world-model.",
    ),
]
TrackOption = Annotated[
    bool, typer.Option("--track", help="Also write TensorBoard logs, to tensorboard/ in the run's folder.")
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-env",
        help="Load an imported agent's environment although its file names a Python module, or passes the environment"
        " keyword arguments (env.kwargs) that are strings and could name code to load: that code runs here.",
    ),
]
DeviceOption = Annotated[
    Device | None, typer.Option(help="Where to compute; auto is cuda where there is one. Without it the run's own.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="CPU threads for training; 0: OMP_NUM_THREADS if set, else one per core. Without it the run's own.",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE",
        help="What runs the parallel environments: processes (of this machine), ray (a cluster, by RAY_ADDRESS), or one of an"
        " installed package; the same as --set env.engine=ENGINE. Without it that of the settings.",
    ),
]
IterationsOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Maximum number of iterations, including those done. Without it the run's own."),
]
HoursOption = Annotated[
    float | None,
    typer.Option(metavar="H", help="Maximum hours of work, over all resumes. Without it the run's own."),
]
GoalOption = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        help="Stop once the mean score of the evaluation reaches this and further episodes confirm it with 95% confidence."
        " Without it the run's own.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a setting, e.g. memory.hidden_size=512; repeatable.",
        autocompletion=setting_names,
    ),
]


def print_json(told: str, **what: Any) -> None:
    """Print what a command tells as one JSON object: its name as `command`, the `format` of all of them, then `what`."""
    print(json.dumps({"command": told, "format": _FORMAT, **what}, indent=1, default=list))


def budget(iterations: int | None, hours: float | None, goal: float | None) -> dict[str, dict[str, float]]:
    """Return the settings layer of the budget options that were given."""
    given = {"iterations": iterations, "hours": hours, "goal": goal}
    return {"budget": {name: value for name, value in given.items() if value is not None}}


def with_engine(sets: Sequence[str] | None, engine: str | None) -> list[str]:
    """Return what --set was given, and --engine as the last of it."""
    return [*(sets or []), *([f"env.engine={json.dumps(engine)}"] if engine is not None else [])]


def laid_over(config: RunConfig, sets: Sequence[str] | None, *layers: Mapping[str, Any]) -> RunConfig:
    """Return a run's settings with those of `--set`, then those of other options, laid over; an option of None is not given."""
    from wmloop.config import with_settings
    from wmloop.config.text import parse_setting

    given = [{name: value for name, value in layer.items() if value is not None} for layer in layers]
    for layer in [*map(parse_setting, sets or []), *given]:
        config = with_settings(config, layer)
    return config


#: What typer's validator says of a value, and how it reads in our words.
_WORDS = (
    (r"Value error, (.*)", r"\1"),
    (r"Input should be a valid integer.*", "it takes a whole number"),
    (r"Input should be a valid number.*", "it takes a number"),
    (r"Input should be greater than or equal to (.*)", r"it takes numbers from \1 on"),
    (r"Input should be less than or equal to (.*)", r"it takes numbers up to \1"),
    (r"Input should be (.*)", r"it takes \1"),
)


def in_words(message: str) -> str:
    """Return what typer says of an option's value that does not fit, without the words of its validator."""
    return next((found.expand(words) for said, words in _WORDS if (found := re.fullmatch(said, message))), message)
