"""What to do about damaged versions: whatever was made from them fits no others, so all of it is made again, where it can."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from wmloop.commands import command
from wmloop.errors import StoreCorruptError
from wmloop.store.layout import ITERATIONS
from wmloop.store.version import Version, load_version


def made_from(versions: Sequence[Version], names: Iterable[str]) -> list[str]:
    """Return the names of those versions that were made from any of `names`, at once or over others; parents come first."""
    origins = set(names)
    found = set(origins)
    for version in versions:
        if not found.isdisjoint(version.parents):
            found.add(version.name)
    return [version.name for version in versions if version.name in found - origins]


def remedy(run: Path, versions: Sequence[Version], names: Iterable[str], origin: Any = None) -> str:
    """Return what to do about the damaged versions `names` of the run in the folder `run`, whose whole ones are `versions`.

    `origin` is what the run's facts say of the fork that it began as.
    """
    names = sorted(set(names))
    gone = [*names, *made_from(versions, names)]
    made = [version for version in (*versions, *_readable(run, names)) if version.name in gone]
    read = {parent for version in made for parent in version.parents} - {*gone}
    first = int(_iteration(names[0]))
    if _copied(first, read, origin):
        told = f"restore {_places(names, versions)} from a backup"
        return f"{told}, or fork the run {origin['run']}, which it is from, at iteration {origin['iteration']} again"
    if any(version.pruned for version in versions if version.name in read):
        told = f"restore {_places(names, versions)} from a backup"
        return f"{told}: what it was made from was pruned, so it cannot be computed again"
    told = f"move {_places(gone, versions)} elsewhere, out of {run / ITERATIONS}:"
    told += f" `{command('resume', run)}` computes what is missing"
    before = [version for version in versions if version.iteration == first - 1]
    stages = {name.partition("/")[2] for name in gone}
    if before and stages <= {version.stage for version in before} and not any(version.pruned for version in before):
        told += f". Or go on in a new run: `{command('fork', run, 'NEW', '--from', f'{first - 1}')}`"
    return told


def _readable(run: Path, names: Iterable[str]) -> Iterator[Version]:
    """Yield those of the versions `names` whose manifests can be read, though a file of them is damaged."""
    for name in names:
        iteration, _, stage = name.partition("/")
        with contextlib.suppress(StoreCorruptError):
            yield load_version(run / ITERATIONS / name, int(iteration), stage)


def _copied(first: int, read: set[str], origin: Any) -> bool:
    """Tell whether what is damaged came with a fork by another pipeline, which makes nothing from before its first agent."""
    if not isinstance(origin, Mapping) or not origin.get("left"):
        return False
    return first < origin["iteration"] or not read.isdisjoint(origin["left"])


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
