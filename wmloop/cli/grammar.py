"""How commands are read and how their help looks: one grammar for all of them, old spellings included."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from wmloop.cli.exits import say
from wmloop.cli.options import in_words
from wmloop.legacy import OPTIONS

#: What a command says about the numbers that an option takes, and how it reads in words.
_RANGES = (
    (r"; x>=[01](?=\])|\[x>=[01]; ", lambda found: "[" * found[0].startswith("[")),
    (r"  \[x>=[01]\]", lambda found: ""),
    (r"([\d.]+)<=x<=([\d.]+)", lambda found: f"{_number(found[1])} to {_number(found[2])}"),
)


class Command(TyperCommand):
    """A command that takes options by their old names, too, and shows its arguments and options in plain words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line; say the new name of each option that was given by an old one."""
        return super().parse_args(ctx, list(_today(args, OPTIONS.get(self.name or "", {}), not ctx.resilient_parsing)))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the usage line: NAME has to be there, [NAME] may be, [NAME...] may be several."""
        names = [(param, param.metavar + "..." * (param.nargs != 1)) for param in _arguments(self, ctx)]
        return ["[OPTIONS]", *(name if param.required else f"[{name}]" for param, name in names)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options, without the names of types."""
        arguments = [(param.metavar + "..." * (param.nargs != 1), param.help) for param in _arguments(self, ctx)]
        records = [param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == "option"]
        options = [(re.sub("<(.*)>", r"\1", name), _plain(text)) for name, text in filter(None, records)]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Group(TyperGroup):
    """A group whose help lists its commands by what they are for, and whose messages are in wmloop's words."""

    #: The names of the commands, by what they are for.
    sections: Mapping[str, Collection[str]]

    def invoke(self, ctx: Any) -> Any:
        """Run what was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_words(error.message)
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with the first sentence of each one's help."""
        width = max(map(len, self.commands)) + 2
        for title, names in self.sections.items():
            with formatter.section(title):
                shown = [(name, self.commands[name].get_short_help_str(formatter.width - width - 2)) for name in names]
                formatter.write_dl(shown)


def _arguments(command: TyperCommand, ctx: Any) -> list[Any]:
    return [param for param in command.get_params(ctx) if param.param_type_name == "argument"]


def _number(text: str) -> str:
    """Return a number with its thousands apart."""
    return f"{float(text):,g}" if "." in text and not text.endswith(".0") else f"{int(float(text)):,}"


def _plain(text: str) -> str:
    for said, words in _RANGES:
        text = re.sub(said, words, text)
    return text


def _today(words: Sequence[str], names: Mapping[str, str], aloud: bool) -> Iterator[str]:
    """Yield the words of a command line with options under the names of today."""
    ended = False
    for word in words:
        ended = ended or word == "--"
        option, sign, value = word.partition("=")
        if option not in names or ended:
            yield word
            continue
        if aloud:
            say(f"note: {option} is called {names[option]} now")
        yield f"{names[option]}{sign}{value}"
