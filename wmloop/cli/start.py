"""`wmloop start`: begin a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wmloop.cli.exits import guarded, say, say_printed
from wmloop.cli.opening import open_run
from wmloop.cli.options import (
    Device,
    EngineOption,
    PipelineOption,
    ProgressOption,
    RunsOption,
    SetOption,
    TrackOption,
    at_home,
    budget,
    with_engine,
)
from wmloop.commands import wmloop
from wmloop.errors import UsageError
from wmloop.opening import pipeline_of, require_origin, stored_config


@guarded
def start(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The new run's name. Without it one is made up.")
    ] = None,
    preset: Annotated[
        Literal["smoke", "laptop", "gpu", "paper"] | None,
        typer.Option(
            help="Preset that the settings start from. smoke: a short test; laptop: the defaults, for two CPU cores; gpu:"
            " larger; paper: after Ha and Schmidhuber 2018. Without it that"
            " of --config or --set, else gpu where there is CUDA, else laptop. No complete run"
            " was made with gpu and paper yet."
        ),
    ] = None,
    pipeline: PipelineOption = None,
    env: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The environment: a Gymnasium id, or module:ID; without a version the newest. `wmloop tasks` lists those"
            " that settings are known for. Without it env.id of --config or --set, else CarRacing-v3.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", callback=at_home, help="File of settings that replace the preset's."),
    ] = None,
    sets: SetOption = None,
    iterations: Annotated[
        int | None,
        typer.Option(metavar="N", help="Maximum number of iterations. Without it the preset's: 60; smoke 2, paper 4."),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(metavar="H", help="Maximum hours of work, over all resumes. Without it no limit.")
    ] = None,
    goal: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Stop once the mean score of the evaluation reaches this and further episodes confirm it with 95%"
            " confidence. Without it that of the settings or of the environment's profile, else its reward_threshold in"
            " Gymnasium, if it has one.",
        ),
    ] = None,
    device: Annotated[
        Device | None, typer.Option(help="Where to compute; auto is cuda where there is one. Without it auto.")
    ] = None,
    engine: EngineOption = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="The run's seed. Without it a random one, printed and stored."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="CPU threads for training. Without it, or 0: OMP_NUM_THREADS if set, else one per core."
        ),
    ] = None,
    progress: ProgressOption = "auto",
    track: TrackOption = False,
    or_resume: Annotated[
        bool, typer.Option("--or-resume", help="If there is a run NAME already, continue it instead.")
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as TOML with comments, and do nothing.")
    ] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train a new run until its goal is reached or its budget used up.

    Ctrl-C saves and stops, and `wmloop resume` continues: episodes that were under way are run again. Settings come from
    the defaults, then the environment's profile, then --preset, then --config, then --set, then the options; later ones
    win. `--print-config` shows them all. Its output can be passed to --config; seed, device, threads and precision are left
    open in it unless you set them.
    """
    from wmloop.config.text import parse_setting, read_toml, to_toml
    from wmloop.starting import begin, exists, leaves_goal, require_new, settle

    if or_resume and name is None:
        raise UsageError("--or-resume needs the NAME of the run to start or to continue")
    again = name is not None and or_resume and not print_config and exists(runs, name)
    if name is not None and not print_config and not again:
        require_new(runs, name, resumes=True)
    flags = {"pipeline": pipeline, "device": device, "seed": seed, "threads": threads, "env": env and {"id": env}}
    layers = [read_toml(config)] if config else []
    if layers and "row" in layers[0]:
        raise UsageError(f"{config} is the file of a study: `{wmloop('study', str(config))}`")
    layers += [parse_setting(text) for text in with_engine(sets, engine)]
    layers += [budget(iterations, hours, goal), {key: value for key, value in flags.items() if value is not None}]
    if again:
        assert name is not None
        _go_on(runs, name, [*([{"preset": preset}] if preset else []), *layers], progress, track)
        return
    asked, settled, why = settle(preset, layers)
    pipeline_of(settled)
    if print_config:
        say(why)
        given = {key for layer in layers for key in layer}
        free = {"seed", "device", "threads", "precision"} - given
        free |= {"budget.goal"} if asked.budget.goal is None and leaves_goal(layers) else set()
        print(to_toml(asked, comments=True, open_to=free), end="")
        return

    from wmloop import machine
    from wmloop.cli.session import Session
    from wmloop.tracking import require_tensorboard

    if track:
        require_tensorboard()
    printed: list[str] = []
    try:
        # what cannot be driven is refused before there is a run
        begun = begin(settled, runs, name, printed, leaves_goal(layers))
    except UsageError:
        say_printed(printed)
        raise
    store, settled = begun.store, begun.config
    over = f" (more than this machine's {machine.cores()}: slower)" if settled.threads > machine.cores() else ""
    say(
        f"run {store.name} in {store.path}: {why}, threads {settled.threads}{over}, seed {settled.seed},"
        f" precision {settled.precision}"
    )
    with store.lock():
        Session(store, settled, settled, progress, runs, track, begun.notes, begun.printed).run()


#: Settings that a run settles as it begins where they are left open: these ask for nothing else than what it has.
_OPEN = {"device": "auto", "threads": 0, "precision": "auto", "episode_frames": "none"}


def _go_on(runs: Path, name: str, layers: Sequence[Mapping[str, Any]], progress: str, track: bool) -> None:
    """Go on with a run as `resume` does, with what the options, of which most have begun it, ask for today."""
    from wmloop.cli.resume import go_on
    from wmloop.config import with_settings
    from wmloop.starting import with_version

    store = open_run(runs, name)
    require_origin(store)
    before = after = stored_config(store)
    for layer in with_version(layers):
        after = with_settings(after, _closed(layer))
    go_on(store, before, after, progress, runs, track)


def _closed(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those that are left open."""
    kept = {key: value for key, value in layer.items() if _OPEN.get(key, layer) != value}
    return {key: _closed(value) if isinstance(value, Mapping) else value for key, value in kept.items()}
