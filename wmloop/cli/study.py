"""`wmloop study`: compare ways to train, by several seeds each, within the same limits."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.options import RunsOption, at_home
from wmloop.cli.outputs import output_folder
from wmloop.cli.places import place_of, words_of_place
from wmloop.cli.study_output import StudyOutput
from wmloop.commands import anywhere, place_option, quoted
from wmloop.errors import RunLockedError, UsageError

if TYPE_CHECKING:
    from wmloop.study.driver import Driver
    from wmloop.study.file import Study
    from wmloop.study.place import Place
    from wmloop.study.task import Task

_GRID_SECONDS, _LINE_SECONDS = 2.0, 60.0


@guarded
def study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study: a TOML file of rows, seeds and limits.",
                                         callback=at_home)],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", callback=at_home,
                     help="Folder for the page, its curves and the CSV. Without it the study's own, with its runs."),
    ] = None,
    page_only: Annotated[
        bool, typer.Option("--page-only", help="Write the page of what is done by now, and train nothing.")
    ] = False,
    progress: Annotated[
        Literal["auto", "rich", "plain", "none"],
        typer.Option(help="auto, rich: a table of all tasks, or as plain where stdout cannot show it; plain: one line now and"
                          " then; none: nothing."),
    ] = "auto",
    on: Annotated[
        Literal["local", "ray", "slurm"],
        typer.Option(help="Where the runs are trained: here, on Ray (the cluster at RAY_ADDRESS, else one of this machine), or"
                          " as jobs of Slurm."),
    ] = "local",
    cores: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Cores of each run; as many run at once as there are cores for. Without it all of this"
            " machine's, one run after the other; with --gpus an equal part of them each; 2 with --on ray or slurm.",
        ),
    ] = None,
    gpus: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="GPUs of each run; as many run at once as there are GPUs for. 0: none is"
                                              " assigned, and all runs see the same ones."),
    ] = 0,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            "--slurm", metavar="OPTION=VALUE", help="An option of sbatch for the jobs, e.g. time=4:00:00, partition=long or"
            " exclusive; repeatable. With --on slurm.",
        ),
    ] = None,
    runs: RunsOption = Path("runs"),
    task: Annotated[str | None, typer.Option("--task", hidden=True)] = None,
) -> None:  # fmt: skip
    """Compare ways to train: rows by seeds, within the same limits.

    Each run is trained until all limits of the study are used up: real frames, minutes of work, or both. Then its best agent
    within each limit is scored on fresh episodes, the same for all rows. Ctrl-C saves and stops. The same command continues,
    also after a crash, and what is done is not done again. The runs are in a folder named after the study, in that of the runs;
    `wmloop watch`, `report` and `log` take their paths.

    \b
    A small FILE, two rows by three seeds:
      seeds = [1, 2, 3]
      frames = 20_000
      [settings]
      env.id = "CartPole-v1"
      [[row]]
      name = "as-it-is"
      [[row]]
      name = "horizon-3"
      settings.dream.horizon = 3
    """  # noqa: D301 - click's mark for lines that stay as they are
    from wmloop.store import require_free
    from wmloop.store.layout import HEADER
    from wmloop.study.file import read_study
    from wmloop.study.task import tasks

    asked = read_study(file)
    folder = runs / asked.name
    if (folder / HEADER).exists():
        raise UsageError(f"{folder} is a run, so no study can have its name: choose another 'name' in {file}")
    if not folder.exists():
        require_free(folder)
    every = tasks(asked, folder)
    for one in every:
        one.require_same()
    if task is not None:
        from wmloop.cli.perform import perform

        named = [one for one in every if one.name == task]
        if not named:
            raise UsageError(f"{file} has no task {task!r}: they are {', '.join(one.name for one in every)}")
        perform(named[0])
        return
    if page_only and cores is None:  # the page tells the command that makes these runs again
        cores = _same_cores(asked, every)
    words = words_of_place(on, cores, gpus, slurm or [])
    given = [str(file), *words, *([] if to is None else ["--to", str(to)])]
    output = StudyOutput(asked, every, to or folder, quoted(["wmloop", "study", *given, *place_option(runs)]))
    with output_folder(to or folder, "--to"):
        output.require_nothing_lost()
        if page_only:
            output.write()
            return
        _require_idle(folder)
        _try_rows(asked, [one for one in every if one.result() is None], here=on == "local")
        place = place_of(on, cores, gpus, slurm or [], asked.name, file, runs)
        with _alone(folder):
            again = anywhere("study", runs, *given)
            _drive(asked, every, place, output, again, progress)


def _drive(study: Study, every: list[Task], place: Place, output: StudyOutput, again: str, progress: str) -> None:
    from wmloop.cli.stopping import Stop
    from wmloop.study.driver import Driver
    from wmloop.study.task import LOG

    driver = Driver(every, place)

    def stopping(signum: int) -> None:
        say("saving what is under way, then stopping")

    def leaving(signum: int) -> None:
        driver.abandon()
        say("exiting now; what was not saved yet will be done again")
        say_next({"continue": again})

    with Stop(stopping, leaving) as stop, _view(study, driver, progress) as (show, ended):

        def after(one: Task) -> None:
            ended(one)
            if driver.states[one].status == "done":
                output.write(aloud=False)

        driver.run(stop, show, after, lambda text: say(f"note: {text}"))
    if stop():
        say("stopped; what was done is saved")
        say_next({"continue": again})
        raise typer.Exit(128 + (stop.signum or 2))
    output.write()
    failed = {one: state.code for one, state in driver.states.items() if state.status == "failed"}
    for one, code in failed.items():
        say(f"error: {one.name} ended with exit code {_told(code)}; its output is in {one.place / LOG}")
    if failed:
        say_next({"try what failed again": again})
        first = next(iter(failed.values()))
        raise typer.Exit(_told(first) or 1)  # 0 where it ended well and left no result


def _same_cores(study: Study, every: list[Task]) -> int | None:
    """Return on how many cores all runs so far were made, None where these differ or are not told."""
    from wmloop.study.table import Table

    cores = Table(study, {one: one.result() for one in every}).cores
    return cores[0] if len(cores) == 1 else None


def _told(code: int) -> int:
    """Return an exit code as shells tell it: that of a process that a signal ended is 128 and the signal's number."""
    return code if code >= 0 else 128 - code


def _require_idle(folder: Path) -> None:
    """Raise RunLockedError where a process is at work on a study."""
    from wmloop.store.lock import holder

    if (who := holder(folder)) is not None:
        raise RunLockedError(
            f"the study in {folder} is being worked on by {who}: wait for it, or stop it by Ctrl-C there"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the only right to work on a study; raises RunLockedError where another process has it."""
    from wmloop.store import atomic
    from wmloop.store.lock import run_lock

    atomic.make_folder(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run_lock(folder))
        except RunLockedError:  # somebody was quicker
            _require_idle(folder)
            raise RunLockedError(f"another process is at work on the study in {folder}") from None
        atomic.remove_strays(folder)
        yield


def _try_rows(study: Study, todo: list[Task], here: bool) -> None:
    """Refuse rows that could not be performed before any of them is: their pipelines, environments and programs are tried.

    With `here` so is what they ask of the machine, which is this one.

    Raises:
        UsageError: one does not fit; its place in the file is told.
    """
    from wmloop.starting import on_this_machine, try_out, with_version
    from wmloop.study.program import words_of

    driven: list[Any] = []
    for one in {one.row.name: one for one in todo}.values():
        try:
            if (layers := with_version([one.row.settings])) != [one.row.settings]:
                raise UsageError(
                    f"env.id names no version: write {layers[-1]['env']['id']!r}, the newest, so that all rows have the same"
                    " task"
                )
            if one.row.command is not None:
                words = words_of(one, one.place)
                if shutil.which(words[0]) is None:
                    raise UsageError(f"there is no program {words[0]!r}")
                continue
            config = study.config(one.row, one.seed)
            try_out(on_this_machine(config) if here else config, [], driven)
        except UsageError as error:
            raise UsageError(f"{one.row.place}: {error}" if one.row.place not in str(error) else str(error)) from None


@contextlib.contextmanager
def _view(study: Study, driver: Driver, progress: str) -> Iterator[tuple[Any, Any]]:
    """Yield what shows the tasks now and then, and what tells that one has ended."""
    from wmloop.study.progress import done, running
    from wmloop.view import can_show_live

    def told(one: Task) -> str:
        status, code = driver.states[one]
        if status == "running":
            return running(one)
        result = one.result() if status == "done" else None
        return f"done: {done(result)}" if result else f"failed ({code})" if status == "failed" else status

    due = 0.0
    if progress in ("auto", "rich") and can_show_live():
        from wmloop.view.grid import Grid

        grid = Grid(f"study {study.name}: mean score at {' | '.join(study.limits)}; Ctrl-C saves and stops")

        def draw() -> None:
            rows = [[row.name, *(told(one) for one in driver.tasks if one.row is row)] for row in study.rows]
            grid.show(["row", *(f"seed {seed}" for seed in study.seeds)], rows)

        def show() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + _GRID_SECONDS
                draw()

        try:
            yield show, lambda one: draw()
        finally:
            draw()
            grid.close()
        return

    last: dict[Task, str] = {}
    again: dict[Task, float] = {}

    def line(one: Task) -> None:
        if progress != "none" and last.get(one) != (text := told(one)):
            last[one] = text
            print(f"{datetime.datetime.now():%H:%M:%S}  {one.name}  {text}", flush=True)
        again[one] = time.monotonic() + _LINE_SECONDS

    def now_and_then() -> None:
        for one, (status, _) in driver.states.items():
            if status in ("queued", "running") and time.monotonic() >= again.get(one, 0.0):
                line(one)

    yield now_and_then, line
