"""What the environments take as arguments and as options of a reset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from wmloop.config.part import LARGEST, LEAST
from wmloop.errors import UsageError, nearest


def require_known(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the options of a reset, of which there are only those that are `known`.

    Raises:
        UsageError: there is another one.
    """
    given = options or {}
    for name in given:
        if name not in known:
            told = ", ".join(map(repr, known)) or "none"
            raise UsageError(f"reset has no option {name!r}{nearest(name, known)}: it has {told}")
    return given


def read_state(state: Any) -> np.ndarray:
    """Return a state, or an array of them, as float32.

    Raises:
        UsageError: it is no array of finite numbers.
    """
    try:
        read = np.asarray(state, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"options={{'state': ...}} is no array of numbers: {error}") from None
    if not np.isfinite(read).all():
        raise UsageError("options={'state': ...} has numbers that are not finite")
    return read


def require_positive(temperature: Any) -> None:
    """Refuse a temperature that is no number from 1e-30 to 1e30, with UsageError: float32 has no room for others."""
    if (
        not isinstance(temperature, int | float | np.number)
        or isinstance(temperature, bool)
        or not (LEAST <= temperature <= LARGEST)
    ):
        raise UsageError(
            f"temperature={temperature!r} is not valid: give a positive number, 1.0 for what the model believes"
        )


def require_agent(run: Any, iteration: Any) -> None:
    """Refuse a run that is no name and no path, and an iteration that is no whole number, with UsageError."""
    if not isinstance(run, str | os.PathLike) or not str(run):
        raise UsageError(f"run={run!r} is not valid: give a run's name or folder, an exported file, or 'demo'")
    if iteration is not None and not _is_whole(iteration):
        raise UsageError(f"iteration={iteration!r} is not valid: give a whole number, or None for the best agent")


def require_copies(num_envs: Any) -> None:
    """Refuse a number of copies that is no whole number from 1 on, with UsageError."""
    if not _is_whole(num_envs) or num_envs < 1:
        raise UsageError(f"num_envs={num_envs!r} is not valid: give one copy or more")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def require_horizon(horizon: Any) -> None:
    """Refuse a horizon that is neither None nor a whole number from 1 on, with UsageError."""
    if horizon is not None and (not _is_whole(horizon) or horizon < 1):
        raise UsageError(
            f"horizon={horizon!r} is not valid: give one agent step or more, or None for a real episode's length"
        )


def require_render_mode(render_mode: Any) -> None:
    """Refuse a mode of rendering that there is not, with UsageError."""
    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"render_mode={render_mode!r} is not valid: give 'rgb_array', or None")
