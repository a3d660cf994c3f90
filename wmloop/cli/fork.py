"""`wmloop fork`: go on from an iteration of a run, in a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.completion import run_names, setting_names
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run, require_origin
from wmloop.cli.options import (
    DeviceOption,
    GoalOption,
    HoursOption,
    IterationsOption,
    ProgressOption,
    RunsOption,
    ThreadsOption,
    TrackOption,
    budget,
    laid_over,
)
from wmloop.errors import UsageError
from wmloop.opening import history_of, pipeline_of, stored_config

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.store import Store


@guarded
def fork(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run to fork.", autocompletion=run_names)],
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="The new run's name. Without it NAME-from-ITERATION.")
    ] = None,
    fork_from: Annotated[
        int | None,
        typer.Option(
            "--from", "--iteration", metavar="ITERATION", min=0, help="The last iteration to copy (required)."
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting; repeatable. The networks' shapes must stay.",
            autocompletion=setting_names,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The new run's seed. Without it the seed of NAME.")
    ] = None,
    iterations: IterationsOption = None,
    hours: HoursOption = None,
    goal: GoalOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    progress: ProgressOption = "auto",
    track: TrackOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Begin a new run from an iteration of another one.

    The new run gets a copy of the other one up to and including that iteration, and trains on from there; the other stays
    as it is. Every setting may change except the preset, the pipeline and the networks' shapes. If none changes, the new run
    repeats the other one. --hours includes those of the copied iterations.
    """
    from wmloop.config.text import to_toml
    from wmloop.starting import on_this_machine, require_new

    source = open_run(runs, name)
    require_origin(source)
    before = stored_config(source)
    if fork_from is None:
        raise UsageError(f"--from ITERATION is missing, the last iteration to copy: {_finished(source, before)}")
    flags = {"device": device, "seed": seed, "threads": threads}
    after = laid_over(before, sets, budget(iterations, hours, goal), flags)
    if new is not None:
        require_new(runs, new)
    _require_kin(source, before, after)
    if track:
        from wmloop.tracking import require_tensorboard

        require_tensorboard()
    after = on_this_machine(after)
    store = _copied(source, fork_from, new, to_toml(after), runs)
    with store.lock():
        from wmloop.cli.session import Session

        Session(store, after, after, progress, runs, track).run()


def _finished(source: Store, config: RunConfig) -> str:
    """Say which iterations of a run can be forked, and which of them is the best."""
    history = history_of(source, config)
    finished, _ = history.next_position()
    if not finished:
        return f"the run {source.name} has no finished iteration yet"
    best = history.best_evaluation()
    scored = f", and iteration {best.iteration} has the best agent" if best is not None and finished > 1 else ""
    return f"the finished iterations of the run {source.name} are 0 to {finished - 1}{scored}"


def _require_kin(source: Store, before: RunConfig, after: RunConfig) -> None:
    """Refuse settings that nothing of the run `source` can go on by; raises UsageError."""
    from wmloop.cli.again import start_command
    from wmloop.config import changed_settings, settings

    if before.preset != after.preset:
        raise UsageError(
            f"a preset is for new runs, and a fork starts from the settings of {source.name}: change single settings"
            f" with --set, or start a new run with `{start_command(after, ['preset'])}`"
        )
    if before.pipeline != after.pipeline:
        raise UsageError(
            f"the run {source.name} is of the pipeline {before.pipeline}, and another pipeline cannot use what it learnt:"
            f" `{start_command(after, ['pipeline'])}` starts a new run of that pipeline"
        )
    shapes = pipeline_of(before).shaper
    if shapes(before) != shapes(after):
        new = settings(after)
        changed = [name for name in changed_settings(before, after) if _shapes_differ(before, name, new[name])]
        raise UsageError(
            f"{', '.join(changed)} would change the shapes of the networks of the run {source.name}, so training cannot"
            f" continue with their weights; `{start_command(after, changed)}` starts a new run"
        )


def _shapes_differ(config: RunConfig, name: str, value: Any) -> bool:
    from wmloop.config import with_settings

    shapes = pipeline_of(config).shaper
    layer: Any = value
    for part in reversed(name.split(".")):
        layer = {part: layer}
    return shapes(config) != shapes(with_settings(config, layer))


def _copied(source: Store, iteration: int, name: str | None, config: str, runs: Path) -> Store:
    """Make a new run of everything that `source` did up to and including `iteration`, and say so.

    Raises:
        UsageError: that iteration is not finished, or the name is taken.
        StoreCorruptError: what would be copied is damaged.
    """
    from wmloop.device import machine_facts
    from wmloop.retention import required_by_next
    from wmloop.store import Store, list_runs

    before = stored_config(source)
    history = history_of(source, before)
    if iteration >= history.next_position()[0]:
        raise UsageError(f"cannot fork the run {source.name} at iteration {iteration}: {_finished(source, before)}")
    read = required_by_next(history, iteration, before.replay)
    if lost := [version for version in read if version.pruned]:
        whole = [
            n for n in range(history.next_position()[0])
            if not any(version.pruned for version in required_by_next(history, n, before.replay))
        ]  # fmt: skip
        raise UsageError(
            f"cannot fork the run {source.name} at iteration {iteration}: training would read {lost[0].name}, which was"
            f" pruned; iterations that can be forked: {', '.join(map(str, whole)) or 'none'}"
        )
    if name is None:
        stem, taken = f"{source.name}-from-{iteration}", set(list_runs(runs))
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    kept = [version for version in source.versions() if version.iteration <= iteration]
    origin = {"run": source.name, "iteration": iteration, "created": source.created}
    made = Store.create(runs, name, config, {**machine_facts(), "forked_from": origin}, kept)
    say(f"run {made.name} in {made.path}: {len(kept)} stage outputs of {source.name}, up to iteration {iteration}")
    return made
