"""The command lines that messages print: whole, so that they can be pasted."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from wmloop import torchrun

_PACKAGE = Path(__file__).parent
_TOGETHER = [(verb,) for verb in torchrun.TOGETHER]
#: The run that comes with wmloop: its name means it wherever runs live, and no other run may have it.
DEMO = _PACKAGE / "demo"


def runs_folder() -> Path:
    """Return where runs live unless `--runs` says otherwise: `$WMLOOP_RUNS`, else `runs`."""
    return Path(os.path.expanduser(os.environ.get("WMLOOP_RUNS") or "runs"))  # noqa: PTH111 - which fails without a home


def command(verb: str, run: Path, *words: str) -> str:
    """Return `wmloop verb NAME words...` for the run in the folder `run`, with `--runs` where it is needed, quoted."""
    if run.name == DEMO.name and run != DEMO:  # its name alone would mean the other one
        return wmloop(verb, str(run), *words)
    return wmloop(verb, run.name, *words, *place_option(run.parent))


def anywhere(verb: str, root: Path, *words: str) -> str:
    """Return `wmloop verb words...` for the folder `root` of runs, quoted."""
    return wmloop(verb, *words, *place_option(root))


def wmloop(*words: str) -> str:
    """Return `wmloop words...`, quoted, with the program called in a way that works where the message is read."""
    called = torchrun.launching(program()) if words[:1] in _TOGETHER else program()
    return quoted([*called, *words])


def program() -> list[str]:
    """Return the words that call this wmloop: its name where the shell finds it by that, else as it was called."""
    called = Path(sys.argv[0] if sys.argv else "")
    if called.name == "__main__.py" and called.parent == _PACKAGE:
        script, otherwise = Path(sys.executable).with_name("wmloop"), [_short(Path(sys.executable)), "-m", "wmloop"]
    elif called.stem == "wmloop" and called.is_file():
        script, otherwise = called, [_short(called)]
    else:  # from Python
        return ["wmloop"]
    import shutil  # the help of the command line needs none

    with contextlib.suppress(OSError):
        if (found := shutil.which("wmloop")) and script.samefile(found):
            return ["wmloop"]
    return otherwise


def quoted(words: Sequence[str]) -> str:
    """Return words as one line that this system's shell splits into the same words."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _short(path: Path) -> str:
    """Return a program's path as seen from the current folder, where it lies below that."""
    try:
        here = Path.cwd()
    except OSError:  # it is gone
        return str(path)
    if not path.is_absolute() or not path.is_relative_to(here):
        return str(path) if len(path.parts) > 1 else os.path.join(os.curdir, path)  # noqa: PTH118 - pathlib drops the dot
    below = path.relative_to(here)
    return str(below) if len(below.parts) > 1 else os.path.join(os.curdir, below)  # noqa: PTH118


def place_option(root: Path) -> list[str]:
    """Return `--runs` and the folder `root` of runs, or nothing where wmloop looks there by itself."""
    return [] if root == _PACKAGE or _is_default(root) else ["--runs", str(root)]


def _is_default(root: Path) -> bool:
    try:
        return root.absolute() == runs_folder().absolute()
    except OSError:  # the current folder is gone
        return root == runs_folder()
