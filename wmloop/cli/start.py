"""`wmloop start`: begin a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.options import (
    Device,
    GoalOption,
    HoursOption,
    IterationsOption,
    PipelineOption,
    ProgressOption,
    RunsOption,
    SetOption,
    TrackOption,
    at_home,
    budget,
)
from wmloop.errors import UsageError
from wmloop.opening import pipeline_of

_LAST_LINES = 20


@guarded
def start(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The new run's name; made up if absent.")] = None,
    preset: Annotated[
        Literal["smoke", "laptop", "gpu", "paper"] | None,
        typer.Option(help="Where the settings start from; gpu on CUDA, else laptop. Not measured: gpu, paper."),
    ] = None,
    pipeline: PipelineOption = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", callback=at_home, help="Settings over the preset's.")
    ] = None,
    sets: SetOption = None,
    iterations: IterationsOption = None,
    hours: HoursOption = None,
    goal: GoalOption = None,
    device: Annotated[Device | None, typer.Option(help="Where to compute; auto is cuda where there is one.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed; random if absent, printed and stored.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads that learn; 0 is one per core.")] = None,
    progress: ProgressOption = "auto",
    track: TrackOption = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as TOML with comments, and do nothing.")
    ] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Begin a run: train until a goal or a budget is met.

    Ctrl-C saves everything; `wmloop resume` goes on. Settings come from --preset, then --config, then --set, then the
    options; `--print-config` shows them all.
    """
    from wmloop.config.text import parse_setting, read_toml, to_toml
    from wmloop.starting import begin, require_new, settle

    if name is not None and not print_config:
        require_new(runs, name)
    flags = {"pipeline": pipeline, "device": device, "seed": seed, "threads": threads}
    layers = [read_toml(config)] if config else []
    layers += [parse_setting(text) for text in sets or []]
    layers += [budget(iterations, hours, goal), {key: value for key, value in flags.items() if value is not None}]
    settled, why = settle(preset, layers)
    pipeline_of(settled)
    if print_config:
        say(why)
        print(to_toml(settled, comments=True), end="")
        return

    from wmloop.cli.session import Session
    from wmloop.tracking import require_tensorboard

    if track:
        require_tensorboard()
    printed: list[str] = []
    try:
        # what cannot be driven is refused before there is a run
        begun = begin(settled, runs, name, printed)
    except UsageError:
        for line in printed[-_LAST_LINES:]:
            say(f"the environment printed: {line}")
        raise
    store, settled = begun.store, begun.config
    say(
        f"run {store.name} in {store.path}: {why}, threads {settled.threads}, seed {settled.seed},"
        f" precision {settled.precision}"
    )
    with store.lock():
        Session(store, settled, settled, progress, runs, track, begun.notes, begun.printed).run()
