"""`wmloop prune`: free the disk of what a run no longer needs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run
from wmloop.cli.options import NameArgument, RunsOption
from wmloop.opening import history_of, stored_config


@guarded
def prune(
    name: NameArgument = None,
    keep_last: Annotated[
        int, typer.Option(metavar="N", min=1, help="From each of the newest N iterations training can go on.")
    ] = 1,
    keep_best: Annotated[int, typer.Option(metavar="N", min=1, help="The N best agents stay.")] = 1,
    keep_every: Annotated[int, typer.Option(metavar="N", min=0, help="Every N-th agent stays; 0: none.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Remove what a run no longer needs: old pictures and latents, then agents that are not to be kept.

    The best agent, all figures and all that the next iteration reads always stay, so `wmloop resume` gives what it would
    have given. `store.keep_last` and its neighbours do the same while a run goes on.
    """
    store = open_run(runs, name)
    config = stored_config(store)
    replay = config.replay
    with contextlib.nullcontext() if dry_run else store.lock():  # before torch loads: a run at work is refused at once
        from wmloop import retention
        from wmloop.view.words import size

        kept = retention.Retention(keep_last, keep_best, keep_every)
        if not dry_run:
            freed = retention.prune(store, history_of(store, config), kept, replay)
            say(f"{store.name}: {size(freed)} freed")
            return
        gone = kept.goes(history_of(store, config), replay)
    for version, files in gone:
        print(f"{version.name}: {', '.join(sorted(files))}")
    bytes_ = sum(version.files[file].size for version, files in gone for file in files)
    say(f"{store.name}: {size(bytes_)} would be freed; without --dry-run they are")
