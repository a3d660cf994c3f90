"""The command line: parse, open, call, print, exit. Nothing else in wmloop prints or sets exit codes.

Data goes to stdout; what is said about it goes to stderr. Exit codes: 0 done, 1 a bug (or an environment that failed),
2 wrong usage, 3 diverged, 65 a damaged store, 74 the file system refuses, 75 the run is locked, 129 the terminal is gone
(SIGHUP), 130 Ctrl-C, 143 SIGTERM.

Heavy modules load inside the commands, so that `wmloop --help` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from wmloop import __version__
from wmloop.cli.doctor import doctor
from wmloop.cli.exchange import export, import_
from wmloop.cli.exits import explain
from wmloop.cli.inspect import log, runs, verify
from wmloop.cli.options import in_words
from wmloop.cli.play import play
from wmloop.cli.prune import prune
from wmloop.cli.report import report
from wmloop.cli.resume import resume
from wmloop.cli.score import score
from wmloop.cli.settings import config
from wmloop.cli.start import start
from wmloop.cli.watch import watch

#: The commands by what they are for, each with examples of its use.
COMMANDS: dict[str, dict[str, tuple[Callable[..., Any], tuple[str, ...]]]] = {
    "Train": {
        "start": (start, ("wmloop start --preset smoke", "wmloop start my-run --hours 1 --set memory.hidden_size=512")),
        "resume": (resume, ("wmloop resume", "wmloop resume my-run --from 3 --as other --set dream.horizon=8")),
        "watch": (watch, ("wmloop watch my-run",)),
    },
    "Look": {
        "play": (play, ("wmloop play demo", "wmloop play my-run --in both --render drive.mp4",
                        "wmloop play my-run --version 12 --against 3")),
        "eval": (score, ("wmloop eval demo --tracks 100", "wmloop eval my-run --json > scores.json")),
        "report": (report, ("wmloop report my-run", "wmloop report my-run other --to comparison")),
    },
    "Runs": {
        "runs": (runs, ("wmloop runs",)),
        "log": (log, ("wmloop log my-run",)),
        "verify": (verify, ("wmloop verify my-run",)),
        "prune": (prune, ("wmloop prune my-run --dry-run",)),
        "export": (export, ("wmloop export my-run --to agent.safetensors",)),
        "import": (import_, ("wmloop import agent.safetensors friend",)),
    },
    "Help": {
        "config": (config, ("wmloop config dream", "wmloop config --run my-run")),
        "doctor": (doctor, ("wmloop doctor",)),
    },
}  # fmt: skip


class _Grouped(TyperGroup):
    """A group whose help lists its commands by what they are for, and whose messages are in wmloop's words."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_words(error.message)
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands)) + 2
        for group, commands in COMMANDS.items():
            with formatter.section(group):
                rows = [
                    (name, self.commands[name].get_short_help_str(formatter.width - width - 2)) for name in commands
                ]
                formatter.write_dl(rows)


app = typer.Typer(cls=_Grouped, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


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


for _commands in COMMANDS.values():
    for _name, (_command, _examples) in _commands.items():
        app.command(_name, epilog="\n".join(["\b", "Examples:", *(f"  {example}" for example in _examples)]))(_command)


def main() -> None:
    """Run the command line; `wmloop.__main__` has prepared the process for it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # an old locale cannot say everything
    try:
        app()
    except OSError as error:  # help that cannot be printed: commands answer for themselves
        raise SystemExit(explain(error)) from None
