"""Names and settings settled before torch loads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wmloop.commands import command
from wmloop.errors import UsageError

if TYPE_CHECKING:
    from wmloop.config import RunConfig


def require_new(root: Path, name: str) -> None:
    """Refuse a name that `Store.create` would refuse, before torch loads and anything is looked at.

    Raises:
        UsageError: the name does not do, or is that of a run.
    """
    from wmloop.store import check_run_name
    from wmloop.store.names import HEADER

    check_run_name(name)
    if os.path.lexists(root / name) and os.access(root / name, os.X_OK) and (root / name / HEADER).exists():
        raise UsageError(
            f"{root} has a run {name!r} already: `{command('resume', root / name)}` goes on with it;"
            f" or choose another name"
        )


def on_this_machine(config: RunConfig) -> RunConfig:
    """Return `config` with nothing left for the machine to choose.

    Raises:
        UsageError: this machine cannot do what it asks for.
    """
    from wmloop.config import with_settings
    from wmloop.device import resolve_device, resolve_precision, resolve_threads

    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    return with_settings(config, {"device": device, "threads": resolve_threads(config.threads), "precision": precision})
