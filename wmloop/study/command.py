"""The command of a row that is another program: what it may name, and its words for a task."""

from __future__ import annotations

import shlex
import string
from collections.abc import Mapping
from typing import Any

from wmloop.errors import UsageError, nearest

#: What a program is told, by the words that stand for it in braces.
PLACEHOLDERS = ("python", "env", "seed", "frames", "minutes", "episodes", "first_episode", "to", "folder")


def require_command(command: str) -> None:
    """Refuse a command that could not be run for every task.

    Raises:
        UsageError: it cannot be read, has a placeholder that there is not, or does not say where scores are to go.
    """
    if "\0" in command:
        raise UsageError("the command has a character 0, which no program can be given")
    try:
        fields = [field for field in string.Formatter().parse(command) if field[1] is not None]
        shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command {command!r} cannot be read ({error}); a brace itself is written twice") from None
    for _, name, form, conversion in fields:
        if name not in PLACEHOLDERS:
            near = nearest(name, PLACEHOLDERS)
            raise UsageError(f"the command has the placeholder {{{name}}}{near}: it takes {', '.join(PLACEHOLDERS)}")
        if form or conversion:
            raise UsageError(
                f"the command says how to write the placeholder {{{name}}}: it takes its name alone, {{{name}}}"
            )
    if "to" not in {field[1] for field in fields}:
        raise UsageError("the command has no {to}, the file that the program writes its scores to")


def words_with(command: str, values: Mapping[str, Any]) -> list[str]:
    """Return a command word by word, with the values of the placeholders in their place."""
    return [word.format(**values) for word in shlex.split(command)]
