"""Name runs and find them: a run is a folder with a run.toml, and the latest is a scan."""

from __future__ import annotations

import datetime
import difflib
import re
import secrets
import stat
from pathlib import Path

from wmloop.commands import DEMO, anywhere, command
from wmloop.errors import StorageError, StoreCorruptError, UsageError
from wmloop.store.files import list_folder
from wmloop.store.layout import EVENTS, HEADER, ITERATIONS

_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
#: What Windows takes for a device, whatever follows a dot.
_DEVICE = re.compile(r"(?i:con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?")


def new_run_name() -> str:
    """Return a name nobody has, `YYYYMMDD-HHMMSS-xxxx` in local time."""
    return f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_run_name(name: str, noun: str = "run") -> None:
    """Raise UsageError unless `name` may name a run: letters, digits, `_.-`, at most 64, none of `.-` first, no `.` last.

    The message calls it a `noun`. What Windows cannot make is refused everywhere, because runs are moved.
    """
    if not _RUN_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a {noun}: use 1 to 64 letters, digits, `-`, `_`, `.`, beginning with a letter, a digit or"
            " `_`"
        )
    if _DEVICE.fullmatch(name) or name.endswith("."):
        why = "ends with a dot" if name.endswith(".") else "is a device there"
        raise UsageError(f"{name!r} cannot name a {noun}: no folder can have this name on Windows, where it {why}")


def require_free(path: Path) -> None:
    """Raise UsageError where a new run is to have the name of the one that comes with wmloop."""
    if path.name == DEMO.name and path.parent.absolute() != DEMO.parent:
        raise UsageError(f"{path.name!r} is the name of the agent that comes with wmloop: choose another name")


def list_runs(root: Path) -> list[str]:
    """Return the names of the runs in `root`, the one with the latest activity first; no folder means no runs.

    Folders that may be runs and cannot be looked into come last: to open one says why.
    """
    runs = [root / name for name in list_folder(root) if _RUN_NAME.fullmatch(name) and _may_be_run(root / name)]
    return [path.name for path in sorted(runs, key=lambda path: (_last_activity(path), path.name), reverse=True)]


def name_on_disk(path: Path) -> Path:
    """Return `path` with its last name as its folder lists it, where the disk takes no care of upper and lower case."""
    try:
        names = list_folder(path.parent)
    except StorageError:
        return path
    if path.name not in names:
        for name in names:
            if name.lower() == path.name.lower() and path.with_name(name).samefile(path):
                return path.with_name(name)
    return path


def missing_run(path: Path) -> UsageError:
    """Return the error for a run that is not there: it names near ones, or all, or how to begin."""
    runs = list_runs(path.parent)
    near = difflib.get_close_matches(path.name, runs, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(name) for name in near) + "?"
    elif runs:
        hint = f"the runs there, latest first: {', '.join(runs[:8])}" + (", ..." if runs[8:] else "")
    else:
        hint = f"there are no runs yet; `{anywhere('start', path.parent)}` begins one"
        if path.name != DEMO.name:
            hint += f", or watch the agent that comes with wmloop: `{anywhere('play', DEMO.parent, DEMO.name)}`"
    return UsageError(f"no run {path.name!r} in {path.parent}: {hint}")


def no_run(path: Path) -> Exception:
    """Return the error for a folder that is no run: a study's is taken for one, or an empty one."""
    if runs := [name for name in list_runs(path) if (path / "tasks" / name).is_dir()]:
        return UsageError(f"{path} is the folder of a study: name one of its runs, such as {path / runs[0]}")
    what = f"it has no {HEADER}"
    if path.is_dir() and not list_folder(path):
        what = f"it is empty, and `{command('start', path)}` begins one there"
    return StoreCorruptError(f"{path} is not a run of wmloop: {what}")


def _may_be_run(path: Path) -> bool:
    try:
        return stat.S_ISREG((path / HEADER).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _last_activity(run: Path) -> int:
    times = [0]
    try:
        iterations = list_folder(run / ITERATIONS)
    except StorageError:
        iterations = []
    # A commit renames inside its iteration's folder, which touches that folder; events touch their file.
    for path in (run / HEADER, run / EVENTS, *(run / ITERATIONS / name for name in iterations)):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:  # a run may be deleted while we look
            continue
    return max(times)
