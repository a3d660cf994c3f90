"""Name runs and find them: a run is a folder with a run.toml, and the latest is a scan."""

from __future__ import annotations

import datetime
import difflib
import re
import secrets
from pathlib import Path

from wmloop.errors import UsageError
from wmloop.store.files import list_folder

HEADER = "run.toml"
CONFIG = "config.toml"
FACTS = "facts.json"
EVENTS = "events.jsonl"
PICTURES = "pictures.safetensors"
ITERATIONS = "iterations"

_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")


def new_run_name() -> str:
    """Return a name nobody has, `YYYYMMDD-HHMMSS-xxxx` in local time."""
    return f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_run_name(name: str) -> None:
    """Raise UsageError unless `name` may name a run: letters, digits, `_.-`, at most 64, none of `.-` first."""
    if not _RUN_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a run: use 1 to 64 letters, digits, `-`, `_`, `.`, beginning with a letter or digit"
        )


def list_runs(root: Path) -> list[str]:
    """Return the names of the runs in `root`, the one with the latest activity first; no folder means no runs."""
    runs = [root / name for name in list_folder(root) if _RUN_NAME.fullmatch(name) and (root / name / HEADER).is_file()]
    return [path.name for path in sorted(runs, key=lambda path: (_last_activity(path), path.name), reverse=True)]


def latest_run(root: Path) -> str | None:
    """Return the name of the run in `root` with the latest activity, or None if there is no run."""
    return next(iter(list_runs(root)), None)


def missing_run(path: Path) -> UsageError:
    """Return the error for a run that is not there: it names near ones, or all, or how to begin."""
    runs = list_runs(path.parent)
    near = difflib.get_close_matches(path.name, runs, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(name) for name in near) + "?"
    elif runs:
        hint = f"the runs there, latest first: {', '.join(runs[:8])}" + (", ..." if runs[8:] else "")
    else:
        hint = "there are no runs yet; begin one with `wmloop start`"
    return UsageError(f"no run {path.name!r} in {path.parent}: {hint}")


def _last_activity(run: Path) -> int:
    times = [0]
    # A commit renames inside its iteration's folder, which touches that folder; events touch their file.
    for path in (run / HEADER, run / EVENTS, *(run / ITERATIONS).glob("*")):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:  # a run may be deleted while we look
            continue
    return max(times)
