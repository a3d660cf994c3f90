"""What to do about damaged versions: whatever was made from them fits no others, so all of it is made again, where it can."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from wmloop.commands import command
from wmloop.store.layout import ITERATIONS
from wmloop.store.version import Version


def made_from(versions: Sequence[Version], names: Iterable[str]) -> list[str]:
    """Return the names of those versions that were made from any of `names`, at once or over others; parents come first."""
    origins = set(names)
    found = set(origins)
    for version in versions:
        if not found.isdisjoint(version.parents):
            found.add(version.name)
    return [version.name for version in versions if version.name in found - origins]


def remedy(run: Path, versions: Sequence[Version], names: Iterable[str]) -> str:
    """Return what to do about the damaged versions `names` of the run in the folder `run`, whose whole ones are `versions`."""
    names = sorted(set(names))
    gone = [*names, *made_from(versions, names)]
    made = [version for version in versions if version.name in gone]
    read = {parent for version in made for parent in version.parents}
    if any(version.pruned for version in versions if version.name in {*read, *names}):
        told = f"restore {_places(names, versions)} from a backup"
        return f"{told}: what it was made from was pruned, so it cannot be computed again"
    first = int(_iteration(names[0]))
    before = [version for version in versions if version.iteration == first - 1]
    told = f"move {_places(gone, versions)} elsewhere, out of {run / ITERATIONS}:"
    told += f" `{command('resume', run)}` computes what is missing"
    if before and {version.stage for version in made} <= {version.stage for version in before if not version.pruned}:
        told += f". Or go on in a new run: `{command('fork', run, 'NEW', '--from', f'{first - 1}')}`"
    return told


def _places(gone: Sequence[str], versions: Sequence[Version]) -> str:
    """Return in words what is gone: versions, and iterations of which nothing is left."""
    left = [version.name for version in versions if version.name not in gone]
    by_iteration = {iteration: list(names) for iteration, names in groupby(sorted(gone), _iteration)}
    kept = set(map(_iteration, left))
    whole = [iteration for iteration, names in by_iteration.items() if len(names) > 1 and iteration not in kept]
    parts = [name for iteration, names in by_iteration.items() if iteration not in whole for name in names]
    parts += whole if len(whole) < 2 else [f"all of {whole[0]} to {whole[-1]}"]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _iteration(name: str) -> str:
    return name.partition("/")[0]
