"""`wmloop resume`: go on with a run, or in a new one from an iteration of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.completion import setting_names
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run
from wmloop.cli.options import (
    Device,
    GoalOption,
    HoursOption,
    IterationsOption,
    NameArgument,
    ProgressOption,
    RunsOption,
    TrackOption,
    budget,
)
from wmloop.commands import quoted
from wmloop.errors import UsageError
from wmloop.opening import history_of, pipeline_of, stored_config

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.store import Store


_HIDDEN = "Cannot change on resume."


@guarded
def resume(
    name: NameArgument = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change budget.*, store.* or what belongs to the machine; with --from all but the networks' shapes.",
            autocompletion=setting_names,
        ),
    ] = None,
    iterations: IterationsOption = None,
    hours: HoursOption = None,
    goal: GoalOption = None,
    fork_from: Annotated[
        int | None,
        typer.Option("--from", metavar="ITERATION", min=0, help="Go on after this iteration, in a new run of its own."),
    ] = None,
    fork_name: Annotated[
        str | None, typer.Option("--as", metavar="NEW", help="The new run's name with --from; made up if absent.")
    ] = None,
    progress: ProgressOption = "auto",
    track: TrackOption = False,
    runs: RunsOption = Path("runs"),
    preset: Annotated[str | None, typer.Option(hidden=True, help=_HIDDEN)] = None,
    device: Annotated[Device | None, typer.Option(help="Where to compute from here on.")] = None,
    seed: Annotated[int | None, typer.Option(hidden=True, help=_HIDDEN)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads that learn from here on; 0 is one per core.")] = None,
) -> None:
    """Go on with a run where it stopped.

    A stage that was interrupted goes on from its last snapshot, and the results are those of a run that never stopped.
    What decides no result may change: the budget (--iterations, --hours, --goal), what is kept (--set store.keep_last=5),
    env.engine, env.worker_timeout and vision.frame_cache. So may what belongs to the machine (device, threads, precision,
    env.num_envs), but then numbers differ in their last bits from those of a run that never stopped. Either holds for this
    time only: the run keeps its own.

    With --from a new run begins with a copy of what this one did up to and including that iteration, and the old one
    stays as it is. There every setting may change (--set, --seed); where none does, it repeats the old run.
    """
    from wmloop.config import changed_on_resume, changed_settings, settings, with_settings
    from wmloop.config.build import FREE
    from wmloop.config.text import parse_setting, to_toml
    from wmloop.starting import on_this_machine, require_new

    store = open_run(runs, name)
    if "imported" in store.facts:
        raise UsageError(
            f"{store.name} is there to play and to eval, without what it learnt from; `wmloop start` trains your own"
        )
    before = stored_config(store)
    flags = {"preset": preset, "device": device, "seed": seed, "threads": threads}
    after = before
    for layer in [*map(parse_setting, sets or []), budget(iterations, hours, goal)]:
        after = with_settings(after, layer)
    after = with_settings(after, {key: value for key, value in flags.items() if value is not None})
    if fork_from is not None:
        if before.preset != after.preset:
            raise UsageError(
                f"a preset is where the settings of a new run start from, and {store.name} has its own: with --from change"
                f" single ones with --set, or begin with `wmloop start --preset {after.preset}`"
            )
        if before.pipeline != after.pipeline:
            raise UsageError(
                f"the run {store.name} is of the pipeline {before.pipeline}, and what it learnt is nothing to another:"
                " `wmloop start --pipeline` begins a run of one"
            )
        if fork_name is not None:
            require_new(runs, fork_name)
        shapes = pipeline_of(before).shaper
        if shapes(before) != shapes(after):
            new = settings(after)
            changed = [name for name in changed_settings(before, after) if _shapes_differ(before, name, new[name])]
            raise UsageError(
                f"the networks of the run {store.name} have other shapes than {', '.join(changed)} would give them: training"
                f" cannot go on from them; `{_start(after, changed)}` begins anew"
            )
        after = on_this_machine(after)
        store = _fork(store, fork_from, fork_name, to_toml(after), runs)
        before = after
    elif fork_name is not None:
        raise UsageError("--as names a new run, and without --from ITERATION there is none")
    fixed, machine = changed_on_resume(before, after)
    if fixed:
        old, new = settings(before)[fixed[0]], settings(after)[fixed[0]]
        free = ", ".join(name for name in FREE if name in settings(before))
        raise UsageError(
            f"{fixed[0]} is {old!r} in the run {store.name} and cannot become {new!r}: the results would no longer be"
            f" those of one run. Only budget.*, store.*, {free}, device, threads, precision and env.num_envs may change;"
            f" with --from ITERATION another run does; or start a new run: `{_start(after, fixed)}`"
        )

    with store.lock():  # before torch loads, so that a second writer is refused at once
        from wmloop.cli.session import Session
        from wmloop.device import differences, machine_facts

        after = on_this_machine(after)
        notes = [*differences(store.facts, machine_facts())] if fork_from is None else []
        if machine:
            notes.append(
                f"{' and '.join(machine)} not as the run began: from here on its numbers are not, to the last bit, those of"
                " a run that never stopped" + (", and it drives other episodes" if "env.num_envs" in machine else "")
            )
        Session(store, before, after, progress, runs, track, notes).run()


def _shapes_differ(config: RunConfig, name: str, value: Any) -> bool:
    from wmloop.config import with_settings

    shapes = pipeline_of(config).shaper
    layer: Any = value
    for part in reversed(name.split(".")):
        layer = {part: layer}
    return shapes(config) != shapes(with_settings(config, layer))


def _start(config: RunConfig, names: Sequence[str]) -> str:
    """Return the command that begins a run with those of its settings that are named."""
    from wmloop.config import RunConfig, settings
    from wmloop.config.text import toml_value

    values = settings(config)
    words = [word for name in names for word in ("--set", f"{name}={toml_value(values[name])}")]
    system = [] if config.pipeline == RunConfig().pipeline else ["--pipeline", config.pipeline]
    return quoted(["wmloop", "start", *system, *words])


def _fork(source: Store, iteration: int, name: str | None, config: str, runs: Path) -> Store:
    """Make a new run of everything that `source` did up to and including `iteration`, and say so.

    Raises:
        UsageError: that iteration is not finished, or the name is taken.
        StoreCorruptError: what would be copied is damaged.
    """
    from wmloop.device import machine_facts
    from wmloop.retention import required_by_next
    from wmloop.store import Store, list_runs

    history = history_of(source, stored_config(source))
    finished, _ = history.next_position()
    if iteration >= finished:
        has = f"its finished iterations are 0 to {finished - 1}" if finished else "none of its iterations is finished"
        raise UsageError(f"cannot go on from iteration {iteration} of the run {source.name}: {has}")
    read = required_by_next(history, iteration, stored_config(source).replay)
    if lost := [version for version in read if version.pruned]:
        raise UsageError(
            f"cannot go on from iteration {iteration} of the run {source.name}: {lost[0].name} was pruned,"
            f" and training would read it"
        )
    if name is None:
        stem, taken = f"{source.name}-from-{iteration}", set(list_runs(runs))
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    kept = [version for version in source.versions() if version.iteration <= iteration]
    origin = {"run": source.name, "iteration": iteration, "created": source.created}
    fork = Store.create(runs, name, config, {**machine_facts(), "forked_from": origin}, kept)
    say(f"run {fork.name} in {fork.path}: {len(kept)} versions of {source.name}, up to iteration {iteration}")
    return fork
