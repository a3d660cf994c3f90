"""Make a run: a new folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wmloop import __version__
from wmloop.commands import command
from wmloop.errors import StorageError, StoreCorruptError, UsageError, WmloopError
from wmloop.store import atomic
from wmloop.store.draft import utc_now
from wmloop.store.files import list_folder, read_regular, sha256
from wmloop.store.jsontext import dump_json, parse_json
from wmloop.store.layout import CONFIG, FACTS, HEADER, ITERATIONS
from wmloop.store.making import private_folder
from wmloop.store.names import check_run_name
from wmloop.store.version import FORMAT, MANIFEST, PRUNED, Version


def make_run(root: Path, name: str, config_toml: str, facts: Mapping[str, Any], versions: Sequence[Version]) -> Path:
    """Make the folder of the run `name` in `root` and return it; arguments and errors are those of Store.create."""
    check_run_name(name)
    path = root / name
    if os.path.lexists(path) and not is_empty(path):
        raise _taken(path)
    config, notes = config_toml.encode(), dump_json(dict(facts), FACTS)
    with private_folder(root, name) as draft:
        atomic.write_file(draft / CONFIG, config)
        atomic.write_file(draft / FACTS, notes)
        atomic.require_space(draft, sum(version.num_bytes for version in versions))
        for version in versions:
            _copy(version, draft / ITERATIONS / version.name)
        atomic.write_file(draft / HEADER, _header(sha256(config), sha256(notes)).encode())
        try:
            atomic.publish_folder(draft, path, over_empty=True)
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise _taken(path) from error  # somebody made it meanwhile
            raise
    return path


def is_empty(folder: Path) -> bool:
    """Return whether a folder is there and has nothing in it."""
    return folder.is_dir() and not folder.is_symlink() and not list_folder(folder)


def _copy(version: Version, folder: Path) -> None:
    """Write a version's files and its manifest, each as it was committed, into a new folder that nobody sees yet."""
    manifest = read_regular(version.path / MANIFEST)
    if sha256(manifest) != version.hash:
        raise StoreCorruptError(f"{version.path / MANIFEST} has changed since it was read")
    atomic.make_folder(folder)
    if version.pruned:
        atomic.write_file(folder / PRUNED, dump_json(sorted(version.pruned), f"{version.name}/{PRUNED}"))
    for file in version.files:
        atomic.write_file(folder / file, version.bytes(file))
    atomic.write_file(folder / MANIFEST, manifest)


def _taken(path: Path) -> UsageError:
    if (path / HEADER).exists():
        with contextlib.suppress(WmloopError, OSError):
            if "imported" in parse_json(read_regular(path / FACTS), path / FACTS):
                return UsageError(
                    f"there is an imported agent {path.name!r} in {path.parent} already: choose another name"
                )
        return UsageError(
            f"there is a run {path.name!r} in {path.parent} already: `{command('resume', path)}` goes on with it; or choose"
            " another name"
        )
    return UsageError(f"{path} is there already, and is no run of wmloop: choose another name")


def _header(config_sha256: str, facts_sha256: str) -> str:
    return (
        "# Written once when the run began. The run is refused if config.toml or facts.json change.\n[wmloop]\n"
        f'format = {FORMAT}\ncreated = "{utc_now()}"\nversion = "{__version__}"\n'
        f'config_sha256 = "{config_sha256}"\nfacts_sha256 = "{facts_sha256}"\n'
    )
