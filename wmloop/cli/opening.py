"""Open runs by what people call them. Nothing here imports torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wmloop.cli.exits import say
from wmloop.errors import EnvironmentFailedError, StorageError, UsageError

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.events import VersionCommitted
    from wmloop.history import History
    from wmloop.pipelines import Pipeline
    from wmloop.store import Store


#: The run that comes with wmloop: a trained agent to play and to eval, with nothing to go on from.
DEMO = Path(__file__).parent.parent / "demo"


def open_run(root: Path, name: str | None) -> Store:
    """Open the run `name` in `root`, or the latest there; a path to a run will do as a name, and so will `demo`.

    Raises:
        UsageError: there is no such run (near names are listed), or none at all.
        StoreCorruptError: it is damaged, or no run.
    """
    from wmloop.store import Store, latest_run, take_notes

    if name is None:
        name = latest_run(root)
        for text in take_notes():
            say(f"note: {text}")
        if name is None:
            raise UsageError(f"there are no runs in {root} yet; begin one with `wmloop start`")
    path = Path(name)
    if name == DEMO.name and not (root / name).exists():
        return Store.open(DEMO)
    return Store.open(path if len(path.parts) > 1 or os.sep in name else root / name)


def stored_config(store: Store) -> RunConfig:
    """Return the settings the run was begun with; what one older than a setting did is what it goes on to do."""
    from wmloop.config.legacy import stored
    from wmloop.config.text import from_toml

    return stored(from_toml(store.config_text, str(store.path / "config.toml")))


def pipeline_of(config: RunConfig) -> Pipeline:
    """Return the pipeline that a run's settings name.

    Raises:
        UsageError: there is none of that name here.
    """
    from wmloop import pipelines

    return pipelines.get(config.pipeline)


def history_of(store: Store, config: RunConfig) -> History:
    """Return what the run has done so far."""
    from wmloop.history import History

    return History(store, pipeline_of(config))


def output_of(store: Store) -> Callable[[str], None]:
    """Return what takes the lines that an environment prints while a run is looked at: its log, where that may be written."""

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
    from wmloop.store.names import OUTPUT

    if (store.path / OUTPUT).exists():
        error.add_note(f"what the environment printed is in {store.path / OUTPUT}")


def require_trust(store: Store, config: RunConfig, trusted: bool) -> None:
    """Refuse to load what is in a module that an imported agent's file names, or an environment with words for one.

    Raises:
        UsageError: it would be, and nobody has said that the file may be trusted.
    """
    owners = [name.rpartition(":")[0] for name in (config.env.id, config.env.engine, config.pipeline)]
    modules = sorted({repr(module) for module in owners if module})
    words = [value for value in config.env.kwargs.values() if isinstance(value, str)]
    if "imported" in store.facts and (modules or words) and not trusted:
        named = (
            f"the module {' and '.join(modules)}"
            if modules
            else f"the environment {config.env.id!r} with {', '.join(map(repr, words))}"
        )
        raise UsageError(
            f"{store.name} was imported, and its file names {named}, which would be loaded and executed here: if you trust"
            " where it comes from, say --trust-env"
        )


def commits(store: Store) -> list[VersionCommitted]:
    """Return the events by which the run's versions were announced, in their order."""
    from wmloop.events import VersionCommitted

    return [VersionCommitted(v.iteration, v.stage, v.metrics, v.num_bytes, v.seconds) for v in store.versions()]
