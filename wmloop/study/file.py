"""Read a study's file: TOML, refused as a whole, with the place, before anything of it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wmloop.config import RunConfig, build_config
from wmloop.config.build import overlay
from wmloop.config.text import read_toml
from wmloop.errors import UsageError, nearest
from wmloop.store import check_run_name
from wmloop.study import values
from wmloop.study.command import require_command

#: The limits that a study can have, in the order of its page.
LIMITS = ("frames", "minutes")
#: Iterations that no run reaches: a study's runs end by its limits.
_ENDLESS = 1_000_000
#: What a study needs of its runs: the agent of every iteration, for the best within each limit is scored at the end.
KEPT = {"store": {"keep_every": 1}}
#: The settings of runs that are the study's own, and why.
_OWN = {
    "seed": "its seeds", "budget": "its frames and minutes",
    "store.keep_every": "it keeps the agent of every iteration, and scores the best within each limit at the end",
}  # fmt: skip
_TOP = ("name", "about", "seeds", "frames", "minutes", "episodes", "episodes_seed", "finished", "settings", "row",
        "published")  # fmt: skip
_ROW = ("name", "about", "settings", "command")


class Row(NamedTuple):
    """One way to train: settings of wmloop's own runs, or the command of another program (see docs/study.md)."""

    name: str
    about: str
    settings: Mapping[str, Any]
    command: str | None
    place: str


class Published(NamedTuple):
    """A score that somebody else has published: `frames` of training in words, and what differs from the study's rows.

    `score` is None where nobody has published one on this task.
    """

    name: str
    score: float | None
    std: float | None
    episodes: int | None
    frames: str
    source: str
    differs: str


@dataclass(frozen=True)
class Study:
    """What a file asks for.

    `frames` are real frames collected to learn from, `minutes` those of work; at least one is given. `episodes` fresh ones,
    those of `wmloop eval --seed episodes_seed`, give the final scores; one whose score is above `finished` counts as finished.
    """

    name: str
    about: str
    seeds: tuple[int, ...]
    frames: int | None
    minutes: float | None
    episodes: int
    episodes_seed: int
    finished: float | None
    rows: tuple[Row, ...]
    published: tuple[Published, ...]

    @property
    def limits(self) -> dict[str, float]:
        """Return the limits that are given: frames, and minutes, in this order."""
        given = {name: getattr(self, name) for name in LIMITS}
        return {name: float(value) for name, value in given.items() if value is not None}

    def config(self, row: Row, seed: int) -> RunConfig:
        """Return the settings of a row's run.

        Raises:
            UsageError: one is unknown or does not fit; the place in the file is told.
        """
        layers = self.layers(row, seed)
        preset = next((str(layer["preset"]) for layer in reversed(layers) if "preset" in layer), "laptop")
        try:
            return build_config(preset, *layers)
        except UsageError as error:
            raise UsageError(f"{row.place}: {error}") from None

    def layers(self, row: Row, seed: int) -> list[Mapping[str, Any]]:
        """Return the layers of settings of a row's run: the agent of every iteration is kept, and only its limits end it."""
        ends = {"seed": seed, "budget": {"iterations": _ENDLESS, "hours": None, "goal": None}}
        return [{"store": {"keep_last": 2}}, row.settings, KEPT, ends]

    def environment(self, row: Row) -> str:
        """Return the environment that a row's settings name, for its program."""
        named = {name: row.settings[name] for name in ("pipeline", "env") if name in row.settings}
        try:
            return build_config("laptop", named).env.id
        except UsageError as error:
            raise UsageError(f"{row.place}: {error}") from None


def read_study(path: Path) -> Study:
    """Read and check the file of a study.

    Raises:
        UsageError: it cannot be read, or something in it is unknown, missing or does not fit: where, and what would.
    """
    table = read_toml(path)
    _known(table, _TOP, f"{path}")
    common = _get(table, "settings", values.table, f"{path}", {})
    lines = _lines(path, "row")
    rows = tuple(
        _row(row, common, f"{path}{line}, row {number}")
        for number, (row, line) in enumerate(zip(_tables(table, "row", path), lines, strict=False), 1)
    )
    names = [row.name for row in rows]
    for place, name in enumerate(names):
        if name.lower() in {other.lower() for other in names[:place]}:
            raise UsageError(f"{rows[place].place}: there are two rows of this name; each needs its own")
    if not rows:
        raise UsageError(f"{path} has no [[row]]: a study needs one at least")
    study = Study(
        _study_name(table, path),
        _get(table, "about", values.text, f"{path}", ""),
        _get(table, "seeds", values.seeds, f"{path}"),
        _get(table, "frames", values.count, f"{path}", None),
        _get(table, "minutes", values.positive, f"{path}", None),
        _get(table, "episodes", values.episodes, f"{path}", 100),
        _get(table, "episodes_seed", values.seed, f"{path}", 0),
        _get(table, "finished", values.number, f"{path}", None),
        rows,
        tuple(_published(one, f"{path}{line}, published {number}") for number, (one, line) in enumerate(
            zip(_tables(table, "published", path), _lines(path, "published"), strict=False), 1)),
    )  # fmt: skip
    if not study.limits:
        raise UsageError(
            f"{path} has neither 'frames' nor 'minutes': rows are compared at equal ones, so give one or both"
        )
    trained = [row for row in rows if row.command is None]
    for row in trained or rows[:1]:  # where all are programs, the settings are those of [settings]
        study.config(row, study.seeds[0])
    for row in rows:
        if row.command is not None:
            study.environment(row)
    return study


def _study_name(table: Mapping[str, Any], path: Path) -> str:
    if "name" in table:
        return str(_get(table, "name", _name, f"{path}"))
    try:
        return _name(path.stem)
    except (UsageError, ValueError) as error:
        raise UsageError(
            f"{path} has no 'name', and cannot lend the study its own, {path.stem!r} ({error}): begin it with"
            ' name = "..."'
        ) from None


def _row(table: Mapping[str, Any], common: Mapping[str, Any], place: str) -> Row:
    _known(table, _ROW, place)
    name = _get(table, "name", _name, place)
    place = f"{place} ({name})"
    command = _get(table, "command", _command, place, None)
    own = _get(table, "settings", values.table, place, {})
    if command is not None and own:
        raise UsageError(
            f"{place}: it has a command and settings; a program of one's own has its settings in its command"
        )
    for settings, where in ((common, "[settings]"), (own, "its settings")):
        for key, why in _OWN.items():
            if _has(settings, key):
                raise UsageError(f"{place}: {where} have {key!r}, which is the study's: {why}")
    try:
        return Row(name, _get(table, "about", values.text, place, ""), overlay(common, own), command, place)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def _published(table: Mapping[str, Any], place: str) -> Published:
    _known(table, Published._fields, place)
    return Published(
        _get(table, "name", values.text, place), _get(table, "score", values.number, place, None),
        _get(table, "std", values.deviation, place, None), _get(table, "episodes", values.count, place, None),
        _get(table, "frames", values.number_or_text, place, ""), _get(table, "source", values.text, place),
        _get(table, "differs", values.text, place, ""),
    )  # fmt: skip


def _has(settings: Any, name: str) -> bool:
    """Tell whether settings have one of this dotted name."""
    for key in name.split("."):
        if not isinstance(settings, Mapping) or key not in settings:
            return False
        settings = settings[key]
    return True


_REQUIRED: Any = object()


def _get(table: Mapping[str, Any], key: str, read: Callable[[Any], Any], place: str, default: Any = _REQUIRED) -> Any:
    """Return what `read` makes of a value; raises UsageError where it is missing, or `read` does not take it."""
    if key not in table:
        if default is _REQUIRED:
            raise UsageError(f"{place}: {key!r} is missing")
        return default
    try:
        return read(table[key])
    except ValueError as error:
        raise UsageError(f"{place}: {key!r} is {table[key]!r}, but it takes {error}") from None
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def _known(table: Mapping[str, Any], keys: Sequence[str], place: str) -> None:
    for key in table:
        if key not in keys:
            raise UsageError(f"{place}: unknown key {key!r}{nearest(str(key), keys)}: it takes {', '.join(keys)}")


def _tables(table: Mapping[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise UsageError(f"{path}: {key!r} is no list of tables: write [[{key}]] above each")
    return value


def _lines(path: Path, key: str) -> list[str]:
    """Return in words at which line of the file each table of a list begins; nothing for those written otherwise."""
    heads = re.compile(rf"\s*\[\[\s*{key}\s*\]\]")
    found, inside = [], ""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not inside and heads.match(line):
                found.append(f", line {number}")
            for mark in re.findall(r"\"{3}|'{3}", line):  # of texts over several lines, which may hold anything
                inside = "" if inside == mark else inside or mark
    return found + [""] * 10_000


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    check_run_name(value)
    if len(value) > 40:
        raise ValueError("at most 40 characters")
    return value


def _command(value: Any) -> str:
    require_command(command := values.text(value))
    return command
