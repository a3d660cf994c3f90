"""The command line: parse, open, call, print, exit. Nothing else in wmloop prints or sets exit codes.

Data goes to stdout; what is said about it goes to stderr. Exit codes: see exits.EXIT_CODES.

Heavy modules load inside the commands, so that `wmloop --help` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from wmloop import __version__, torchrun
from wmloop.cli.doctor import doctor
from wmloop.cli.exchange import export, import_
from wmloop.cli.exits import explain
from wmloop.cli.fork import fork
from wmloop.cli.grammar import Command, Group
from wmloop.cli.help import help_
from wmloop.cli.init import init
from wmloop.cli.inspect import log, runs, verify
from wmloop.cli.play import play
from wmloop.cli.prune import prune
from wmloop.cli.report import report
from wmloop.cli.resume import resume
from wmloop.cli.score import score
from wmloop.cli.settings import config, settings
from wmloop.cli.start import start
from wmloop.cli.study import study
from wmloop.cli.tasks import tasks
from wmloop.cli.watch import watch

#: The commands by what they are for, each with examples of its use.
COMMANDS: dict[str, dict[str, tuple[Callable[..., Any], tuple[str, ...]]]] = {
    "Train": {
        "start": (start, ("wmloop start first --preset smoke", "wmloop start --env CartPole-v1",
                          "wmloop start my-run --hours 1 --set memory.hidden_size=512")),
        "resume": (resume, ("wmloop resume", "wmloop resume my-run --iterations 80")),
        "fork": (fork, ("wmloop fork my-run other --from 3 --set dream.horizon=8",)),
        "watch": (watch, ("wmloop watch my-run",)),
        "study": (study, ("wmloop study my-study.toml", "wmloop study my-study.toml --page-only --to results")),
    },
    "Environments": {
        "tasks": (tasks, ("wmloop tasks", "wmloop tasks CartPole-v1")),
        "init": (init, ("wmloop init CartPole-v1", "wmloop init my_module:MyEnv-v0 --to mine.toml")),
    },
    "Look": {
        "play": (play, ("wmloop play demo", "wmloop play my-run --in both --to episode.mp4",
                        "wmloop play my-run --iteration 12 --against 3")),
        "eval": (score, ("wmloop eval demo --episodes 100", "wmloop eval my-run --json > scores.json")),
        "report": (report, ("wmloop report my-run", "wmloop report my-run other --to comparison")),
    },
    "Runs": {
        "runs": (runs, ("wmloop runs",)),
        "log": (log, ("wmloop log my-run",)),
        "config": (config, ("wmloop config my-run", "wmloop config my-run --all")),
        "verify": (verify, ("wmloop verify my-run",)),
        "prune": (prune, ("wmloop prune my-run --dry-run",)),
        "export": (export, ("wmloop export my-run --to agent.safetensors",)),
        "import": (import_, ("wmloop import agent.safetensors friend",)),
    },
    "Help": {
        "settings": (settings, ("wmloop settings dream", "wmloop settings --pipeline vanilla-ppo ppo")),
        "doctor": (doctor, ("wmloop doctor",)),
        "help": (help_, ("wmloop help start", "wmloop help exit-codes")),
    },
}  # fmt: skip


app = typer.Typer(
    cls=Group,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"wmloop {__version__}")
        raise typer.Exit


@app.callback(
    epilog="`wmloop help COMMAND` shows the help of a command, `wmloop help exit-codes` what exit codes mean. Runs are stored"
    " in ./runs, or in --runs DIR, or in $WMLOOP_RUNS."
)
def _wmloop(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train a World Models agent.

    Collect episodes, learn a world model from them, train the policy inside it, evaluate; repeat until the goal is reached
    or the budget is used up.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


Group.sections = {title: tuple(commands) for title, commands in COMMANDS.items()}
for _commands in COMMANDS.values():
    for _name, (_command, _examples) in _commands.items():
        _epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in _examples)])
        app.command(_name, cls=Command, epilog=_epilog)(_command)


def main() -> None:
    """Run the command line; `wmloop.__main__` has prepared the process for it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # an old locale cannot say everything
    try:
        place = torchrun.place()
        if place is None:
            app()
        else:
            from wmloop.cli.together import together

            together(place, app)
    except OSError as error:  # help that cannot be printed: commands answer for themselves
        raise SystemExit(explain(error)) from None
