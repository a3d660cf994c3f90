"""`wmloop fork`: go on from an iteration of a run, in a new one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.completion import run_names, setting_names
from wmloop.cli.exits import guarded, say, say_printed
from wmloop.cli.opening import open_run
from wmloop.cli.options import (
    DeviceOption,
    EngineOption,
    GoalOption,
    HoursOption,
    IterationsOption,
    ProgressOption,
    RunsOption,
    ThreadsOption,
    TrackOption,
    budget,
    laid_over,
    with_engine,
)
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.opening import history_of, pipeline_of, require_origin, stored_config

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.events import Message
    from wmloop.history import History
    from wmloop.store import Store, Version


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
    pipeline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Another pipeline, which goes on from what the two have in common: hs18-dream takes V and M of a world-model"
            " run, as the iteration left them, and its episodes.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The new run's seed. Without it the seed of NAME.")
    ] = None,
    iterations: IterationsOption = None,
    hours: HoursOption = None,
    goal: GoalOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    threads: ThreadsOption = None,
    progress: ProgressOption = "auto",
    track: TrackOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Begin a new run from an iteration of another one.

    The new run gets a copy of the other one up to and including that iteration, and trains on from there; the other stays
    as it is. Every setting may change except the preset and the networks' shapes. If none changes, the new run repeats the
    other one. With another --pipeline the settings that the two do not share are those of a new run. --hours includes those of
    the copied iterations.
    """
    from wmloop.config import of_pipeline
    from wmloop.starting import on_this_machine, require_new

    source = open_run(runs, name)
    require_origin(source)
    before = stored_config(source)
    if fork_from is None:
        raise UsageError(f"--from ITERATION is missing, the last iteration to copy: {_finished(source, before)}")
    flags = {"device": device, "seed": seed, "threads": threads}
    begun = before if pipeline in (None, before.pipeline) else of_pipeline(before, str(pipeline))
    after = laid_over(begun, with_engine(sets, engine), budget(iterations, hours, goal), flags)
    if new is not None:
        require_new(runs, new)
    _require_kin(source, before, after)
    if track:
        from wmloop.tracking import require_tensorboard

        require_tensorboard()
    after = on_this_machine(after)
    _require_forkable(source, fork_from, before, after)
    notes, printed = _tried(before, after)
    store = _copied(source, fork_from, new, before, after, runs)
    with store.lock():
        from wmloop.cli.session import Session

        Session(store, after, after, progress, runs, track, notes, printed).run()


def _finished(source: Store, config: RunConfig) -> str:
    """Say which iterations of a run can be forked, and which of them is the best."""
    history = history_of(source, config)
    finished, _ = history.next_position()
    if finished <= history.first:
        return f"the run {source.name} has no finished iteration yet"
    best = history.best_evaluation()
    scored = (
        f", and iteration {best.iteration} has the best agent"
        if best is not None and finished > history.first + 1
        else ""
    )
    return f"the finished iterations of the run {source.name} are {history.first} to {finished - 1}{scored}"


def _require_kin(source: Store, before: RunConfig, after: RunConfig) -> None:
    """Refuse settings that nothing of the run `source` can go on by; raises UsageError."""
    from wmloop.cli.again import start_command
    from wmloop.config import changed_settings, common_groups, settings

    if before.preset != after.preset:
        raise UsageError(
            f"a preset is for new runs, and a fork starts from the settings of {source.name}: change single settings"
            f" with --set, or start a new run with `{start_command(after, ['preset'])}`"
        )
    shared = _shared(before, after)
    if not shared:
        raise UsageError(
            f"the run {source.name} is of the pipeline {before.pipeline}, and the pipeline {after.pipeline} cannot use what it"
            f" learnt: `{start_command(after, ['pipeline'])}` starts a new run of that pipeline"
        )
    if before.pipeline != after.pipeline and before.replay != after.replay:
        raise UsageError(
            f"the vision of the run {source.name} has seen the episodes of {before.replay} iterations, and with --pipeline C"
            f" would learn from those of {after.replay}: rollout.replay_iterations stays as it is"
        )
    if before.pipeline != after.pipeline:  # what is not common to both begins anew
        common = common_groups(before, type(after)) - {"pipeline"}
        before = after.model_copy(update={name: getattr(before, name) for name in common})
    shapes = pipeline_of(before).resolve("shapes")
    if shapes(before) != shapes(after):
        new = settings(after)
        changed = [name for name in changed_settings(before, after) if _shapes_differ(before, name, new[name])]
        raise UsageError(
            f"{', '.join(changed)} would change the shapes of the networks of the run {source.name}, so training cannot"
            f" continue with their weights; `{start_command(after, changed)}` starts a new run"
        )


def _require_fit(collected: Sequence[Version], after: RunConfig) -> None:
    """Refuse settings that a new run in what was `collected` would be refused for, too; raises UsageError."""
    from wmloop.training.rollouts import last_actions, last_observations

    actions, observations = last_actions(collected), last_observations(collected)
    if actions is not None and observations is not None:
        pipeline_of(after).resolve("fits")(after, actions, observations)


def _shapes_differ(config: RunConfig, name: str, value: Any) -> bool:
    from wmloop.config import with_settings

    shapes = pipeline_of(config).resolve("shapes")
    layer: Any = value
    for part in reversed(name.split(".")):
        layer = {part: layer}
    return shapes(config) != shapes(with_settings(config, layer))


def _shared(before: RunConfig, after: RunConfig) -> tuple[str, ...]:
    """Return the stages whose outputs a fork goes on from: all of them, or those that another pipeline begins with, too.

    None, if these are not all that the other's agent consists of beside its own stage.
    """
    old, new = pipeline_of(before), pipeline_of(after)
    if old is new:
        return old.names
    pairs = zip(old.stages, new.stages, strict=False)
    alike = takewhile(lambda pair: pair[0].entry == pair[1].entry and not (pair[0].once or pair[1].once), pairs)
    names = tuple(stage.name for stage, _ in alike)
    return names if {part.name for part in new.parts} <= {*names, new.agent} else ()


def _require_forkable(source: Store, iteration: int, before: RunConfig, after: RunConfig) -> None:
    """Refuse a fork from an iteration that is not finished or was pruned, or with settings that its data does not fit.

    Raises:
        UsageError: it is one; iterations that can be forked are listed.
    """
    history, shared = history_of(source, before), _shared(before, after)
    replay = max(before.replay, after.replay)
    if not history.first <= iteration < history.next_position()[0]:
        raise UsageError(f"cannot fork the run {source.name} at iteration {iteration}: {_finished(source, before)}")
    if lost := [version for version in _read(history, iteration, replay, shared) if version.pruned]:
        whole = [
            n for n in range(history.first, history.next_position()[0])
            if not any(version.pruned for version in _read(history, n, replay, shared))
        ]  # fmt: skip
        raise UsageError(
            f"cannot fork the run {source.name} at iteration {iteration}: training would read {lost[0].name}, which was"
            f" pruned; iterations that can be forked: {', '.join(map(str, whole)) or 'none'}"
        )
    _require_fit(history.collected(iteration + 1), after)


def _tried(before: RunConfig, after: RunConfig) -> tuple[list[Message], list[str]]:
    """Try the environment and the parts of a fork that are not those of its run; return what is to say, and what was printed.

    Raises:
        UsageError: something is missing or does not fit.
    """
    from wmloop.events import Message
    from wmloop.starting import try_out

    printed: list[str] = []
    if (after.env, after.pipeline) == (before.env, before.pipeline):
        return [], printed
    try:
        warned, _ = try_out(after, printed)
    except UsageError:
        say_printed(printed)
        raise
    return [Message(f"the environment {after.env.id!r}: {text}", "warning") for text in warned], printed


def _copied(source: Store, iteration: int, name: str | None, before: RunConfig, after: RunConfig, runs: Path) -> Store:
    """Make a new run with the settings `after` of what `source` did up to and including `iteration`, and say so.

    That is everything, or, for another pipeline, the episodes and what of that iteration both have.

    Raises:
        UsageError: the name is taken.
        StoreCorruptError: what would be copied is damaged.
    """
    from wmloop.config.text import to_toml
    from wmloop.device import machine_facts
    from wmloop.store import Store, list_runs

    history, shared = history_of(source, before), _shared(before, after)
    if name is None:
        stem, taken = f"{source.name}-from-{iteration}", set(list_runs(runs))
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    kept = [version for version in source.versions() if version.iteration <= iteration]
    if before.pipeline != after.pipeline:
        own = {v.name for v in (*history.collected(), *history.made(iteration).values()) if v.stage in shared}
        kept = [version for version in kept if version.name in own]
    left = {parent for version in kept for parent in version.parents} - {version.name for version in kept}
    origin = {"run": source.name, "iteration": iteration, "created": source.created}
    origin |= {"left": sorted(left)} if left else {}
    try:
        made = Store.create(runs, name, to_toml(after), {**machine_facts(), "forked_from": origin}, kept)
    except StoreCorruptError:
        again = {version.name: version.pruned.keys() for version in source.versions()}
        if any(again.get(version.name, version.pruned.keys()) != version.pruned.keys() for version in kept):
            raise UsageError(
                f"the run {source.name} was pruned while it was copied: give the same command again"
            ) from None
        raise
    say(f"run {made.name} in {made.path}: {len(kept)} stage outputs of {source.name}, up to iteration {iteration}")
    return made


def _read(history: History, iteration: int, replay: int, shared: Sequence[str]) -> list[Version]:
    """Return the versions that are read by what comes next after `iteration`, or, in another pipeline, within it."""
    from wmloop.retention import required_by_next

    if len(shared) == len(history.pipeline.stages):
        return required_by_next(history, iteration, replay)
    own = [version for version in history.made(iteration).values() if version.stage in shared]
    return [*history.collected(iteration + 1)[-replay:], *own]
