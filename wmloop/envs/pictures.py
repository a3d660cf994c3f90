"""Read what an environment shows as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from wmloop.errors import EnvironmentFailedError

PICTURE = (
    "a picture (a Box with bounds, of shape (height, width, 3 or 1) or (3 or 1, height, width); of uint8, unless in [0, 1],"
    " also (height, width))"
)
#: Bounds beyond this, such as the largest float there is, are no bounds.
_UNBOUNDED = 1e18
#: Channels: red, green and blue, or grey.
_CHANNELS = (3, 1)


def is_picture(space: Any) -> bool:
    """Tell whether a space is read as pictures: a Box of the right shape whose bounds say what is dark and what is bright."""
    return isinstance(space, spaces.Box) and _layout(space) is not None


class Pictures:
    """Read what an environment shows as (H, W, 3) uint8, whatever it holds the numbers in; refuse what is no such picture.

    Numbers in [0, 255], and those of uint8, are what they are; those in [0, 1], and in any other range, are scaled to that.
    A grey picture has three equal channels.
    """

    def __init__(self, space: spaces.Box) -> None:
        """Take a space that `is_picture`."""
        self._space, self._layout = space, _layout(space)
        height, width = {"HWC": space.shape[:2], "CHW": space.shape[1:], "HW": space.shape}[self._layout or "HWC"]
        self.shape = (height, width, 3)
        self._low, self._high, self._scale = _range(space)
        #: Whether fractions were seen where 0 to 255 is declared, and nothing above 1.
        self.unscaled = False
        self._bright = space.dtype is None or space.dtype.kind != "f" or self._scale != 1
        self._plain = space.dtype == np.uint8 and self._scale == 1 and self._layout == "HWC" and space.shape[2] == 3
        notes = [f"its pictures have the shape {space.shape}: their channels come first"] * (self._layout == "CHW")
        within = f"[{self._low:g}, {self._high:g}]"
        if space.dtype == np.uint8 and self._scale == 255:
            notes.append("its pictures are 0 and 1: they are multiplied by 255")
        elif self._scale == 255:
            notes.append(f"its pictures are {space.dtype} in {within}: they are multiplied by 255 and rounded")
        elif self._low or self._scale != 1:
            notes.append(f"its pictures are {space.dtype} in {within}: they are scaled to [0, 255] and rounded")
        elif space.dtype != np.uint8:
            notes.append(f"its pictures are {space.dtype} in {within}: they are rounded")
        self.note = "; ".join(notes)

    def __call__(self, picture: Any) -> np.ndarray:
        """Return the picture; it may share the environment's memory.

        Raises:
            EnvironmentFailedError: it is none, of another size or dtype than declared, or beyond its bounds.
        """
        declared = f"it declares pictures of shape {self._space.shape}, {self._space.dtype}"
        if picture is None:
            raise EnvironmentFailedError(
                f"showed nothing: the observation is None, and {declared} (if it draws only in a render mode: --set"
                " env.kwargs.render_mode=rgb_array)"
            )
        try:
            seen = np.asarray(picture)
        except Exception as error:
            raise EnvironmentFailedError(f"showed what is no array ({error}), and {declared}") from None
        if np.ma.is_masked(picture):
            raise EnvironmentFailedError(f"showed an array with masked values, and {declared}")
        if seen.shape != self._space.shape:
            raise EnvironmentFailedError(
                f"showed an array of shape {seen.shape}, and {declared}: all must have that size"
            )
        if self._plain and seen.dtype == np.uint8:
            return seen
        return self._in_colour(self._in_bytes(seen, declared))

    def _in_bytes(self, seen: np.ndarray, declared: str) -> np.ndarray:
        """Return an array of the declared shape with its numbers in [0, 255]."""
        if seen.dtype == np.uint8 and self._space.dtype == np.uint8 and self._scale == 1:
            return seen
        kinds = "iub" if self._space.dtype is not None and self._space.dtype.kind in "iub" else "f"
        if seen.dtype.kind not in kinds:
            raise EnvironmentFailedError(f"showed an array of {seen.dtype}, and {declared}: return what is declared")
        low, high = float(seen.min()), float(seen.max())
        if not (low >= self._low and high <= self._high):
            raise EnvironmentFailedError(
                f"showed values from {low:g} to {high:g}, and its pictures are to lie in [{self._low:g}, {self._high:g}]"
            )
        if not self._bright:
            self._bright = high > 1
            self.unscaled = not self._bright and (self.unscaled or bool((seen % 1).any()))
        if self._low:
            seen = seen.astype(np.float64) - self._low
        return np.rint(seen * np.float64(self._scale)).astype(np.uint8)

    def _in_colour(self, seen: np.ndarray) -> np.ndarray:
        if self._layout == "CHW":
            seen = np.moveaxis(seen, 0, -1)
        elif self._layout == "HW":
            seen = seen[:, :, None]
        return np.broadcast_to(seen, self.shape)


def _layout(space: spaces.Box) -> str | None:
    """Return where the channels of a picture are, HWC, CHW or HW; None where a Box is no picture."""
    shape = space.shape
    if 0 in shape or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        return None
    low, high = float(space.low.min()), float(space.high.max())
    if not low < high or max(-low, high) > _UNBOUNDED:
        return None
    if len(shape) == 2:
        return "HW" if space.dtype == np.uint8 and _range(space)[2] != 255 else None
    if len(shape) != 3:
        return None
    return "HWC" if shape[2] in _CHANNELS else "CHW" if shape[0] in _CHANNELS else None


def _range(space: spaces.Box) -> tuple[float, float, float]:
    """Return what is black, what is white, and by what the numbers between are multiplied."""
    low, high = float(space.low.min()), float(space.high.max())
    if low == 0 and high == 1:
        return 0, 1, 255
    return low, high, 1 if (low, high) == (0, 255) else 255 / (high - low)
