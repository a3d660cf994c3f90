"""Commands of wmloop, run in this process."""

from typing import Any

from typer.testing import CliRunner

from wmloop.cli import app


def wmloop(*arguments: Any, runs: Any = None) -> Any:
    """Run a command and return what it printed and its exit code."""
    place = [] if runs is None else ["--runs", str(runs)]
    return CliRunner().invoke(app, [*map(str, arguments), *place])
