"""Pictures in a terminal: two pixels a character cell, the upper half block over its background."""

from __future__ import annotations

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
    shrunk = fit(image, min(height, round(image.shape[0] * scale)), min(width, round(image.shape[1] * scale)))
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
    pixels = fit(image, 2 * rows, columns)
    if colours == "256":
        levels = (pixels.astype(np.int64) * 5 + 127) // 255
        codes = [[f"5;{code}" for code in row] for row in (16 + levels @ np.array([36, 6, 1])).tolist()]
    else:
        pixels = pixels & 0xF8 | pixels >> 5
        codes = [[f"2;{r};{g};{b}" for r, g, b in row] for row in pixels.tolist()]
    return [_line(upper, lower) for upper, lower in zip(codes[::2], codes[1::2], strict=True)]


def _line(upper: list[str], lower: list[str]) -> str:
    parts, over, under = [], "", ""
    for top, bottom in zip(upper, lower, strict=True):
        wanted = []
        if top != over:
            wanted.append(f"38;{top}")
        if bottom != under:
            wanted.append(f"48;{bottom}")
        over, under = top, bottom
        parts.append(f"\x1b[{';'.join(wanted)}m▀" if wanted else "▀")
    return "".join(parts) + _RESET


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
