"""Things that are named, and imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from wmloop.errors import UsageError


def found(entry: Any, what: str) -> Any:
    """Return what `module:name` names; what is no text is the thing itself.

    Raises:
        UsageError: it cannot be imported; the message says why.
    """
    if not isinstance(entry, str):
        return entry
    module, _, name = entry.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{what} has the entry {entry!r}, which cannot be imported: {error}") from error
