"""`wmloop help`: what `--help` prints, and what exit codes mean."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from wmloop.cli.exits import EXIT_CODES, guarded
from wmloop.commands import wmloop
from wmloop.errors import UsageError, nearest

#: What is explained beside the commands.
TOPIC = "exit-codes"
_WIDTH = 80


@guarded
def help_(
    ctx: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help=f"The command, or {TOPIC}. Without it all commands.")
    ] = None,
) -> None:
    """Show how a command is used, or what exit codes mean."""
    above: Any = ctx.parent
    if topic is None:
        print(above.get_help())
    elif topic == TOPIC:
        print(exit_codes())
    elif found := above.command.get_command(above, topic):
        print(found.get_help(type(above)(found, info_name=topic, parent=above)))
    else:
        near = nearest(topic, [*above.command.commands, TOPIC])
        raise UsageError(f"there is no command {topic!r}{near}: `{wmloop('help')}` lists them")


def exit_codes() -> str:
    """Return what each exit code means, a line or two each."""
    lines = (f"{code:3}  {meaning}" for code, meaning in EXIT_CODES.items())
    return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent=" " * 5) for line in lines)
