"""Say in one line what went wrong inside an environment, and where."""

from __future__ import annotations

import traceback
from pathlib import Path

import gymnasium

from wmloop.envs.contract import short_path

_LONGEST = 300  # characters of somebody's message
_FRAMES = 3
#: Frames of these say nothing about somebody's environment.
_MACHINERY = (str(Path(__file__).parent.parent), str(Path(gymnasium.__file__).parent), "<frozen")


def where(error: BaseException) -> str:
    """Return `Kind: message (FILE, line N, in function, called from ...)`, with the innermost places of the environment."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # somebody's exception may fail to say what it is
        text = ""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    if isinstance(error, SystemExit):
        what = f"it called sys.exit({'' if error.code is None else text})"
    else:
        what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_MACHINERY)] or frames[-1:]
    places = [f"{short_path(frame.filename)}, line {frame.lineno}, in {frame.name}" for frame in own[-_FRAMES:]]
    return f"{what} ({', called from '.join(reversed(places))})" if places else what
