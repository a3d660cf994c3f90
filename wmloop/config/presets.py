"""Two things that settings start from: presets, sizes of a run, and profiles, what is known of an environment.

A preset is a file in `sizes/`, a profile one in `wmloop/envs/profiles/`, named after the environment's id without the
module that registers it. What a preset changes against the defaults holds on any task, but for `paper`, which
is for the task of that paper; what a profile changes on any machine.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wmloop.entries import Registry
from wmloop.errors import UsageError

_SIZES, _PROFILES = Path(__file__).parent / "sizes", Path(__file__).parent.parent / "envs" / "profiles"
#: The groups of a profile that hold no settings: what the task is, the package that brings it, published scores.
_TASK, _PACKAGE, _PUBLISHED = FACTS = ("task", "package", "published")


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_bytes().decode())


#: What each preset changes against the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    name: _read(_SIZES / f"{name}.toml") for name in ("smoke", "laptop", "gpu", "paper")
}
#: What was found to be right for an environment, by its id; the defaults suppose nothing about any.
#: A package brings one as an entry point of the group `wmloop.profiles`, named after the id: the mapping that its TOML is.
PROFILES = Registry(
    "profiles",
    "profile",
    {path.relative_to(_PROFILES).with_suffix("").as_posix(): _read(path) for path in sorted(_PROFILES.rglob("*.toml"))},
)


class Profile(NamedTuple):
    """The settings that a profile changes against the defaults, where it says so, and whether it is wmloop's own."""

    settings: dict[str, Any]
    origin: str
    own: bool


def profile(environment: str) -> Profile | None:
    """Return the profile of an environment, or None where there is none."""
    name = _name(environment)
    if name not in PROFILES:
        return None
    own = name in PROFILES.own
    changes = {group: values for group, values in _profile(environment).items() if group not in FACTS}
    return Profile(changes, str(_PROFILES / f"{name}.toml") if own else PROFILES.origin(name), own)


class Package(NamedTuple):
    """What registers an environment: the module to import before Gymnasium is asked for it, and whose it is."""

    module: str
    install: str
    licence: str

    @property
    def installed(self) -> bool:
        """Tell whether it is there, without importing it."""
        return importlib.util.find_spec(self.module.partition(".")[0]) is not None


def package_of(environment: str) -> Package | None:
    """Return the package that an environment needs beside wmloop's own, or None where no profile names one.

    A package brings more environments than there are profiles: those whose ids match one of `ids`, such as `ALE/*`,
    in the group of one of wmloop's own.

    Raises:
        UsageError: the profile does not say all of it.
    """
    name, told = _name(environment), _profile(environment).get(_PACKAGE)
    if told is None:
        brought = (layer[_PACKAGE] for layer in PROFILES.own.values() if _PACKAGE in layer)
        told = next(
            (other for other in brought if any(fnmatch.fnmatchcase(name, ids) for ids in other.get("ids", []))), None
        )
    if told is not None and (missing := [field for field in Package._fields if field not in told]):
        raise UsageError(f"the profile of {name!r} has the group {_PACKAGE!r} without {' and '.join(missing)}")
    return told and Package(*(str(told[field]) for field in Package._fields))


def task(environment: str) -> dict[str, str]:
    """Return what a profile says in words: `about` an environment, its `observations`, its `actions`; what it does say."""
    return {name: str(text) for name, text in _profile(environment).get(_TASK, {}).items()}


def published(environment: str) -> tuple[str, dict[str, str]]:
    """Return where published scores on an environment are from, and them by system; nothing where its profile tells none."""
    told = _profile(environment).get(_PUBLISHED, {})
    return str(told.get("about", "")), dict(told.get("scores", {}))


def _profile(environment: str) -> dict[str, Any]:
    name = _name(environment)
    if name not in PROFILES:
        return {}
    found = PROFILES.get(name)
    if not isinstance(found, Mapping):
        raise UsageError(f"the profile of {name!r} is {type(found).__name__}, not a mapping of settings")
    return dict(found)


def _name(environment: str) -> str:
    """Return the name of an environment's profile: its id without the module that registers it."""
    return environment.rpartition(":")[2]
