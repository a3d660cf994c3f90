"""Open runs by what people call them. Nothing here imports torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wmloop.cli.exits import say
from wmloop.commands import DEMO, anywhere, command, wmloop
from wmloop.errors import EnvironmentFailedError, StorageError, UsageError
from wmloop.opening import came_as

if TYPE_CHECKING:
    from wmloop.events import VersionCommitted
    from wmloop.store import Store, Version


def open_run(root: Path, name: str | None) -> Store:
    """Open the run `name` in `root`, or the latest there; a path to a run will do as a name, and `demo` comes along.

    Raises:
        UsageError: there is no such run (near names are listed), or none at all.
        StoreCorruptError: it is damaged, or no run.
    """
    from wmloop.opening import open_named
    from wmloop.store import Store, latest_run, take_notes
    from wmloop.store.tensors import SUFFIX

    if name is not None:
        if name.endswith(SUFFIX) and Path(name).is_file():
            raise UsageError(f"{name} is an exported agent: `{wmloop('import', name)}` makes a run of it")
        if name == DEMO.name and os.path.lexists(root / name):
            say(f"note: {name} is the agent that comes with wmloop; your run of this name is {root}{os.sep}{name}")
        return open_named(root, name)
    latest = latest_run(root)
    for text in take_notes():
        say(f"note: {text}")
    if latest is None:
        raise UsageError(
            f"there are no runs in {root} yet; start one with `{anywhere('start', root)}`, or watch the agent that comes"
            f" with wmloop: `{wmloop('play', DEMO.name)}`"
        )
    return Store.open(root / latest)


def agent_named(store: Store, iteration: int, why: str) -> str:
    """Return which agent a command uses, in words; an imported one has no iterations to choose from."""
    return f"{store.name}, {came_as(store) or f'iteration {iteration} ({why})'}"


def trust_of(store: Store) -> tuple[str, ...]:
    """Return the option without which the commands that load an agent's environment refuse a run; nothing for most."""
    from wmloop.opening import named_code, stored_config

    return () if named_code(store, stored_config(store)) is None else ("--trust-env",)


def output_of(store: Store) -> Callable[[str], None]:
    """Return what takes the lines that an environment prints while a run is looked at: its log, where that may be written.

    The folder of the run that comes with wmloop belongs to the installation.
    """
    from wmloop.opening import ships

    if ships(store):
        return lambda line: None

    def take(line: str) -> None:
        with contextlib.suppress(StorageError):
            store.journal.append_output(line)

    return take


@contextlib.contextmanager
def log_named(store: Store) -> Iterator[None]:
    """Let a failure of the environment name the log of what it printed."""
    try:
        yield
    except EnvironmentFailedError as error:
        name_log(error, store)
        raise


def name_log(error: Exception, store: Store) -> None:
    """Let an error name the log of what the environment printed, its traceback too, if there is one."""
    from wmloop.store.layout import OUTPUT

    if (store.path / OUTPUT).exists():
        error.add_note(f"the environment's output, with the traceback of what it raised, is in {store.path / OUTPUT}")


def play_command(run: Path, *words: str) -> str:
    """Return the command that shows an agent drive, where there is no display in a video file."""
    from wmloop.display.window import there_is_a_display

    return command("play", run, *words, *(() if there_is_a_display() else ("--to", f"{run.name}.mp4")))


def commits(versions: Iterable[Version]) -> list[VersionCommitted]:
    """Return the events by which versions were announced, in their order."""
    from wmloop.events import VersionCommitted

    return [VersionCommitted(v.iteration, v.stage, v.metrics, v.num_bytes, v.seconds) for v in versions]
