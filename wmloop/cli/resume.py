"""`wmloop resume`: go on with a run where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmloop.cli.completion import setting_names
from wmloop.cli.exits import guarded, say
from wmloop.cli.fork import fork
from wmloop.cli.opening import open_run
from wmloop.cli.options import (
    DeviceOption,
    EngineOption,
    GoalOption,
    HoursOption,
    IterationsOption,
    NameArgument,
    ProgressOption,
    RunsOption,
    ThreadsOption,
    TrackOption,
    budget,
    laid_over,
    with_engine,
)
from wmloop.commands import command
from wmloop.errors import UsageError
from wmloop.opening import history_of, pipeline_of, require_origin, stored_config

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.store import Store


@guarded
def resume(
    name: NameArgument = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting that resume may change (see above); repeatable.",
            autocompletion=setting_names,
        ),
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
    fork_from: Annotated[int | None, typer.Option("--from", hidden=True, min=0)] = None,
    fork_name: Annotated[str | None, typer.Option("--as", hidden=True)] = None,
    seed: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Continue a run where it stopped.

    An interrupted stage continues from its last snapshot, and the results are those of a run that never stopped. Three kinds
    of settings may change: the budget (--iterations, --hours, --goal); what does not affect results (store.*, env.engine,
    env.worker_timeout, vision.frame_cache); and what depends on the machine (device, threads, precision, env.num_envs),
    after which the run differs from one that never stopped. Options apply to this call and are not stored: a later plain
    `wmloop resume` uses the run's own again. To change anything else, make another run with `wmloop fork`.
    """
    if fork_from is not None:  # how `fork` was spelled
        say("note: resume NAME --from ITERATION --as NEW is called fork NAME NEW --from ITERATION now")
        fork(name or str(open_run(runs, None).path), fork_name, fork_from, sets, None, seed, iterations, hours, goal, device,
             engine, threads, progress, track, runs)  # fmt: skip
        return
    if fork_name is not None:
        raise UsageError("--as names a new run, and only `fork NAME NEW --from ITERATION` makes one")
    store = open_run(runs, name)
    require_origin(store)
    if seed is not None:
        another = command("fork", store.path, f"{store.name}-{seed}", "--from", "0", "--seed", str(seed))
        raise UsageError(f"the run {store.name} keeps its seed; a fork of it may have another: `{another}`")
    from wmloop.study.task import study_of

    if study_of(store.path) is not None and (iterations, hours, goal) == (None, None, None):
        say(
            f"note: {store.name} is a run of the study in {store.path.parent}, which ends its runs: resumed by itself it goes"
            " on until Ctrl-C, or as long as --iterations, --hours or --goal say"
        )
    before = stored_config(store)
    after = laid_over(
        before, with_engine(sets, engine), budget(iterations, hours, goal), {"device": device, "threads": threads}
    )
    go_on(store, before, after, progress, runs, track)


def go_on(store: Store, before: RunConfig, after: RunConfig, progress: str, runs: Path, track: bool) -> None:
    """Go on with a run of the settings `before` by those that it has `after`.

    Raises:
        UsageError: they differ in what decides results.
        RunLockedError: another process is writing the run.
    """
    from wmloop.cli.again import start_command
    from wmloop.config import changed_on_resume, settings
    from wmloop.config.build import FREE
    from wmloop.events import Message

    fixed, _ = changed_on_resume(before, after)
    if fixed:
        old, new = settings(before)[fixed[0]], settings(after)[fixed[0]]
        free = ", ".join(name for name in FREE if name in settings(before))
        raise UsageError(
            f"{fixed[0]} is {old!r} in the run {store.name} and cannot become {new!r}: the results would no longer be"
            f" those of one run. Only budget.*, store.*, {free}, device, threads, precision and env.num_envs may change;"
            f" {_elsewhere(store, before, after, fixed)}start a new run: `{start_command(after, fixed)}`"
        )
    with store.lock():  # before torch loads, so that a second writer is refused at once
        from wmloop.cli.session import Session
        from wmloop.device import differences, machine_facts
        from wmloop.starting import on_this_machine

        after = on_this_machine(after)
        machine = changed_on_resume(before, after)[1]  # as this machine has it: `auto` may be what there was
        told = differences(store.facts, machine_facts())
        if machine:
            told.append(
                f"{' and '.join(machine)} changed since the run started: from here on its numbers are not bit for bit those of"
                " a run that never stopped" + (", and it collects other episodes" if "env.num_envs" in machine else "")
            )
        Session(store, before, after, progress, runs, track, [Message(text, "warning") for text in told]).run()


def _elsewhere(store: Store, before: RunConfig, after: RunConfig, names: Sequence[str]) -> str:
    """Return the words for a fork in which the named settings may change; nothing where none can be made."""
    from wmloop.cli.again import sets_of

    finished, _ = history_of(store, before).next_position()
    same = before.pipeline == after.pipeline and before.preset == after.preset
    shapes = pipeline_of(before).resolve("shapes")
    if not finished or not same or shapes(before) != shapes(after):
        return ""
    line = command("fork", store.path, "--from", str(finished - 1), *sets_of(after, names))
    return f"a fork may: `{line}`; or "
