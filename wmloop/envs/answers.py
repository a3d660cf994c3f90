"""What an environment returns, read and checked."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from wmloop.errors import DivergedError, EnvironmentFailedError

_PACKED = (tuple, list)
_STEP = "where gymnasium's returns (observation, reward, terminated, truncated, info)"
#: A reward, and what a decision is paid, is no larger.
LARGEST_REWARD = float(np.finfo(np.float32).max)
#: Where the user stands.
_start: Path | None = None


def read_reset(answer: Any) -> Any:
    """Return the observation of what `reset` returned; raises EnvironmentFailedError where that is not (observation, info)."""
    if not isinstance(answer, _PACKED) or len(answer) != 2:
        raise EnvironmentFailedError(
            f"returned {kind_of(answer)} from its reset, where gymnasium's returns (observation, info)"
        )
    return answer[0]


def read_step(answer: Any) -> tuple[Any, float, bool, bool]:
    """Return (observation, reward, terminated, truncated) of what `step` returned.

    A reward may be any real number or an array of one.

    Raises:
        DivergedError: the reward is NaN or infinite.
        EnvironmentFailedError: that is not gymnasium's (observation, reward, terminated, truncated, info).
    """
    if not isinstance(answer, _PACKED) or len(answer) != 5:
        raise EnvironmentFailedError(f"returned {kind_of(answer)} from its step, {_STEP}")
    seen, reward, terminated, truncated, _ = answer
    if type(reward) is not float:
        reward = _number(reward)
    if not -LARGEST_REWARD <= reward <= LARGEST_REWARD:
        raise DivergedError(f"returned the reward {reward}: nothing can be learnt from it")
    if type(terminated) is not bool:
        terminated = _flag("terminated", terminated)
    if type(truncated) is not bool:
        truncated = _flag("truncated", truncated)
    return seen, reward, terminated, truncated


def not_unpacked(error: Exception) -> EnvironmentFailedError | None:
    """Return what `read_step` would say, where `error` is a wrapper's failure to unpack what a step returned."""
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    if "unpack" in str(error) and innermost.startswith(str(Path(gymnasium.__file__).parent)):
        return EnvironmentFailedError(f"returned something else from its step ({error}), {_STEP}")
    return None


def _number(reward: Any) -> float:
    if isinstance(reward, np.float64):
        return float(reward)
    try:
        if np.ma.is_masked(reward):
            raise ValueError
        array = np.asarray(reward)
        if array.size != 1 or array.dtype.kind not in "fiubO":
            raise ValueError
        return float(array.reshape(()).item())
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise EnvironmentFailedError(f"returned the reward {short(reward)}: it has to be one real number") from None


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, np.bool_):
        return bool(value)
    try:
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biu" and array.reshape(()).item() in (0, 1):
            return bool(array.reshape(()).item())
    except (TypeError, ValueError):
        pass
    raise EnvironmentFailedError(f"returned {name}={short(value)}: it has to be True or False")


def read_rendering(picture: Any) -> np.ndarray | None:
    """Return what `render` returned as (H, W, 3) uint8, or None where it is no picture."""
    if isinstance(picture, list) and picture:
        picture = picture[-1]  # frames since the last call
    try:
        seen = np.asarray(picture)
    except Exception:
        return None
    if seen.ndim == 2:
        seen = seen[:, :, None]
    if seen.ndim != 3 or 0 in seen.shape or seen.shape[2] not in (1, 3, 4) or seen.dtype.kind not in "fiub":
        return None
    seen = seen[:, :, :3]
    if seen.dtype != np.uint8:
        if not np.isfinite(seen).all():
            return None
        unit = seen.dtype.kind in "fb" and float(seen.max()) <= 1
        seen = np.rint(seen.astype(np.float64) * (255 if unit else 1)).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(seen, (*seen.shape[:2], 3)))


def place_of(env: gymnasium.Env[Any, Any], method: str) -> str:
    """Return ` (FILE, line N)` of a method of the environment itself, below its wrappers; nothing where there is none.

    Where it only inherits its `__init__`, that is the place of its class: the spaces may be its own.
    """
    try:
        kind = type(env.unwrapped)
        code = kind if method == "__init__" and method not in vars(kind) else getattr(kind, method)
        try:
            file, line = inspect.getsourcefile(code), inspect.getsourcelines(code)[1]
        except (TypeError, OSError):
            file, line = inspect.getsourcefile(kind), inspect.getsourcelines(kind)[1]
    except Exception:  # whatever the environment made of itself: the place is only a help
        return ""
    return f" ({short_path(file)}, line {line})" if file else ""


def short_path(file: str) -> str:
    """Return a path as seen from where the user stands, where it lies below that."""
    try:
        path, here = Path(os.path.abspath(file)), _start or Path.cwd()  # noqa: PTH100 - links stay as they are
    except OSError:  # the current folder is gone
        return file
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def remember_folder() -> None:
    """Let `short_path` go by the current folder from now on, wherever an environment goes."""
    global _start
    _start = Path.cwd()


def kind_of(value: Any) -> str:
    """Return what a value is, in a word or two."""
    if value is None:
        return "None"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"


def short(value: Any) -> str:
    """Return a value as a message shows it: on one line, and not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
