"""`wmloop prune`: free the disk of what a run no longer needs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.opening import open_run
from wmloop.cli.options import JsonOption, NameArgument, RunsOption, print_json
from wmloop.commands import command
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.opening import history_of, stored_config


@guarded
def prune(
    name: NameArgument = None,
    keep_last: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Keep the newest N iterations complete, so that training can go on from each."
        ),
    ] = 1,
    keep_best: Annotated[int, typer.Option(metavar="N", min=1, help="Keep the N best agents.")] = 1,
    keep_every: Annotated[int, typer.Option(metavar="N", min=0, help="Keep every N-th agent; 0: none.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Delete what a run no longer needs.

    Old episodes and latents are deleted, then agents that are not to be kept. The best agent, all metrics and all that the
    next iteration reads always stay, so `wmloop resume` gives the same results; `wmloop fork --from` can then use only the
    newest --keep-last iterations. The settings store.keep_last, store.keep_best and store.keep_every do the same during
    training.
    """
    from wmloop.study.task import is_done, study_of

    store = open_run(runs, name)
    if not (dry_run or keep_every == 1) and study_of(store.path) is not None and not is_done(store.path):
        raise UsageError(
            f"{store.name} is a run of the study in {store.path.parent}, which has still to score its agents: prune it when"
            " `wmloop study` is done with it, or keep all agents with --keep-every 1"
        )
    config = stored_config(store)
    with contextlib.nullcontext() if dry_run else store.lock():  # before torch loads: a run at work is refused at once
        from wmloop import retention
        from wmloop.view.words import size

        kept, history = retention.Retention(keep_last, keep_best, keep_every), history_of(store, config)
        if (lost := history.lost()) is not None:
            raise StoreCorruptError(
                f"{lost} is missing or damaged, and later iterations are there: nothing was pruned;"
                f" `{command('verify', store.path)}` says what to do"
            )
        gone = kept.goes(history, config.replay)
        freed = sum(version.files[file].size for version, files in gone for file in files)
        if not dry_run:
            freed = retention.prune(store, history, kept, config.replay)
    if as_json:
        going = [{"version": version.name, "files": sorted(files)} for version, files in gone]
        print_json("prune", run=store.name, dry_run=dry_run, bytes=freed, versions=going)
    elif dry_run:
        for version, files in gone:
            print(f"{version.name}: {', '.join(sorted(files))}")
    if not dry_run:
        say(f"{store.name}: {size(freed)} freed")
        say_next({"check the rest": command("verify", store.path)})
        return
    say(f"{store.name}: {size(freed)} would be freed")
    if not gone:
        return
    given = {"--keep-last": (keep_last, 1), "--keep-best": (keep_best, 1), "--keep-every": (keep_every, 0)}
    words = [word for option, (n, default) in given.items() if n != default for word in (option, str(n))]
    say_next({"free them": command("prune", store.path, *words)})
