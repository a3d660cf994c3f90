"""Shrink a picture to the size that is learnt from."""

from __future__ import annotations

import math

import numpy as np

from wmloop.spaces import Pixels

#: Every picture wmloop learns from (Ha & Schmidhuber 2018).
SHOWN = Pixels(64, 64)


class BoxFilter:
    """Shrink (or enlarge) the cropped part of an RGB picture to the size of `made` by exact area averages.

    Each output pixel is the mean of the input area it covers, parts of pixels counted in part, rounded to nearest.
    `crop` is (top, bottom, left, right). The weights are whole numbers and the sums stay below 2**24 (2**53 for
    large pictures), so the result is exact and the same on every machine, whatever its BLAS does. Where both sizes have a
    common divisor the weights repeat, and the products are as many times smaller.
    """

    def __init__(self, shape: tuple[int, ...], crop: tuple[int, int, int, int] | None, made: Pixels) -> None:
        top, bottom, left, right = crop or (0, shape[0], 0, shape[1])
        self._window = slice(top, bottom), slice(left, right)
        height, width = bottom - top, right - left
        self._down, across = math.gcd(height, made.height), math.gcd(width, made.width)
        self._area, self._made = (
            (height // self._down) * (width // across),
            made,
        )  # of the input that the weights repeat after
        self._dtype = np.float32 if 255 * self._area < 2**24 else np.float64
        self._rows: np.ndarray = _overlaps(height // self._down, made.height // self._down).astype(
            self._dtype
        )  # (h, H)
        # one product over (W, channel) pairs is faster than a small one per row
        columns = _overlaps(width // across, made.width // across).T
        self._columns: np.ndarray = np.kron(columns, np.eye(3)).astype(self._dtype)  # (3W, 3w)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return the version (h, w, 3) uint8 of `picture` (H, W, 3) uint8."""
        part = picture[self._window].astype(self._dtype)
        rows = self._rows @ part.reshape(self._down, self._rows.shape[1], -1)
        sums: np.ndarray = rows.reshape(-1, len(self._columns)) @ self._columns
        nearest: np.ndarray = (2 * sums.astype(np.int64) + self._area) // (2 * self._area)
        return nearest.astype(np.uint8).reshape(self._made.shape)


def _overlaps(size: int, made: int) -> np.ndarray:
    """Return how much of input pixel j output pixel i covers, (made, size), in parts of an input pixel, `made` to a whole."""
    out = np.arange(made)[:, None] * size
    pixel = np.arange(size)[None, :] * made
    shared: np.ndarray = np.minimum(out + size, pixel + made) - np.maximum(out, pixel)
    return shared.clip(min=0)
