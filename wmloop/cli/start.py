"""`wmloop start`: begin a run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import pipeline_of
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
from wmloop.cli.settling import on_this_machine, require_new
from wmloop.errors import UsageError

if TYPE_CHECKING:
    from wmloop.config import RunConfig

_LAST_LINES = 20


@guarded
def start(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The new run's name; made up if absent.")] = None,
    preset: Annotated[
        Literal["smoke", "laptop", "gpu", "paper"] | None,
        typer.Option(help="Where the settings start from; without it gpu on CUDA, else laptop."),
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
    from wmloop.config import with_settings
    from wmloop.config.text import parse_setting, read_toml, to_toml

    if name is not None and not print_config:
        require_new(runs, name)
    flags = {"pipeline": pipeline, "device": device, "seed": seed, "threads": threads}
    layers = [read_toml(config)] if config else []
    layers += [parse_setting(text) for text in sets or []]
    layers += [budget(iterations, hours, goal), {key: value for key, value in flags.items() if value is not None}]
    settled, why = _settle(preset, layers)
    system = pipeline_of(settled)
    if print_config:
        say(why)
        print(to_toml(settled, comments=True), end="")
        return

    from wmloop.cli.session import Session
    from wmloop.device import machine_facts
    from wmloop.envs import check_environment
    from wmloop.store import Store, new_run_name
    from wmloop.tracking import require_tensorboard

    if track:
        require_tensorboard()
    system.check()
    printed: list[str] = []
    try:
        # what cannot be driven is refused before there is a run
        notes, limit = check_environment(settled.env, printed.append)
    except UsageError:
        for line in printed[-_LAST_LINES:]:
            say(f"the environment printed: {line}")
        raise
    if settled.env.episode_frames is None:
        settled = with_settings(settled, {"env": {"episode_frames": limit or settled.env.most_frames}})
    store = Store.create(runs, name or new_run_name(), to_toml(settled), machine_facts())
    say(
        f"run {store.name} in {store.path}: {why}, threads {settled.threads}, seed {settled.seed},"
        f" precision {settled.precision}"
    )
    with store.lock():
        notes = [f"the environment {settled.env.id!r}: {text}" for text in notes]
        Session(store, settled, settled, progress, runs, track, notes, printed).run()


def _settle(preset: str | None, layers: Sequence[Mapping[str, Any]]) -> tuple[RunConfig, str]:
    """Return the whole configuration, nothing left to choose in it, and why it has its preset and device."""
    from wmloop.config import build_config
    from wmloop.config.presets import PRESETS
    from wmloop.device import available_devices, resolve_device

    for layer in layers:
        preset = preset or layer.get("preset")
    draft = build_config(preset or next(iter(PRESETS)), *layers)
    device = resolve_device(draft.device)
    why = f"device {device}"
    if draft.device == "auto":
        why += f" (auto; here: {', '.join(available_devices())})"
    if preset is None:
        preset = "gpu" if device == "cuda" else "laptop"
        why = f"preset {preset} (chosen by the device), {why}"
    else:
        why = f"preset {preset}, {why}"
    chosen = {} if any("seed" in layer for layer in layers) else {"seed": secrets.randbelow(2**31)}
    return on_this_machine(build_config(preset, *layers, chosen)), why
