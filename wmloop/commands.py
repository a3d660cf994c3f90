"""The command lines that messages print: whole, so that they can be pasted."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent


def runs_folder() -> Path:
    """Return where runs live unless `--runs` says otherwise: `$WMLOOP_RUNS`, else `runs`."""
    return Path(os.path.expanduser(os.environ.get("WMLOOP_RUNS") or "runs"))  # noqa: PTH111 - which fails without a home


def command(verb: str, run: Path, *words: str) -> str:
    """Return `wmloop verb NAME words...` for the run in the folder `run`, with `--runs` where it is needed, quoted."""
    where = [] if run.parent == _PACKAGE or _is_default(run.parent) else ["--runs", str(run.parent)]
    return quoted(["wmloop", verb, run.name, *words, *where])


def quoted(words: Sequence[str]) -> str:
    """Return words as one line that this system's shell splits into the same words."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _is_default(root: Path) -> bool:
    try:
        return root.absolute() == runs_folder().absolute()
    except OSError:  # the current folder is gone
        return root == runs_folder()
