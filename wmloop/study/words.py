"""How a study writes what it tells."""

from __future__ import annotations


def plain(value: float, digits: int = 6, comma: str = "") -> str:
    """Return a number in so many digits, a whole or a large one in all that it has, and none above 1 with an exponent."""
    value += 0.0  # no zero has a sign
    text = f"{value:{comma}.{digits}g}"
    exact = value.is_integer() or ("e" in text and abs(value) >= 1)
    return f"{value:{comma}.0f}" if exact else text


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


def counted(count: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{count or 'no'} {thing}{'s' * (count > 1)}"
