"""The values that a study's file may have: each is returned as it is used, or a ValueError says what is taken instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wmloop.seeding import EPISODES_A_SEED, LAST_SEED
from wmloop.store.jsontext import finite


def text(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def table(value: Any) -> Mapping[str, Any]:
    """Return a table."""
    if not isinstance(value, Mapping):
        raise ValueError("a table of settings")
    return value


def number(value: Any) -> float:
    """Return a finite number."""
    if finite(value) is None:
        raise ValueError("a number")
    return float(value)


def number_or_text(value: Any) -> str:
    """Return a finite number, or a text, as a text."""
    if finite(value) is None and not isinstance(value, str):
        raise ValueError("a number or a text")
    return str(value)


def deviation(value: Any) -> float:
    """Return a number from 0 on."""
    if finite(value) is None or value < 0:
        raise ValueError("a number from 0 on")
    return float(value)


def positive(value: Any) -> float:
    """Return a number above 0."""
    if finite(value) is None or value <= 0:
        raise ValueError("a number above 0")
    return float(value)


def count(value: Any) -> int:
    """Return a whole number from 1 on."""
    if finite(value) is None or value != int(value) or value < 1:
        raise ValueError("a whole number from 1 on")
    return int(value)


def episodes(value: Any) -> int:
    """Return how many episodes there can be of one seed."""
    if count(value) > EPISODES_A_SEED:
        raise ValueError(f"at most {EPISODES_A_SEED:,}")
    return int(value)


def seed(value: Any) -> int:
    """Return a seed."""
    if finite(value) is None or value != int(value) or not 0 <= value <= LAST_SEED:
        raise ValueError(f"a whole number from 0 to {LAST_SEED}")
    return int(value)


def seeds(value: Any) -> tuple[int, ...]:
    """Return seeds, each once."""
    if not isinstance(value, list) or not value:
        raise ValueError("a list of whole numbers, one at least")
    read = tuple(map(seed, value))
    if len(set(read)) < len(read):
        raise ValueError("a list of different numbers")
    return read
