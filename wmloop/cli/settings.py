"""`wmloop settings` and `wmloop config`: every setting there is, and those of a run."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.completion import run_names, words
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run
from wmloop.cli.options import JsonOption, NameArgument, PipelineOption, RunsOption, print_json
from wmloop.commands import wmloop
from wmloop.opening import stored_config

if TYPE_CHECKING:
    from wmloop.config import Setting

_WIDTH = 80


@guarded
def settings(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="WORD",
            help="A setting, part of its name, or a group such as `dream`. Without it all.",
            autocompletion=words,
        ),
    ] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the settings, with what each one means.

    Beside each is its default (the preset laptop changes none), the values of the presets that set it, and those of
    environments' profiles that have another.
    """
    _print_catalogue(word, pipeline, as_json)


@guarded
def config(
    name: NameArgument = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List all of its settings, also those of the preset.")
    ] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
    run: Annotated[str | None, typer.Option("--run", hidden=True, autocompletion=run_names)] = None,
    pipeline: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """List a run's settings: those that differ from its preset.

    Beside each is its value in the preset, with the profile of the run's environment. Its pipeline and its environment are
    always listed. `wmloop settings` says what they mean.
    """
    from wmloop.config import BASIS, beside_preset, preset_of
    from wmloop.store import list_runs

    if run is not None:
        say("note: config --run NAME is called config NAME now")
        name = run
    elif pipeline is not None or (_is_word(name, runs) if name else not list_runs(runs)):
        say("note: config WORD is called settings WORD now, and so is config --pipeline PIPELINE")
        _print_catalogue(name, pipeline, as_json)
        return
    store = open_run(runs, name)
    own = stored_config(store)
    told = beside_preset(own)
    shown = {name: pair for name, pair in told.items() if everything or name in BASIS or pair[0] != pair[1]}
    if as_json:
        print_json("config", run=store.name, preset=own.preset,
                   settings={name: {"value": value, "preset": was} for name, (value, was) in shown.items()})  # fmt: skip
        return
    group = None
    for setting, (value, was) in shown.items():
        here, _, last = setting.rpartition(".")
        if here != group:
            group = here
            print(f"\n[{group}]" if group else "[every run]")
        whose = "default" if setting in BASIS else f"preset {own.preset}"
        differs = f"  ({whose}: {_short(was)})" if value != was else ""
        print(f"  {last} = {_short(value)}{differs}")
    if not everything:
        same = f"the other {len(told) - len(shown)} settings are those of {preset_of(own)}"
        say(f"{store.name}: {same}; --all lists them, and `{wmloop('settings')}` says what they mean")


def _is_word(name: str, runs: Path) -> bool:
    """Tell whether what is given for a run's name is that of no run and a setting's, as it was before `settings`."""
    from wmloop.commands import DEMO

    return (
        name != DEMO.name
        and not (runs / name).exists()
        and not Path(name).exists()
        and any(name in setting for setting in words(""))
    )


def _print_catalogue(word: str | None, pipeline: str | None, as_json: bool) -> None:
    from wmloop.config import explain

    told = explain(word, **({} if pipeline is None else {"pipeline": pipeline}))
    if as_json:
        print_json("settings", settings={setting.name: _record(setting) for setting in told})
        return
    group = None
    for setting in told:
        here, _, name = setting.name.rpartition(".")
        if here != group:
            group = here
            print(f"\n[{group}]" if group else "[every run]")
        print(f"  {name} = {_short(setting.default)}")
        others = "; ".join(f"{preset}: {_short(value)}" for preset, value in setting.presets.items())
        for line in filter(None, (setting.meaning, others)):
            print(textwrap.fill(line, _WIDTH, initial_indent="      ", subsequent_indent="      "))


def _record(setting: Setting) -> dict[str, Any]:
    return {"meaning": setting.meaning, "default": setting.default, "presets": setting.presets}


def _short(value: Any) -> str:
    return "none" if value is None else json.dumps(value, default=list, ensure_ascii=False).replace('"', "")
