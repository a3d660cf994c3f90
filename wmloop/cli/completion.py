"""What the shell may complete: names of runs and of settings."""

from __future__ import annotations

from pathlib import Path

import typer

from wmloop.commands import DEMO, runs_folder


def run_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs there are, and the demo."""
    from wmloop.store import list_runs

    given = ctx.params.get("runs")
    try:
        names = [name for name in list_runs(Path(given) if given else runs_folder()) if name != DEMO.name] + [DEMO.name]
    except (OSError, RuntimeError):  # a folder that cannot be read, or somebody's home that is not there
        names = [DEMO.name]
    return [name for name in names if name.startswith(incomplete)]


def setting_names(incomplete: str) -> list[str]:
    """Return the settings, ready for their values."""
    return [f"{name}=" for name in words(incomplete)]


def words(incomplete: str) -> list[str]:
    """Return the names of the settings of all pipelines."""
    from wmloop.config import explain
    from wmloop.pipelines import PIPELINES

    names = dict.fromkeys(setting.name for pipeline in PIPELINES.names() for setting in explain(pipeline=pipeline))
    return [name for name in names if name.startswith(incomplete)]
