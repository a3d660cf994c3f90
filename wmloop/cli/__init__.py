"""The command line: parse, open, call, print, exit. Nothing else in wmloop prints or sets exit codes.

Data goes to stdout; what is said about it goes to stderr. Exit codes: 0 done, 1 a bug (or an environment that failed),
2 wrong usage, 3 diverged, 65 a damaged store, 74 the file system refuses, 75 the run is locked, 130 Ctrl-C, 143 SIGTERM.

Heavy modules load inside the commands, so that `wmloop --help` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Annotated

import typer

from wmloop import __version__
from wmloop.cli.exchange import export, import_
from wmloop.cli.inspect import log, runs, verify
from wmloop.cli.prune import prune
from wmloop.cli.report import report
from wmloop.cli.score import score
from wmloop.cli.train import resume, start
from wmloop.cli.watch import play

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"wmloop {__version__}")
        raise typer.Exit


@app.callback(epilog="`wmloop COMMAND --help` tells more. Runs live in ./runs, or in --runs DIR, or in $WMLOOP_RUNS.")
def _wmloop(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train a World Models agent: look, dream, practise in the dream, drive; again until the goal is met."""


app.command()(start)
app.command()(resume)
app.command()(play)
app.command("eval")(score)
app.command()(report)
app.command()(runs)
app.command()(log)
app.command()(verify)
app.command()(prune)
app.command()(export)
app.command("import")(import_)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # an old locale cannot say everything
    app()
