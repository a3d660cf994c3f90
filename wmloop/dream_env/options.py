"""What the environments take as options of a reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wmloop.errors import UsageError, nearest


def require_known(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the options of a reset, of which there are only those that are `known`.

    Raises:
        UsageError: there is another one.
    """
    given = options or {}
    for name in given:
        if name not in known:
            told = ", ".join(map(repr, known)) or "none"
            raise UsageError(f"reset has no option {name!r}{nearest(name, known)}: it has {told}")
    return given
