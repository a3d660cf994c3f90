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

    def task(self, row: Row) -> tuple[Any, ...]:
        """Return what has to be the same of two rows, or their scores cannot be compared: the environment, and how it is made.

        A program is told the environment's id alone.
        """
        if row.command is None:
            env = self.config(row, self.seeds[0]).env
        else:
            env = build_config("laptop", {"env": {"id": self.environment(row)}}).env
        return env.id, env.kwargs, env.episode_frames


def read_study(path: Path) -> Study:
    """Read and check the file of a study.

    Raises:
        UsageError: it cannot be read, or something in it is unknown, missing or does not fit: where, and what would.
    """
    table = read_toml(path, "study")
    _known(table, _TOP, f"{path}")
    common = _get(table, "settings", values.table, f"{path}", {})
    for key in _TOP:
        if key not in table and key in common:
            raise UsageError(f"{path}: {key!r} stands below [settings]: write it above the first [settings] or [[row]]")
    rows = tuple(_row(row, common, f"{path}{place}") for row, place in _tables(table, "row", path))
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
        tuple(_published(one, f"{path}{place}") for one, place in _tables(table, "published", path)),
    )  # fmt: skip
    if not study.limits:
        raise UsageError(
            f"{path} has neither 'frames' nor 'minutes': rows are compared at equal ones, so give one or both"
        )
    trained = [row for row in rows if row.command is None]
    for row in trained or rows[:1]:  # where all are programs, the settings are those of [settings]
        try:
            study.config(row, study.seeds[0])
        except UsageError as error:
            unknown = re.search("unknown setting '([^']+)' in the pipeline", str(error))
            if unknown is None or not _has(common, unknown[1]):
                raise
            raise UsageError(
                f"{error}. [settings] has it, for every row: write it into the rows that have it"
            ) from None
    for place, row in enumerate(trained):
        if twin := next((other for other in trained[:place] if other.settings == row.settings), None):
            raise UsageError(
                f"{row.place}: it has the settings of row {twin.name}, and would come to the same. A row's own stand in it, as"
                " settings.GROUP.NAME = VALUE; those below [settings] are every row's"
            )
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
    about = _get(table, "about", values.text, place, "")
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
        return Row(name, about, overlay(common, own), command, place)
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
        if key in keys:
            continue
        hint = f"{nearest(key, keys)}: it takes {', '.join(keys)}"
        if key in RunConfig.model_fields:
            hint = ": it is a setting, and stands in [settings] or in the settings of a row"
        elif key in _TOP:
            hint = ": it is the study's, and stands above the first [settings] or [[row]]"
        raise UsageError(f"{place}: unknown key {key!r}{hint}")


def _tables(table: Mapping[str, Any], key: str, path: Path) -> list[tuple[Mapping[str, Any], str]]:
    """Return a list of tables, and in words where in the file each of them is."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise UsageError(f"{path}: {key!r} is no list of tables: write [[{key}]] above each")
    lines = _lines(path, key, len(value))
    return [(one, f"{line}, {key} {number}") for number, (one, line) in enumerate(zip(value, lines, strict=True), 1)]


#: What of a TOML file may hold anything: texts over several lines, texts in one, comments.
_ANYTHING = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*''', re.DOTALL
)


def _lines(path: Path, key: str, count: int) -> list[str]:
    """Return in words at which line of a file each of `count` tables of a list begins; nothing where they have no heads."""
    text = path.read_text(encoding="utf-8-sig")
    bare = _ANYTHING.sub(lambda found: "\n" * found[0].count("\n"), text).split("\n")
    heads = re.compile(rf"\s*\[\[\s*{key}\s*\]\]")
    found = [f", line {number}" for number, line in enumerate(bare, 1) if heads.match(line)]
    return found if len(found) == count else [""] * count


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    check_run_name(value, "study or a row")
    if len(value) > 40:
        raise ValueError("at most 40 characters")
    return value


def _command(value: Any) -> str:
    require_command(command := values.text(value))
    return command
