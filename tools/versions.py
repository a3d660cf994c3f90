"""Versions of what wmloop stands on, as pip's constraints.

    python tools/versions.py lowest [--except NAME ...]   the lowest that pyproject.toml allows
    python tools/versions.py installed                    those of this environment: what constraints.txt holds

`lowest` pins what pyproject.toml names itself; what those need in turn is pip's to choose.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def declared() -> list[str]:
    """Return all requirements in pyproject.toml, those of the extras too."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    return [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]


def normal(name: str) -> str:
    """Return a package's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lowest(excepted: set[str]) -> dict[str, str]:
    """Return the lowest version of each requirement by name, but for the excepted ones."""
    bounds = {}
    for requirement in declared():
        if bound := re.match(r"([\w.-]+)(?:\[[^\]]*\])?>=([\w.]+)", requirement):
            bounds.setdefault(normal(bound[1]), bound[2])  # an extra may ask for more
    return {name: version for name, version in bounds.items() if name not in excepted}


def installed() -> dict[str, str]:
    """Return the versions here of all that wmloop and its extras need, by name; local labels (`+cpu`) are left out."""
    from packaging.requirements import Requirement

    def needed(lines: list[str], extras: set[str]) -> Iterator[tuple[str, frozenset[str]]]:
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
                yield normal(requirement.name), frozenset(requirement.extras)

    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = {("wmloop", frozenset())}
    ahead = list(needed(declared(), set()))
    while ahead:
        asked = ahead.pop()
        name, extras = asked
        if asked in seen or name == "wmloop":
            continue
        seen.add(asked)
        found[name] = importlib.metadata.version(name).partition("+")[0]
        ahead += needed(importlib.metadata.requires(name) or [], set(extras))
    return found


def main() -> None:
    """Print the constraints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("lowest", "installed"))
    parser.add_argument("--except", dest="excepted", nargs="*", default=[], metavar="NAME")
    given = parser.parse_args()
    versions = lowest({normal(name) for name in given.excepted}) if given.which == "lowest" else installed()
    print("\n".join(f"{name}=={version}" for name, version in sorted(versions.items())))


if __name__ == "__main__":
    main()
