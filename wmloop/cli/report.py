"""`wmloop report`: what a run learnt, as a page to read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.completion import run_names
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import agent_named, log_named, open_run, output_of, trust_of
from wmloop.cli.options import IterationOption, JsonOption, RunsOption, TrustOption, at_home, print_json
from wmloop.cli.outputs import output_folder, require_room
from wmloop.commands import command
from wmloop.errors import UsageError
from wmloop.opening import history_of, require_trust, ships, stored_config
from wmloop.seeding import LAST_SEED

if TYPE_CHECKING:
    from wmloop.store import Store

#: Bytes of run names in the name of a folder; many file systems take 255 in all.
_LONGEST = 150
#: The page's name in a run's folder.
PAGE = "report.html"
#: How to say where the page goes.
_TO = "--to DIR"


@guarded
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="One run, or several to compare. Without it the run with the latest activity.",
            autocompletion=run_names,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.html",
            help="Where to write it. Without it report.html in the run's folder; of several runs, a file in --runs.",
            callback=at_home,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=LAST_SEED,
            help="Seed of the fresh episodes that are shown: each N gives other episodes. Without it 0.",
        ),
    ] = None,
    iteration: IterationOption = None,
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: one self-contained HTML page.

    Learning curves, predicted against real return, evaluations, animations of an episode and of a dream, reconstructions
    of V (the VAE), predictions of M (the MDN-RNN), training curves, time by stage, the networks (C is the policy), and the
    commands that repeat the run; without a world model, those of them that apply. Several runs are compared, and runs that
    differ only in the seed are drawn as one curve.
    """
    if len(names or ()) > 1 and (iteration is not None or seed is not None or trust_env):
        raise UsageError(
            "a comparison of several runs plays no episodes and shows all their iterations: omit --iteration, --seed and"
            " --trust-env, or name one run"
        )
    stores = [open_run(runs, name) for name in (names or (None,))]
    if len(stores) == 1:  # only then anything is driven
        require_trust(stores[0], stored_config(stores[0]), trust_env)
    try:
        from wmloop.report import Facts, compare
    except ModuleNotFoundError as error:
        raise UsageError(f"the report's plots need {error.name}: pip install 'wmloop[report]'") from error

    from wmloop.store import atomic

    facts = [Facts.of(store, stored_config(store)) for store in stores]
    with _place(stores, to, runs) as path:
        if len(stores) > 1:
            page = compare(facts, [(store.name, _lines(store)) for store in stores])
        else:
            page = _describe(stores[0], facts[0], seed or 0, iteration)
        atomic.write_file(path.absolute(), page)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    if as_json:
        print_json("report", runs=[store.name for store in stores], page=str(shown))
    else:
        print(shown)
    say(f"open it in a browser: {path.absolute().as_uri()}")


@contextlib.contextmanager
def _place(stores: Sequence[Store], to: Path | None, runs: Path) -> Iterator[Path]:
    """Make room for the page where it goes, and return that; see `output_folder` and `require_room`."""
    name = PAGE
    if to is None and len(stores) == 1 and not ships(stores[0]):
        folder = stores[0].path
    elif to is None:
        folder = Path() if len(stores) == 1 else runs
        name = f"{joint_name([store.name for store in stores])}-{PAGE}"
    elif to.suffix.lower() in (".html", ".htm") and not to.is_dir():
        folder, name = to.parent, to.name
    else:
        folder = to
    if to is None and folder.is_dir():
        require_room(folder / name, _TO)
    with output_folder(folder, _TO):
        if (folder / name).is_dir():
            raise UsageError(f"{folder / name} is a folder: choose another place with --to")
        yield folder / name


def joint_name(names: Sequence[str]) -> str:
    """Return one name for several runs: all of theirs, or of many as many as a folder's name has room for."""
    whole = "-".join(names)
    if len(os.fsencode(whole)) <= _LONGEST:
        return whole
    shown = next(i for i in range(len(names), 0, -1) if i == 1 or len(os.fsencode("-".join(names[:i]))) <= _LONGEST)
    return f"{'-'.join(names[:shown])}-and-{len(names) - shown}-more"


def _describe(store: Store, facts: Any, seed: int, iteration: int | None) -> bytes:
    from wmloop.cli.again import again
    from wmloop.device import resolve_threads, set_up
    from wmloop.report import Commands, describe, look, watch
    from wmloop.serving.agent import Served
    from wmloop.serving.choice import choose

    history = history_of(store, facts.config)
    number, why = choose(history, iteration)
    served, told = Served.of(history, number), again(store)
    commands = Commands(told.commands, told.notes, _following(store))
    say(f"{agent_named(store, number, why)}: playing fresh episodes to show")
    device, output = set_up("cpu", resolve_threads(0)), output_of(store)
    with log_named(store):
        if facts.dreams:
            probe = look(history, facts.config, served, seed, device, say, output)
            return describe(facts, probe, number, commands)
        drive = watch(history, facts.config, served, seed, device, say, output)
    return describe(facts, None, number, commands, drive, served.tensors())


def _following(store: Store) -> dict[str, str]:
    """Return what may be done with a run next, by purpose."""
    from wmloop.cli.session import more
    from wmloop.store.tensors import SUFFIX

    trust = trust_of(store)
    told = {
        "score it": command("eval", store.path, "--episodes", "100", *trust),
        "watch it": command("play", store.path, *trust),
        "watch it without a display": command("play", store.path, "--to", f"{store.name}.mp4", *trust),
    }
    if "imported" not in store.facts:
        told["train further"] = command("resume", store.path, *more(store))
        told["export it"] = command("export", store.path, "--to", f"{store.name}{SUFFIX}")
    return told


def _lines(store: Store) -> list[str]:
    """Return the commands that make a run again, and the one that scores it as it is here."""
    from wmloop.cli.again import again

    told = again(store)
    score = command("eval", store.path, "--episodes", "100", *trust_of(store))
    return [*told.commands, *(f"# {note}" for note in told.notes), score]
