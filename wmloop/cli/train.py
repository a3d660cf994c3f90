"""`wmloop start` and `wmloop resume`: one begins a run, the other goes on with one; the work is the same."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmloop.cli.completion import setting_names
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run, stored_config
from wmloop.cli.options import (
    Device,
    GoalOption,
    HoursOption,
    IterationsOption,
    NameArgument,
    ProgressOption,
    RunsOption,
    SetOption,
    TrackOption,
    at_home,
    budget,
)
from wmloop.commands import command, quoted
from wmloop.errors import UsageError

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.store import Store

_LAST_LINES = 20
_HIDDEN = "Cannot change on resume."


@guarded
def start(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The new run's name; made up if absent.")] = None,
    preset: Annotated[
        Literal["smoke", "laptop", "gpu", "paper"] | None,
        typer.Option(help="Where the settings start from; without it gpu on CUDA, else laptop."),
    ] = None,
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
        _require_new(runs, name)
    flags = {"device": device, "seed": seed, "threads": threads}
    layers = [read_toml(config)] if config else []
    layers += [parse_setting(text) for text in sets or []]
    layers += [budget(iterations, hours, goal), {key: value for key, value in flags.items() if value is not None}]
    settled, why = _settle(preset, layers)
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
    env.timeout and vision.frame_cache. So may what belongs to the machine, device, threads, precision and env.num_envs, but
    then numbers differ in their last bits from those of a run that never stopped. Either holds for this time only: the
    run keeps its own.

    With --from a new run begins with a copy of what this one did up to and including that iteration, and the old one
    stays as it is. There every setting may change (--set, --seed); where none does, it repeats the old run.
    """
    from wmloop.config import changed_on_resume, changed_settings, settings, with_settings
    from wmloop.config.text import parse_setting, to_toml

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
        if fork_name is not None:
            _require_new(runs, fork_name)
        from wmloop.training.networks import shapes

        if shapes(before) != shapes(after):
            new = settings(after)
            changed = [name for name in changed_settings(before, after) if _shapes_differ(before, name, new[name])]
            raise UsageError(
                f"the networks of the run {store.name} have other shapes than {', '.join(changed)} would give them: training"
                f" cannot go on from them; `{quoted(['wmloop', 'start', *_set(new, changed)])}` begins anew"
            )
        after = _on_this_machine(after)
        store = _fork(store, fork_from, fork_name, to_toml(after), runs)
        before = after
    elif fork_name is not None:
        raise UsageError("--as names a new run, and without --from ITERATION there is none")
    fixed, machine = changed_on_resume(before, after)
    if fixed:
        old, new = settings(before)[fixed[0]], settings(after)[fixed[0]]
        raise UsageError(
            f"{fixed[0]} is {old!r} in the run {store.name} and cannot become {new!r}: the results would no longer be"
            f" those of one run. Only budget.*, store.*, env.timeout, vision.frame_cache, device, threads, precision and"
            f" env.num_envs may change; with --from ITERATION another run does; or start a new run:"
            f" `{quoted(['wmloop', 'start', *_set(settings(after), fixed)])}`"
        )

    with store.lock():  # before torch loads, so that a second writer is refused at once
        from wmloop.cli.session import Session
        from wmloop.device import differences, machine_facts

        after = _on_this_machine(after)
        notes = [*differences(store.facts, machine_facts())] if fork_from is None else []
        if machine:
            notes.append(
                f"{' and '.join(machine)} not as the run began: from here on its numbers are not, to the last bit, those of"
                " a run that never stopped" + (", and it drives other episodes" if "env.num_envs" in machine else "")
            )
        Session(store, before, after, progress, runs, track, notes).run()


def _shapes_differ(config: RunConfig, name: str, value: Any) -> bool:
    from wmloop.config import with_settings
    from wmloop.training.networks import shapes

    layer: Any = value
    for part in reversed(name.split(".")):
        layer = {part: layer}
    return shapes(config) != shapes(with_settings(config, layer))


def _set(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the options that set settings to values."""
    from wmloop.config.text import toml_value

    return [word for name in names for word in ("--set", f"{name}={toml_value(values[name])}")]


def _require_new(root: Path, name: str) -> None:
    """Refuse a name that `Store.create` would refuse, before torch loads and anything is looked at.

    Raises:
        UsageError: the name does not do, or is that of a run.
    """
    from wmloop.store import check_run_name
    from wmloop.store.names import HEADER

    check_run_name(name)
    if os.path.lexists(root / name) and os.access(root / name, os.X_OK) and (root / name / HEADER).exists():
        raise UsageError(
            f"{root} has a run {name!r} already: `{command('resume', root / name)}` goes on with it;"
            f" or choose another name"
        )


def _fork(source: Store, iteration: int, name: str | None, config: str, runs: Path) -> Store:
    """Make a new run of everything that `source` did up to and including `iteration`, and say so.

    Raises:
        UsageError: that iteration is not finished, or the name is taken.
        StoreCorruptError: what would be copied is damaged.
    """
    from wmloop.device import machine_facts
    from wmloop.history import History
    from wmloop.retention import read_after
    from wmloop.store import Store, list_runs

    history = History(source)
    finished, _ = history.next_position()
    if iteration >= finished:
        has = f"its finished iterations are 0 to {finished - 1}" if finished else "none of its iterations is finished"
        raise UsageError(f"cannot go on from iteration {iteration} of the run {source.name}: {has}")
    read = read_after(history, iteration, stored_config(source).rollout.replay)
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
    return _on_this_machine(build_config(preset, *layers, chosen)), why


def _on_this_machine(config: RunConfig) -> RunConfig:
    """Return `config` with nothing left for the machine to choose.

    Raises:
        UsageError: this machine cannot do what it asks for.
    """
    from wmloop.config import with_settings
    from wmloop.device import resolve_device, resolve_precision, resolve_threads

    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    return with_settings(config, {"device": device, "threads": resolve_threads(config.threads), "precision": precision})
