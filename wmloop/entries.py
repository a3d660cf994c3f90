"""Things that are named, ours and those of installed packages, and imported when they are used."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from wmloop.errors import UsageError, nearest


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
    except Exception as error:  # a stranger's module may raise anything
        raise UsageError(f"{what}: {entry!r} cannot be imported: {error}") from error


def require_parts(thing: Any, parts: Iterable[str], made: str, described: str) -> None:
    """Refuse what somebody else's code `made`, unless it has all `parts` of what is `described` elsewhere.

    Raises:
        UsageError: it lacks some; they are listed.
    """
    if missing := [part for part in parts if not hasattr(thing, part)]:
        raise UsageError(f"{made} {type(thing).__name__}, which lacks {', '.join(missing)}: see {described}")


class Registry:
    """The things of one kind by name: our own, and those that installed packages bring.

    A package brings one as a Python entry point of the group `wmloop.KIND`, under its name. A name of the form
    `module:name` stands for that thing itself; its module is looked for as `python -m` would, in the current folder first.
    Packages are looked through only for a name that is none of our own: that takes a tenth of a second.
    """

    def __init__(self, kind: str, noun: str, own: Mapping[str, Any]) -> None:
        """Take the last word of the group's name, the noun that messages use, and our own entries by name."""
        self.own = dict(own)
        self._kind, self._noun = kind, noun

    def names(self) -> list[str]:
        """Return the names that there are: our own, then those of installed packages."""
        return list(dict.fromkeys([*self.own, *self._installed]))

    def __contains__(self, name: str) -> bool:
        """Tell whether there is something of that name."""
        return name in self.own or name in self._installed

    def get(self, name: str) -> Any:
        """Return the thing of that name, imported.

        Raises:
            UsageError: there is none (those that there are are listed), it cannot be imported, or two packages bring it.
        """
        what = f"the {self._noun} {name!r}"
        if name in self.own:
            return found(self.own[name], what)
        if names_module(name):
            look_here_first()
            return found(name, what)
        if name in self._installed:
            self._require_one(name)
            return found(self._installed[name][0].value, what)
        names = self.names()
        raise UsageError(f"unknown {self._noun} {name!r}{nearest(name, names)}: one of {', '.join(names)}")

    def origin(self, name: str) -> str:
        """Return the entry point that brings the thing of that name, which is none of our own, and its package."""
        point = self._installed[name][0]
        return f"{point.value} of the package {point.dist.name}" if point.dist else point.value

    def require_unique(self) -> None:
        """Refuse names that stand for two things.

        Raises:
            UsageError: there is such a name; the packages that bring it are listed.
        """
        for name in self._installed:
            self._require_one(name)

    def _require_one(self, name: str) -> None:
        bringers = [
            *(["wmloop"] if name in self.own else []),
            *(p.dist.name if p.dist else p.value for p in self._installed[name]),
        ]
        if len(bringers) > 1:
            raise UsageError(
                f"{' and '.join(bringers)} each register the {self._noun} {name!r}: uninstall all of them but one, or"
                " rename one"
            )

    @functools.cached_property
    def _installed(self) -> dict[str, list[importlib.metadata.EntryPoint]]:
        points: dict[str, list[importlib.metadata.EntryPoint]] = {}
        for point in importlib.metadata.entry_points(group=f"wmloop.{self._kind}"):
            points.setdefault(point.name, []).append(point)
        return points


def names_module(name: str) -> bool:
    """Tell whether a name is that of a thing in a module, `module:name`."""
    module, colon, thing = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), thing])


def look_here_first() -> None:
    """Let modules be looked for as `python -m` does: in the current folder first."""
    here = os.getcwd()  # noqa: PTH109 - as Python itself spells it
    if not sys.flags.safe_path and here not in sys.path:
        sys.path.insert(0, here)
