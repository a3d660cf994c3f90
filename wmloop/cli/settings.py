"""`wmloop config`: every setting, what it means, and what a run changed."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from wmloop.cli.completion import run_names, words
from wmloop.cli.exits import guarded
from wmloop.cli.opening import open_run
from wmloop.cli.options import JsonOption, PipelineOption, RunsOption
from wmloop.opening import stored_config

_WIDTH = 80


@guarded
def config(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORD]",
            help="A setting, a part of one, or a group as `dream`; all if absent.",
            autocompletion=words,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="NAME", help="Beside it, what this run has.", autocompletion=run_names),
    ] = None,
    pipeline: PipelineOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show settings: name, default (preset laptop), meaning, what other presets have, and what a run changed.

    They are those of --pipeline, or of the run's.
    """
    from wmloop.config import explain

    given = {} if pipeline is None else {"pipeline": pipeline}
    told = explain(word, stored_config(open_run(runs, run)) if run else None, **given)
    if as_json:
        print(json.dumps({setting.name: setting._asdict() for setting in told}, indent=1, default=list))
        return
    group = None
    for setting in told:
        here, _, name = setting.name.rpartition(".")
        if here != group:
            group = here
            print(f"\n[{group}]" if group else "[every run]")
        print(f"  {name} = {_short(setting.default)}")
        others = [f"{preset}: {_short(value)}" for preset, value in setting.presets.items()]
        if run and setting.own != setting.default:
            others.append(f"{run}: {_short(setting.own)}")
        for line in [setting.meaning, "; ".join(others)]:
            print(
                textwrap.fill(line, _WIDTH, initial_indent="      ", subsequent_indent="      ") if line else "",
                end="\n" * bool(line),
            )


def _short(value: Any) -> str:
    return "none" if value is None else json.dumps(value, default=list, ensure_ascii=False).replace('"', "")
