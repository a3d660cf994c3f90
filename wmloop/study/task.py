"""A task, the smallest part of a study: one row with one seed. What it is and came to is read from its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmloop.config.part import flat
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.seeding import fresh_seeds
from wmloop.store import atomic
from wmloop.store.files import read_regular
from wmloop.store.jsontext import dump_json, parse_json, parse_table
from wmloop.store.layout import HEADER
from wmloop.study.file import Row, Study
from wmloop.study.results import Result

_TASKS, _TASK, _RESULT = "tasks", "task.json", "result.json"
#: The settings of a run that decide nothing of its result: what it keeps on disk.
_INDIFFERENT = "settings.store."
#: What a task prints.
LOG = "task.log"


@dataclass(frozen=True, eq=False)
class Task:
    """One row with one seed, in the folder of its study."""

    study: Study
    row: Row
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Return its name, which is also that of its run."""
        return f"{self.row.name}-{self.seed}"

    @property
    def place(self) -> Path:
        """Return the folder of its files, of which the run is none."""
        return self.folder / _TASKS / self.name

    @property
    def asked(self) -> dict[str, Any]:
        """Return what decides its result, as its file keeps it."""
        study, row = self.study, self.row
        way: dict[str, Any] = {"settings": row.settings}
        if row.command is not None:
            way = {"command": row.command, "env": study.environment(row)}
        return {**way, **study.limits, "episodes": study.episodes, "episodes_seed": study.episodes_seed}

    def require_same(self) -> bool:
        """Return whether it was begun before.

        Raises:
            UsageError: the file asked for something else then, or nobody knows for what.
            StoreCorruptError: what was asked is damaged.
        """
        path, run = self.place / _TASK, self.folder / self.name
        if not path.exists():
            for there in (run / HEADER, self.place / _RESULT):
                if there.exists():
                    raise UsageError(
                        f"{self.row.place}: there is {there}, and no {path} that says what was asked of it: move"
                        f" {there.parent} elsewhere, and it is made anew"
                    )
            return False
        try:
            begun = parse_table(read_regular(path), path)
        except StoreCorruptError as error:
            raise StoreCorruptError(
                f"{error}: move {self.place} elsewhere, and {run} if it is there; it is made anew"
            ) from None
        asked = parse_json(dump_json(self.asked, _TASK), path)
        before, after = (dict(flat(table)) for table in (begun, asked))
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name) and not name.startswith(_INDIFFERENT):
                raise UsageError(
                    f"{self.row.place}: {name} was {before.get(name, 'not set')!r} when {self.name} was begun, and is"
                    f" {after.get(name, 'not set')!r} now. What was begun does not change: give the row another name, or for"
                    f" limits and episodes the study; or move {self.folder} elsewhere"
                )
        return True

    def begin(self) -> None:
        """Note what it is asked to do, before anything of it is done."""
        if not self.require_same():
            atomic.make_folder(self.place)
            atomic.write_file(self.place / _TASK, dump_json(self.asked, _TASK))

    def result(self) -> Result | None:
        """Return what it came to, or None while it is not done.

        Raises:
            StoreCorruptError: its file is damaged.
        """
        path = self.place / _RESULT
        if not path.exists():
            return None
        try:
            result = Result.of(parse_json(read_regular(path), path))
            result.require_whole(self.study.limits, self.study.episodes, path)
        except (StoreCorruptError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            why = str(error) if isinstance(error, StoreCorruptError) else f"{path} is damaged ({error!r})"
            raise StoreCorruptError(f"{why}: move it elsewhere, and it is made again") from None
        return result

    def finish(self, result: Result) -> None:
        """Commit what it came to: from now on it is done."""
        atomic.write_file(self.place / _RESULT, dump_json(result.record, _RESULT))

    @property
    def episodes(self) -> list[int]:
        """Return the environment seeds of the episodes that give its final scores."""
        return fresh_seeds(self.study.episodes, self.study.episodes_seed)


def tasks(study: Study, folder: Path) -> list[Task]:
    """Return a study's tasks in their order: all rows with the first seed, then with the next."""
    return [Task(study, row, seed, folder) for seed in study.seeds for row in study.rows]


def study_of(run: Path) -> Path | None:
    """Return the folder of the study that the run in the folder `run` is of; None for a run that somebody began alone."""
    return run.parent if (run.parent / _TASKS / run.name / _TASK).exists() else None


def is_done(run: Path) -> bool:
    """Tell whether a run of a study has come to its result."""
    return (run.parent / _TASKS / run.name / _RESULT).exists()
