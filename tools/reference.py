"""Write every generated page of the documentation: python -m tools.reference.

Each page is made of the code; tests/test_docs.py holds them against it.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import typer

import wmloop
from tools import names, settings
from wmloop import events, pipelines
from wmloop.cli import COMMANDS, app, exits

DOCS = Path(__file__).parent.parent / "docs"
#: The measured ranges that the page of metrics shows (tools/normal.py).
NORMAL = "results/2026-11-28-CarRacing-normal.csv"
_MADE = "\nThis page is made by `python -m tools.reference`.\n"


def metrics() -> str:
    """Return the page of metrics."""
    source, *lines = (DOCS / NORMAL).read_text().splitlines()
    normal = {row.pop("figure"): row for row in csv.DictReader(lines)}
    page = [
        "# Metrics\n",
        "Every metric that a stage writes: in `metrics.csv` as `STAGE.NAME`, in `wmloop log --json`, and in\n"
        "`wmloop.Run(...).metrics`; `wmloop log` and the report show the most telling.\n"
        "`seconds` is in each stage: how long it took. The words are in the [glossary](../glossary.md).\n"
        "V is the VAE, M the recurrent model, C the policy; an agent step (in names:\n"
        "`decisions`) is one action, repeated for `env.action_repeat` frames. A metric that cannot be computed is\n"
        "left out. What is measured at each training step (losses and what PPO tells) is a mean over these steps, each of\n"
        "which counts 0.98 as much as the next: a moving average that is corrected for its beginning, as those of Adam are.\n",
        f"The last two columns are measured on CarRacing-v3: least and greatest value in the first and in the last\n"
        f"iteration of three runs; an empty cell: not written then.\n"
        f"Source: [{Path(NORMAL).name}](../{NORMAL}), {source.lstrip('# ')}. Moving averages were not corrected for\n"
        "their beginning then, so of C's 50 updates an iteration the first counted 0.37 by itself.",
        _MADE,
    ]
    for name in pipelines.PIPELINES.own:
        page.append(f"\n## Pipeline `{name}`\n")
        for stage in pipelines.get(name).stages:
            page += [
                f"\n### {name}: {stage.name}\n",
                "| metric | unit | better | meaning | normal | CarRacing, first | last |",
            ]
            page.append("|---|---|---|---|---|---|---|")
            for metric in stage.metrics:
                row = normal.get(f"{stage.name}.{metric.name}", {}) if name == "world-model" else {}
                first, last = _span(row, "first"), _span(row, "last")
                cells = f"`{metric.name}`", metric.unit, metric.better, metric.meaning, metric.normal, first, last
                page.append(f"| {' | '.join(cells)} |")
    return "\n".join(page) + "\n"


def _span(row: dict[str, str], when: str) -> str:
    low, high = row.get(f"{when}_low", ""), row.get(f"{when}_high", "")
    return low if low == high else f"{low} to {high}"


def event_page() -> str:
    """Return the page of events."""
    page = [
        "# Events\n",
        "The objects of `--progress json` and of `events.jsonl`, one a line. Each has `time` (UTC, ISO 8601) and `event`, the\n"
        "name below; numbers that are not finite are `null`. How to read them: [events](../events.md).\n\n"
        "`events.jsonl` also has `SessionStarted`, which `--progress json` does not have: one for each process that trains\n"
        "the run, with `changed`, the settings that differ from the run's own, by dotted name, `cores`, those that\n"
        "it may use, `cpu_model`, which tells processors of one name apart, and `git`, wmloop's commit, where it runs from a\n"
        "checkout.",
        _MADE,
    ]
    for kind in get_args(events.Event):
        if kind in (events.Picture, events.Track, events.Output):  # these are not written there
            continue
        page += [f"\n## `{kind.__name__}`\n", f"{_prose(kind)}\n", "| field | type |", "|---|---|"]
        page += [f"| `{field.name}` | {_as_json(str(field.type))} |" for field in dataclasses.fields(kind)]
    return "\n".join(page) + "\n"


def _as_json(kind: str) -> str:
    """Return in words what JSON has of a value of a Python type."""
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false", "None": "null"}
    parts = [part.strip() for part in kind.split("|")]
    return " or ".join(names.get(part, "object" if "[" in part else part) for part in parts)


def exit_codes() -> str:
    """Return the page of exit codes."""
    rows = [f"| {code} | {meaning} |" for code, meaning in exits.EXIT_CODES.items()]
    return "\n".join(["# Exit codes\n", "| code | meaning |", "|---|---|", *rows, _MADE])


def api() -> str:
    """Return the page of the public interface."""
    page = [
        "# Python interface\n",
        "What `wmloop.__all__` names. Everything else may change. A member without a signature is a property.\n"
        "Errors are subclasses of `WmloopError`, in `wmloop.errors`. `Run.config` and `TrainedAgent.config` hold the\n"
        "[settings](../settings.md),\n"
        "`TrainedAgent.iteration` says of which iteration the agent is.\n"
        "Programs that use it: [examples](../python.md).",
        _MADE,
    ]
    for name in wmloop.__all__:
        part = getattr(wmloop, name)
        page.append(f"\n## `wmloop.{name}`\n")
        page += [_signature(f"wmloop.{name}", part), _prose(part)]
        if inspect.isclass(part):
            for member, value in _members(part):
                page.append(f"\n### `{name}.{member}`\n")
                plain = value.fget if isinstance(value, property) else value
                page += [_signature(member, plain)] if not isinstance(value, property) else []
                page.append(_prose(plain))
    return "\n".join(page) + "\n"


def _members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, value in vars(kind).items():
        if not name.startswith("_") and (isinstance(value, property) or inspect.isfunction(value)) and value.__doc__:
            yield name, value


def _signature(name: str, part: Any) -> str:
    if inspect.isclass(part) and (issubclass(part, Exception) or _is_model(part)):
        return ""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(part)))  # annotations are strings
    text = re.sub(
        r"<factory>|<function .*? at 0x[0-9a-f]+>", "...", text
    )  # what has no name, and another place each time
    return f"```python\n{name}{text}\n```\n"


def _is_model(kind: type[Any]) -> bool:
    """Return whether it is a group of settings, whose signature is the page of settings."""
    return hasattr(kind, "model_fields")


def _prose(part: Any) -> str:
    """Return a docstring as Markdown: programs in it as programs, errors as a list."""
    lines, code, raises = [], False, False
    for line in (inspect.getdoc(part) or "").splitlines():
        starts = line.startswith((">>>", "    ")) and not raises
        if starts and not code:
            lines.append("```python")
            code = True
        elif code and not line.strip():
            lines.append("```")
            code = False
        if line == "Raises:":
            raises = True
            lines += ["Raises:", ""]
        elif raises and line.startswith("    ") and not line.startswith("     "):
            kind, _, why = line.strip().partition(": ")
            lines.append(f"* `{kind}`: {why}")
        else:
            lines.append(line.strip() if raises else line.removeprefix("    ") if code else line)
    return "\n".join([*lines, "```"] if code else lines)


def commands() -> str:
    """Return the page of commands: the help of each."""
    group: Any = typer.main.get_command(app)
    page = ["# Commands\n", "The help of each command. `wmloop COMMAND --help` prints the same.", _MADE]
    page += ["\n## `wmloop`\n", _help(group, "wmloop")]
    for title, some in COMMANDS.items():
        page.append(f"\n## {title}\n")
        for name in some:
            page += [f"### `wmloop {name}`\n", _help(group.commands[name], f"wmloop {name}")]
    return "\n".join(page)


def _help(command: Any, name: str) -> str:
    width = {"terminal_width": 100, "max_content_width": 100}
    context = command.context_class(command, info_name=name, help_option_names=["-h", "--help"], **width)
    return f"```text\n{command.get_help(context).strip()}\n```\n"


#: Page -> what makes it.
PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "names.md": names.page,
    "reference/metrics.md": metrics,
    "reference/events.md": event_page,
    "reference/exit-codes.md": exit_codes,
    "reference/api.md": api,
    "reference/commands.md": commands,
}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
