"""`wmloop export` and `wmloop import`: an agent as one file, out of a run and into a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.opening import agent_named, open_run, play_command, trust_of
from wmloop.cli.options import IterationOption, JsonOption, NameArgument, RunsOption, at_home, print_json
from wmloop.cli.outputs import require_room
from wmloop.commands import anywhere, command, wmloop
from wmloop.errors import UsageError
from wmloop.opening import history_of, named_code, stored_config


@guarded
def export(
    name: NameArgument = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE.safetensors",
            help="The file. Without it NAME-ITERATION.safetensors.",
            callback=at_home,
        ),
    ] = None,
    iteration: IterationOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Write an agent's networks to one safetensors file.

    Of a world model agent these are V (VAE), M (MDN-RNN) and C (policy). The file also contains the settings, the score, and
    remembered states at which dreams begin. `wmloop import` makes a run of it on any machine; any safetensors library reads it.
    """
    from wmloop.store.tensors import SUFFIX

    if to is not None and to.suffix != SUFFIX:
        raise UsageError(f"an agent is written as safetensors, and the name {to} does not end in {SUFFIX}")
    store = open_run(runs, name)
    require_room(to or Path(f"{store.name}{SUFFIX}"), "--to FILE.safetensors")

    from wmloop import bundle
    from wmloop.serving.choice import choose
    from wmloop.view.words import size

    history = history_of(store, stored_config(store))
    number, why = choose(history, iteration)
    path = to or Path(f"{store.name}-{number}{SUFFIX}")
    written = bundle.write(store, history.pipeline, number, path)
    say(f"{agent_named(store, number, why)}: {size(written)}")
    if as_json:
        print_json("export", run=store.name, iteration=number, file=str(path), bytes=written)
    else:
        print(path)
    say_next({"make a run of it, here or elsewhere": anywhere("import", runs, str(path), f"{store.name}-{number}")})


@guarded
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `wmloop export` wrote.", callback=at_home)],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The new run's name. Without it RUN-ITERATION of the run that it comes from."
        ),
    ] = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Make a run of an exported agent, to play and to evaluate.

    Nothing in the file is executed, and every tensor is checked. The file contains no episodes, so training cannot
    continue from it.
    """
    if not file.is_file():
        folder = f"{file} is a folder: import takes the file of an agent, as `{wmloop('export')}` writes it"
        raise UsageError(folder if file.is_dir() else f"there is no file {file}")

    from wmloop import bundle
    from wmloop.device import machine_facts

    store = bundle.unpack(file, runs, name, machine_facts())
    say(f"run {store.name} in {store.path}")
    if as_json:
        print_json("import", run=store.name, path=str(store.path), imported=store.facts["imported"])
    named, trust = named_code(store, stored_config(store)), trust_of(store)
    if named is not None:
        say(f"note: its file {named}: play, eval and report load it only with --trust-env, if you trust its origin")
    say_next({
        "watch it": play_command(store.path, *trust),
        "score it on fresh episodes": command("eval", store.path, *trust),
    })  # fmt: skip
