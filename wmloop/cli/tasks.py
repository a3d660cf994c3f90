"""`wmloop tasks`: the environments that settings and scores are known for."""

from __future__ import annotations

import re
import textwrap
from typing import Annotated, Any

import typer

from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.options import JsonOption, print_json
from wmloop.cli.tables import print_table
from wmloop.commands import wmloop
from wmloop.errors import UsageError, nearest


def task_ids(incomplete: str) -> list[str]:
    """Return the environments that have a profile, for the shell to complete."""
    from wmloop.config.presets import PROFILES

    return [name for name in PROFILES.names() if name.startswith(incomplete)]


@guarded
def tasks(
    environment: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="Tell of this one its settings, its scores and its licence.", autocompletion=task_ids
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the environments that wmloop has settings for.

    Beside each stand its spaces, the goal, the highest of the published scores that its profile lists, and whether its package
    is installed. Most other Gymnasium environments can be trained in, too: `wmloop init ID` writes settings for one.
    """
    from wmloop.config.presets import PROFILES

    names = PROFILES.names()
    if environment is not None and environment not in names:
        raise UsageError(
            f"there is no profile of {environment!r}{nearest(environment, names)}: `{wmloop('tasks')}` lists those that there"
            f" are; `{wmloop('init', environment)}` writes settings to start from, if there is such an environment"
        )
    told = [_task(name) for name in (names if environment is None else [environment])]
    if as_json:
        print_json("tasks", tasks=told)
    elif environment is None:
        _print_all(told)
    else:
        _print_one(told[0])


def _task(name: str) -> dict[str, Any]:
    """Return what a profile tells of its environment."""
    from wmloop.config.presets import package_of, profile, published, task

    spaces, package, found = task(name), package_of(name), profile(name)
    about, scores = published(name)
    assert found is not None
    return {
        "id": name, "about": spaces.get("about", ""), "observations": spaces.get("observations", ""),
        "actions": spaces.get("actions", ""), "goal": found.settings.get("budget", {}).get("goal"), "best": best(scores),
        "installed": package is None or package.installed, "package": package and package._asdict(),
        "settings": found.settings, "profile": found.origin, "published": {"about": about, "scores": scores},
    }  # fmt: skip


def best(scores: dict[str, str]) -> str | None:
    """Return the highest of published scores, as it was written; None where none begins with a number."""
    read = [(float(found[0]), text) for text in scores.values() if (found := re.match(r"-?\d+(\.\d+)?", text))]
    return max(read)[1] if read else None


def _print_all(told: list[dict[str, Any]]) -> None:
    rows = [
        [task["id"], task["observations"], task["actions"], "" if task["goal"] is None else f"{task['goal']:g}",
         task["best"] or "", "yes" if task["installed"] else "no"]
        for task in told
    ]  # fmt: skip
    print_table(["environment", "observations", "actions", "goal", "published", "installed"], rows)
    missing: dict[str, list[str]] = {}
    for task in told:
        if not task["installed"]:
            package = task["package"]
            missing.setdefault(f"{package['install']}  (licence {package['licence']})", []).append(task["id"])
    for line, names in missing.items():
        say(f"{', '.join(names)}: {line}")
    ready = next((task["id"] for task in told if task["installed"]), None)
    steps = {"train in one": wmloop("start", "--env", ready)} if ready else {}
    say_next(steps | {"tell more of one": wmloop("tasks", told[0]["id"])})


def _print_one(task: dict[str, Any]) -> None:
    from wmloop.config.part import flat
    from wmloop.config.text import toml_value

    package, scores = task["package"], task["published"]["scores"]
    print(f"{task['id']}: observations {task['observations'] or '?'}, actions {task['actions'] or '?'}")
    if task["about"]:
        print(textwrap.fill(f"{task['about'][:1].upper()}{task['about'][1:]}.", 80))
    if package is not None:
        there = "installed" if task["installed"] else f"not installed: {package['install']}"
        print(f"package {package['module'].partition('.')[0]}, licence {package['licence']}, {there}")
    print(f"\nsettings of its profile ({task['profile']}):")
    for name, value in flat(task["settings"]):
        print(f"  {name} = {toml_value(value)}")
    if scores:
        print("\npublished mean scores:")
        print_table(["system", "score"], [[f"  {system}", score] for system, score in scores.items()])
        print(textwrap.fill(f"They are {task['published']['about']}.", 80))
    steps = {} if task["installed"] else {f"install it (licence {package['licence']})": package["install"]}
    steps["train in it"] = wmloop("start", "--env", task["id"])
    say_next(steps | {"write its settings to a file": wmloop("init", task["id"])})
