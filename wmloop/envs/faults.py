"""Say in one line what went wrong inside an environment, and where."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import gymnasium

from wmloop.envs.answers import short_path

_LONGEST = 300  # characters of somebody's message
_FRAMES = 3
#: Frames of these say nothing about somebody's environment.
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_MACHINERY = (str(Path(__file__).parent.parent), str(Path(gymnasium.__file__).parent), "<frozen")


def first_line(error: BaseException) -> str:
    """Return the first line that an exception says, without a full stop, or its kind where it says none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


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
    frames = _frames(error)
    places = [f"{short_path(frame.filename)}, line {frame.lineno}, in {frame.name}" for frame in frames]
    return f"{what} ({', called from '.join(reversed(places))})" if places else what


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the innermost frames, the user's own among them: an error out of a library says little about who called it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_MACHINERY)]
    own = [
        frame for frame in frames if not frame.filename.startswith(_LIBRARIES) and "site-packages" not in frame.filename
    ]
    if not own and error.__cause__ is not None:  # gymnasium raises a TypeError anew
        return _frames(error.__cause__)
    if own and frames[-1] is not own[-1]:
        return [*own[-_FRAMES + 1 :], frames[-1]]
    return (own or frames or list(traceback.extract_tb(error.__traceback__)))[-_FRAMES:]
