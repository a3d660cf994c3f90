"""`wmloop report`: what a run learnt, as a page to read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.completion import run_names
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import log_named, open_run, output_of
from wmloop.cli.options import RunsOption, SeedOption, TrustOption, VersionOption, at_home
from wmloop.cli.outputs import output_folder
from wmloop.commands import command, quoted
from wmloop.errors import UsageError
from wmloop.opening import history_of, require_trust, stored_config

if TYPE_CHECKING:
    from wmloop.store import Store

#: Bytes of run names in the name of a folder; many file systems take 255 in all.
_LONGEST = 150


@guarded
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="The run; several are compared; none is the one with latest activity.",
            autocompletion=run_names,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder to write; NAME-report here if absent.", callback=at_home),
    ] = None,
    seed: SeedOption = 0,
    version: VersionOption = None,
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Write a run's report: one HTML page that needs nothing else, and its figures as SVG and PNG.

    Learning curves, the dream's promise and the gap, tracks, V's reconstructions, M's dreams beside reality, how far its
    rewards and ends can be believed, time by stage, the networks, and the commands that make it again; of a run without a
    world model what there is of these. With several names the runs are held against each other.
    """
    stores = [open_run(runs, name) for name in (names or (None,))]
    if len(stores) == 1:  # only then anything is driven
        require_trust(stores[0], stored_config(stores[0]), trust_env)
    try:
        from wmloop.report import Facts, compare
    except ModuleNotFoundError as error:
        raise UsageError(f"the report's figures need {error.name}: pip install 'wmloop[report]'") from error

    facts = [Facts.of(store, stored_config(store)) for store in stores]
    folder = to or Path(f"{_together([store.name for store in stores])}-report")
    with output_folder(folder, "--to DIR"):
        if len(stores) > 1:
            written = compare(facts, [line for store in stores for line in _commands(store)], folder)
        else:
            written = _describe(stores[0], facts[0], seed, version, folder)
    print(written)


def _together(names: Sequence[str]) -> str:
    """Return one name for several runs: all of theirs, or of many as many as a folder's name has room for."""
    whole = "-".join(names)
    if len(os.fsencode(whole)) <= _LONGEST:
        return whole
    shown = next(i for i in range(len(names), 0, -1) if i == 1 or len(os.fsencode("-".join(names[:i]))) <= _LONGEST)
    return f"{'-'.join(names[:shown])}-and-{len(names) - shown}-more"


def _describe(store: Store, facts: Any, seed: int, version: int | None, folder: Path) -> Path:
    from wmloop.device import resolve_threads, set_up
    from wmloop.report import describe, look
    from wmloop.serving.agent import Served
    from wmloop.serving.choice import choose

    history = history_of(store, facts.config)
    iteration, why = choose(history, version)
    served = Served.of(history, iteration)
    if not facts.dreams:
        say(f"{store.name}, iteration {iteration} ({why})")
        return describe(facts, None, iteration, _commands(store), folder, served.tensors())
    say(f"{store.name}, iteration {iteration} ({why}): driving fresh tracks for its world model to look at, some 20 s")
    with log_named(store):
        probe = look(
            facts.config,
            served,
            seed,
            set_up("cpu", resolve_threads(0)),
            say,
            output_of(store),
            history.collected(),
        )
    return describe(facts, probe, iteration, _commands(store), folder)


def _commands(store: Store) -> list[str]:
    """Return the command that the run was begun with, and those that score and show its agent."""
    argv = store.facts.get("argv") if isinstance(store.facts, dict) else None
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    begun = [quoted(["wmloop", *words[1:]])] if len(words) > 1 else []
    return [*begun, command("eval", store.path, "--tracks", "100"), command("play", store.path)]
