"""`wmloop export` and `wmloop import`: an agent as one file, out of a run and into a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run
from wmloop.cli.options import NameArgument, RunsOption, VersionOption, at_home
from wmloop.cli.outputs import require_room
from wmloop.commands import command
from wmloop.errors import UsageError
from wmloop.opening import history_of, stored_config


@guarded
def export(
    name: NameArgument = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.safetensors", help="The file; NAME-ITERATION if absent.", callback=at_home),
    ] = None,
    version: VersionOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Write an agent, V, M and C, to one safetensors file with its settings and score.

    `wmloop import` makes a run of it, anywhere; any safetensors library reads it.
    """
    store = open_run(runs, name)

    from wmloop.store.tensors import SUFFIX

    require_room(to or Path(f"{store.name}{SUFFIX}"), "--to FILE.safetensors")

    from wmloop import bundle
    from wmloop.serving.choice import choose
    from wmloop.view.words import size

    history = history_of(store, stored_config(store))
    iteration, why = choose(history, version)
    path = to or Path(f"{store.name}-{iteration}{SUFFIX}")
    written = bundle.write(store, history.pipeline, iteration, path)
    say(f"{store.name}, iteration {iteration} ({why}): {size(written)}")
    print(path)


@guarded
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `wmloop export` wrote.", callback=at_home)],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The new run's name; its old one if absent.")
    ] = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Make a run of an exported agent, to play and to eval.

    Nothing in the file is executed, and every tensor is checked. There is no experience in it to go on from.
    """
    if not file.is_file():
        raise UsageError(f"{file} is a folder" if file.is_dir() else f"there is no file {file}")

    from wmloop import bundle
    from wmloop.device import machine_facts

    store = bundle.unpack(file, runs, name, machine_facts())
    watch, rate = (command(verb, store.path) for verb in ("play", "eval"))
    say(f"run {store.name} in {store.path}; watch it: {watch}; score it: {rate}")
