"""Write and read JSON text: the one place that says what may be in it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from wmloop.errors import DivergedError, StoreCorruptError

_SUFFIX = ".json"


def is_json(file: str) -> bool:
    """Tell whether a file of that name holds JSON."""
    return file.endswith(_SUFFIX)


def dump_json(value: Any, name: str) -> bytes:
    """Return `value` as readable JSON with sorted keys; numpy numbers and arrays become plain ones, paths text.

    Raises:
        DivergedError: a number is not finite, which JSON cannot say; `name` is in the message.
        TypeError: a value of another kind.
    """
    try:
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, default=_plain).encode()
    except ValueError as error:
        raise DivergedError(f"{name} would hold a number that is not finite ({error}); nothing was written") from None


def dump_line(value: Any) -> bytes:
    """Return `value` as one line of JSON; numbers that are not finite become NaN and Infinity, as Python reads them."""
    return json.dumps(value, default=_plain).encode()


def parse_json(data: bytes | bytearray, path: Path) -> Any:
    """Parse the bytes of a JSON file; raises StoreCorruptError naming `path`, also where a table has a name twice."""
    try:
        return json.loads(data, object_pairs_hook=_table)
    except (ValueError, RecursionError) as error:
        raise StoreCorruptError(f"{path} is not JSON: {error}") from None


def parse_table(data: bytes | bytearray, path: Path) -> dict[str, Any]:
    """Parse the bytes of a JSON file that holds a table; raises StoreCorruptError naming `path`."""
    table = parse_json(data, path)
    if not isinstance(table, dict):
        raise StoreCorruptError(f"{path} is damaged: it is no table")
    return table


def finite(value: object) -> float | None:
    """Return a JSON number as a float; None of what is none, is not finite, or is beyond what a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name stands twice in one table")
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
