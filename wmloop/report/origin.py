"""The sections of a page on where a run comes from and how to go on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wmloop.config import BASIS, preset_of
from wmloop.config.text import to_toml
from wmloop.report.facts import Facts
from wmloop.report.html import Page, safe, setting


class Commands(NamedTuple):
    """Command lines for a page: those that make a run again with what to know of them, and what to do next, by purpose."""

    again: Sequence[str]
    notes: Sequence[str]
    following: Mapping[str, str]


def following(page: Page, commands: Mapping[str, str]) -> None:
    """Tell what to do next."""
    page.head("What to do next")
    page.add("<dl>")
    page.add(*(f"<dt>{safe(what)}</dt><dd><code>{safe(line)}</code></dd>" for what, line in commands.items()), "</dl>")


def origin(page: Page, facts: Facts, commands: Commands) -> None:
    """Tell how to make a run again, and by what it was made."""
    page.head("Commands that repeat this run")
    if commands.again:
        page.say("They create a new folder named `again`, with the run in it.")
        page.lines(commands.again)
    for note in commands.notes:
        page.say(note)
    made, versions = facts.made, mapping(facts.made.get("versions"))
    machine = [f"{made[name]}" for name in ("cpu", "instructions", "gpu", "platform") if name in made]
    told = [f"{made['cores']} cores"] if "cores" in made else []
    libraries = [f"Python {made['python']}"] if "python" in made else []
    libraries += [f"{name} {versions[name]}" for name in sorted(versions)]
    if machine or told:
        page.say(f"Made on {', '.join([*machine, *told])}.")
    if libraries:
        page.say(f"With {', '.join(libraries)}.")
    if "git" in made:
        page.say(f"At commit `{made['git']}`. The numbers are bit for bit the same only with the same program, libraries,"
                 " processor, threads and precision.")  # fmt: skip
    if facts.parent.get("run"):
        page.say(f"Forked from {facts.parent.get('run')} after iteration {facts.parent.get('iteration')}.")
    page.subhead("Pipeline, environment, and settings that differ from the preset")
    rows = [
        [name, "" if name in BASIS else setting(was, 60), setting(value, 60)]
        for name, (value, was) in facts.changed.items()
    ]
    page.table(["setting", "the preset's", "the run's"], rows)
    page.say(f"The others are those of {preset_of(facts.config)}, except the seed and what depends on the machine (device,"
             " threads, precision).")  # fmt: skip
    page.add(f'<details><summary>All settings</summary><pre tabindex="0">{safe(to_toml(facts.config))}</pre></details>')


def mapping(value: object) -> dict[str, object]:
    """Return a value out of a file from strangers as a mapping; anything else is an empty one."""
    return value if isinstance(value, dict) else {}
