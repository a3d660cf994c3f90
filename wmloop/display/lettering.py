"""Text on pictures."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import numpy as np

_SIZE, _ROW = 15, 20


_INK, _PAPER = (235, 235, 235), (20, 20, 24)


def with_lines(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Return `picture` (H, W, 3) uint8 with lines of text below it."""
    return np.concatenate([picture, draw_text(lines, picture.shape[1])]) if lines else picture


def draw_text(lines: Sequence[str], width: int) -> np.ndarray:
    """Return lines of text as a picture (H, width, 3) uint8, each _ROW pixels high and cut at the right."""
    strip = np.empty((_ROW * len(lines), width, 3), np.uint8)
    strip[:] = _PAPER
    for i, line in enumerate(lines):
        drawn = _drawn(line)[:_ROW, : max(0, width - 8)]
        strip[i * _ROW : i * _ROW + len(drawn), 8 : 8 + drawn.shape[1]] = drawn
    return strip


def draw_label(picture: np.ndarray, label: str, ink: tuple[int, int, int] = _INK) -> np.ndarray:
    """Return `picture` (H, W, 3) uint8 with a label in its upper left corner."""
    drawn = _drawn(f" {label} ", ink)[: picture.shape[0], : picture.shape[1]]
    marked = picture.copy()
    marked[: drawn.shape[0], : drawn.shape[1]] = drawn
    return marked


@functools.lru_cache(256)
def _drawn(line: str, ink: tuple[int, int, int] = _INK) -> np.ndarray:
    if not line:
        return np.empty((0, 0, 3), np.uint8)
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    pygame.font.init()  # anew each time: an environment that closes in this process makes older fonts invalid
    font = pygame.font.Font(None, _SIZE + 5)
    pixels = pygame.surfarray.array3d(font.render(line, True, ink, _PAPER))
    drawn: np.ndarray = pixels.swapaxes(0, 1).copy()
    return drawn
