"""The commands that make a run again, from what it wrote of itself: its settings and its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wmloop.commands import quoted, wmloop
from wmloop.config import BASIS, RunConfig, beside_preset, settings
from wmloop.config.text import parse_setting, toml_value
from wmloop.errors import WmloopError
from wmloop.opening import history_of, ships, stored_config

if TYPE_CHECKING:
    from wmloop.store import Store

#: What a session may change of a run, and what comes out with it.
_DECISIVE = ("budget.goal", "device", "threads", "precision", "env.num_envs")
#: Settings that a command has an option for, by the option.
_OPTIONS = {
    "budget.iterations": "--iterations", "budget.goal": "--goal", "pipeline": "--pipeline", "env.id": "--env",
    "seed": "--seed", "device": "--device", "threads": "--threads",
}  # fmt: skip
#: What a start chooses by the machine where it is left open.
_MACHINE = ("device", "threads", "precision")
#: Where runs are made again: beside the ones that are there their names are free.
_FOLDER = "again"


class Again(NamedTuple):
    """The commands that make a run again in a new folder of runs, one after the other, and what to know of them."""

    commands: list[str]
    notes: list[str]


class _Stretch(NamedTuple):
    """Iterations from `first` on that were made with the settings `decisive`."""

    first: int
    decisive: dict[str, Any]


def again(store: Store) -> Again:
    """Return how to make a run again; no commands where that is not known."""
    if ships(store):
        return Again([], ["How this agent was made is on the page docs/demo.md."])
    if "imported" in store.facts:
        return Again(
            [],
            ["This agent was imported: its file does not contain the data and the commands that it was trained with."],
        )
    notes: list[str] = []
    config = stored_config(store)
    if ":" in config.env.id:
        notes.append(f"The module {config.env.id.partition(':')[0]!r} must be importable (PYTHONPATH).")
    return Again(_commands(store, None, notes)[0], notes)


def _commands(store: Store, end: int | None, notes: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the commands for the iterations before `end`, or all, and the settings that the run then has of its own."""
    config = stored_config(store)
    finished = history_of(store, config).next_position()[0]
    end = min(finished, end or finished) or config.budget.iterations
    stretches = _stretches(store, config, end, notes)
    ends = [*(stretch.first for stretch in stretches[1:]), end]
    own = settings(config) | stretches[0].decisive | {"budget.iterations": ends[0], "budget.hours": None}
    commands: list[str] = []
    origin = store.facts.get("forked_from")
    if isinstance(origin, Mapping):
        begun, base = _parent(store, origin, notes)
        fork = ["fork", str(origin.get("run")), store.name, "--from", str(origin.get("iteration"))]
        commands += [*begun, _line(fork, base, own)]
    else:
        base = _preset(config) | {"budget.hours": None} | dict.fromkeys(_MACHINE, ...)
        commands.append(_line(["start", store.name, "--preset", config.preset], base, own))
    for stretch, until in zip(stretches[1:], ends[1:], strict=True):
        changed = own | stretch.decisive | {"budget.iterations": until}
        commands.append(_line(["resume", store.name], own, changed))
    return commands, own


def start_command(config: RunConfig, names: Sequence[str]) -> str:
    """Return the command that begins a run with these settings, of which `names` are new to the run that they are from.

    What a start chooses by the machine is left to it unless it is named. Where another preset or pipeline is, the rest of the
    settings are left to that.
    """
    own = settings(config)
    if {"preset", "pipeline"} & {*names}:
        base = {name: value for name, value in settings(RunConfig()).items() if name in BASIS and name not in names}
        wanted = {name: value for name, value in own.items() if name in (*names, *BASIS)}
    else:
        base = _preset(config)
        wanted = {name: value for name, value in own.items() if name not in _MACHINE or name in names}
    return wmloop("start", "--preset", config.preset, *_options(base, wanted))


def sets_of(config: RunConfig, names: Sequence[str]) -> list[str]:
    """Return the options that set those of the settings that are named to what they are."""
    values = settings(config)
    return [word for name in names for word in ("--set", f"{name}={toml_value(values[name])}")]


def _preset(config: RunConfig) -> dict[str, Any]:
    """Return what a start with a run's preset, pipeline and environment has, without what it chooses for itself."""
    base = {name: was for name, (_, was) in beside_preset(config).items()}
    return base | {"seed": ...} | ({"budget.goal": ...} if base["budget.goal"] is None else {})


def _parent(store: Store, origin: Mapping[str, Any], notes: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the commands for the run that this one is a fork of, as far as it was taken over, and its settings."""
    from wmloop.store import Store as Opened

    name, iteration = str(origin.get("run")), origin.get("iteration")
    try:
        parent = Opened.open(store.path.parent / Path(name).name)
        if parent.created == origin.get("created") and isinstance(iteration, int):
            return _commands(parent, iteration + 1, notes)
    except WmloopError:
        pass
    notes.append(f"The run {name}, which this one is a fork of, is not in {store.path.parent}: its own report says how to"
                 " make it.")  # fmt: skip
    return [], dict.fromkeys(settings(stored_config(store)))


def _stretches(store: Store, config: RunConfig, end: int, notes: list[str]) -> list[_Stretch]:
    """Return the stretches of the iterations before `end`, as the log tells of the sessions that made them."""
    own = settings(config)
    stretches = [_Stretch(0, {name: own[name] for name in _DECISIVE})]
    changed: Mapping[str, Any] = {}
    begun = -1
    for record in store.journal.events()[0]:
        event, iteration = record.get("event"), record.get("iteration")
        if event == "SessionStarted" and isinstance(record.get("changed"), Mapping):
            changed = record["changed"]
        elif event == "VersionCommitted" and isinstance(iteration, int):
            begun = max(begun, iteration)
        elif event == "RunStarted" and isinstance(iteration, int) and iteration < end:
            told = {name: changed[name] for name in _DECISIVE if name in changed}
            decisive = {name: own[name] for name in _DECISIVE} | told | {"budget.goal": record.get("goal")}
            last, changed = stretches[-1], {}
            machine = [name for name in _DECISIVE[1:] if decisive[name] != last.decisive[name]]
            if machine and begun >= iteration:
                notes.append(f"Inside iteration {iteration} {' and '.join(machine)} changed: repeated, that iteration will"
                             " not be bit for bit the same, and may give another agent.")  # fmt: skip
            if decisive != last.decisive:
                kept = [stretch for stretch in stretches if stretch.first < iteration]
                stretches = [*kept, _Stretch(iteration if kept else 0, decisive)]
    return stretches


def _line(words: list[str], base: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return a command with the options that make settings `wanted` of those that are there without them."""
    return quoted(["wmloop", *words, *_options(base, wanted), "--runs", _FOLDER])


def _options(base: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    more: list[str] = []
    for name, value in wanted.items():
        if value != base.get(name) and name != "preset":
            option = _OPTIONS.get(name)
            more += [option, f"{value}"] if option and value is not None else ["--set", f"{name}={_value(value)}"]
    return more


def _value(value: Any) -> str:
    """Return a setting's value for `--set`: a word as it is, where it would be read as that word."""
    if value is None:
        return "none"
    plain = isinstance(value, str) and parse_setting(f"name={value}")["name"] == value
    return str(value) if plain else toml_value(value)
