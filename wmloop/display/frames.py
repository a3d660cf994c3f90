"""Pictures as characters, and their sizes."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np

Colours = Literal["truecolor", "256", "none"]
_SHADES = " .:-=+*#%@"
_RESET = "\x1b[0m"


def terminal_colours(system: str | None) -> Colours:
    """Return how many colours a terminal has, from Rich's name of its colour system."""
    return {"truecolor": "truecolor", "256": "256"}.get(system or "", "none")  # type: ignore[return-value]


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return `image` (H, W, 3) uint8 as (height, width, 3): area averages where it shrinks, repeats where it grows."""
    return _resize(_resize(image, height, 0), width, 1).astype(np.uint8)


def size_within(image: np.ndarray, rows: int, columns: int) -> tuple[int, int]:
    """Return the largest (height, width) in pixels of `image` that keeps its shape within so many character cells."""
    height, width = image.shape[:2]
    scale = min(2 * rows / height, columns / width)
    return max(2, round(height * scale) // 2 * 2), max(1, round(width * scale))


def within(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return `image` (H, W, 3) uint8 as (height, width, 3): as large as it fits, in the middle of black."""
    if image.shape[:2] == (height, width):
        return image
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (min(room, max(1, round(side * scale))) for room, side in zip((height, width), image.shape, strict=False))
    shrunk = fit(image, *size)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - shrunk.shape[0]) // 2, (width - shrunk.shape[1]) // 2
    canvas[top : top + shrunk.shape[0], left : left + shrunk.shape[1]] = shrunk
    return canvas


def half_blocks(image: np.ndarray, rows: int, columns: int, colours: Colours = "truecolor") -> list[str]:
    """Return `rows` lines of `columns` cells that show `image` (H, W, 3) uint8 on a terminal.

    Colours are rounded to 5 bits, so that flat areas (grass, road) need few escapes: it makes the text three times
    as short, which a slow line feels and nobody sees. With `none` there are no escapes and one pixel a cell.
    """
    if colours == "none":
        grey = fit(image, rows, columns) @ np.array([0.299, 0.587, 0.114])
        shade = (grey * (len(_SHADES) - 1) / 255).round().astype(int)
        return ["".join(_SHADES[s] for s in row) for row in shade.tolist()]
    pixels = fit(image, 2 * rows, columns).astype(np.int64)
    if colours == "256":
        codes = 16 + ((pixels * 5 + 127) // 255) @ np.array([36, 6, 1])
    else:
        codes = (pixels >> 3) @ np.array([1024, 32, 1])
    upper, lower = codes[::2], codes[1::2]
    changes = np.ones((rows, columns), np.bool_)  # where a cell differs from the one before it
    changes[:, 1:] = (upper[:, 1:] != upper[:, :-1]) | (lower[:, 1:] != lower[:, :-1])
    escape = _truecolor if colours == "truecolor" else _indexed
    lines = []
    for over, under, begins in zip(upper.tolist(), lower.tolist(), changes, strict=True):
        starts = np.flatnonzero(begins).tolist()
        line, top, bottom = [], -1, -1
        for start, end in zip(starts, [*starts[1:], columns], strict=True):
            wanted = [f"38;{escape(over[start])}"] if over[start] != top else []
            wanted += [f"48;{escape(under[start])}"] if under[start] != bottom else []
            top, bottom = over[start], under[start]
            line.append(f"\x1b[{';'.join(wanted)}m" + "▀" * (end - start))
        lines.append("".join(line) + _RESET)
    return lines


@functools.cache
def _truecolor(code: int) -> str:
    """Return the escape of a colour of 5 bits a channel, spread over 8."""
    return "2;" + ";".join(str(part << 3 | part >> 2) for part in (code >> 10, code >> 5 & 31, code & 31))


def _indexed(code: int) -> str:
    return f"5;{code}"


def _resize(image: np.ndarray, size: int, axis: int) -> np.ndarray:
    old = image.shape[axis]
    if size >= old:
        repeated: np.ndarray = image.take(np.arange(size) * old // size, axis)
        return repeated
    edges = np.arange(size + 1) * old // size
    shape = [1, 1, 1]
    shape[axis] = size
    sums: np.ndarray = np.add.reduceat(image.astype(np.float32), edges[:-1], axis)
    sums /= np.diff(edges).reshape(shape)
    return sums
