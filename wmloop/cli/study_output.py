"""What `wmloop study` writes: the page, its curves and the CSV."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wmloop.cli.exits import say

if TYPE_CHECKING:
    from wmloop.study.file import Study
    from wmloop.study.task import Task


class StudyOutput(NamedTuple):
    """The page and the CSV of a study, with curves where matplotlib is installed, in the folder `to`."""

    study: Study
    tasks: list[Task]
    to: Path
    command: str

    def require_nothing_lost(self) -> None:
        """Refuse to write over a page that tells of more.

        Raises:
            UsageError: the CSV that lies there tells of runs that are not done here; or a page or CSV is no study's.
        """
        from wmloop.errors import UsageError
        from wmloop.study.table import runs_told
        from wmloop.study.words import counted

        path, folder = self.to / f"{self.study.name}.csv", self.tasks[0].folder
        if self.to.resolve() == folder.resolve():
            return
        told = runs_told(path.read_text(errors="replace")) if path.is_file() else None
        page = self.to / f"{self.study.name}.md"  # written after the CSV, so no study's where that is missing
        for file, strange in ((path, path.exists() and told is None), (page, page.exists() and not path.exists())):
            if strange:
                raise UsageError(
                    f"{file} would be written over, and is no study's: choose another folder for --to, or another 'name'"
                )
        if told is None:
            return
        if lost := sorted(told - {one.name for one in self.tasks if one.result() is not None}):
            raise UsageError(
                f"{path} would be written over, and tells of {counted(len(lost), 'run')} not done in {folder}, such as"
                f" {lost[0]}: choose another folder for --to, or move that page elsewhere"
            )

    def write(self, aloud: bool = True) -> None:
        """Write them anew, each whole or not at all."""
        from wmloop.store import atomic
        from wmloop.study.page import page
        from wmloop.study.table import Table

        study, to = self.study, self.to
        table = Table(study, {one: one.result() for one in self.tasks})
        data, pictures = f"{study.name}.csv", {}
        atomic.write_file(to / data, table.csv().encode(errors="replace"))
        if importlib.util.find_spec("matplotlib") is not None:
            from wmloop.study.figures import curves
            from wmloop.study.file import LIMITS

            for against in LIMITS:
                pictures[against] = f"{study.name}-{against}.svg"
                atomic.write_file(to / pictures[against], curves(table, against).encode(errors="replace"))
        elif aloud:
            say("note: no curves were drawn, for matplotlib is not installed: pip install 'wmloop[report]'")
        atomic.write_file(to / f"{study.name}.md", page(table, self.command, pictures, data).encode(errors="replace"))
        if aloud:
            done = f"{table.done} of {len(self.tasks)} runs are done"
            say(f"{done}; the page is {to / study.name}.md, its figures {to / data}")
