"""Things that are named, and imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from wmloop.errors import UsageError


def found(entry: str, what: str) -> Any:
    """Return what `module:name` names.

    Raises:
        UsageError: it cannot be imported; the message says why.
    """
    module, _, name = entry.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{what} has the entry {entry!r}, which cannot be imported: {error}") from error
