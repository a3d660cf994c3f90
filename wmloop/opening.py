"""Open runs by what people call them, with their settings.

Everything is imported when it is needed: `wmloop --help` opens none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wmloop.commands import DEMO, wmloop
from wmloop.errors import UsageError

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.history import History
    from wmloop.pipelines import Pipeline
    from wmloop.store import Store


def open_named(root: Path, name: str) -> Store:
    """Open the run `name` in `root`; a path to a run will do as a name, and `demo` is the agent that comes with wmloop.

    Raises:
        UsageError: there is no such run (near names are listed).
        StoreCorruptError: it is damaged, or no run.
    """
    from wmloop.store import Store

    path = Path(name)
    if name == DEMO.name:
        return Store.open(DEMO)
    return Store.open(path if len(path.parts) > 1 or os.sep in name else root / name)


def ships(store: Store) -> bool:
    """Return whether this is the run that comes with wmloop, whose folder belongs to the installation."""
    return store.path == DEMO


def stored_config(store: Store) -> RunConfig:
    """Return the settings the run was begun with; what one older than a setting did is what it goes on to do."""
    from wmloop.config.legacy import stored
    from wmloop.config.text import from_toml
    from wmloop.store.layout import CONFIG

    return stored(from_toml(store.config_text, str(store.path / CONFIG)))


def pipeline_of(config: RunConfig) -> Pipeline:
    """Return the pipeline that a run's settings name.

    Raises:
        UsageError: there is none of that name here.
    """
    from wmloop.pipelines import get

    return get(config.pipeline)


def history_of(store: Store, config: RunConfig) -> History:
    """Return what the run has done so far."""
    from wmloop.history import History

    return History(store, pipeline_of(config))


def named_code(store: Store, config: RunConfig) -> str | None:
    """Return in words what an imported agent's file does that runs code here, or may: a verb and what it names.

    That is a module, or text among an environment's keyword arguments that its profile here does not have. None where there
    is nothing of it, and where the run is no imported one.
    """
    if "imported" not in store.facts:
        return None
    owners = [name.rpartition(":")[0] for name in (config.env.id, config.env.engine, config.pipeline)]
    if modules := sorted({repr(module) for module in owners if module}):
        return f"names the module {' and '.join(modules)}, which is code"
    from wmloop.config.presets import profile

    told_here = profile(config.env.id)
    own = told_here.settings.get("env", {}).get("kwargs", {}) if told_here else {}
    texts = {
        name: value for name, value in config.env.kwargs.items() if isinstance(value, str) and own.get(name) != value
    }
    words = [f"{name}={value!r}" for name, value in texts.items()]
    if not words:
        return None
    many = len(words) > 1
    what, told = ("keyword arguments", "texts") if many else ("keyword argument", "a text")
    return f"gives the environment {config.env.id!r} the {what} {', '.join(words)}, {told} by which it could load code"


def require_trust(store: Store, config: RunConfig, trusted: bool) -> None:
    """Refuse to load what `named_code` tells of.

    Raises:
        UsageError: it would be loaded, and nobody has said that the file may be trusted.
    """
    if not trusted and (named := named_code(store, config)) is not None:
        raise UsageError(
            f"{store.name} was imported, and its file {named}. That code would be executed here: if you trust its origin, add"
            " --trust-env (in Python trust_env=True)"
        )


def came_as(store: Store) -> str | None:
    """Return in words how a run that is an agent alone came to be here; None for one that was trained here."""
    if ships(store):
        return "the agent that comes with wmloop"
    return "an imported agent" if "imported" in store.facts else None


def require_origin(store: Store) -> None:
    """Refuse to go on with a run that holds an agent alone; raises UsageError."""
    if (agent := came_as(store)) is not None:
        raise UsageError(
            f"{store.name} is {agent}, without the episodes that it was trained on, so it cannot be trained further;"
            f" `{wmloop('start')}` trains a new one"
        )
