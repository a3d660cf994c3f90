"""A space of observations: what an environment shows, as it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np


class ObservationSpec(Protocol):
    """The observations of an environment: arrays of one `shape` and `dtype`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return what its numbers are held in."""

    def picture(self, observation: np.ndarray) -> np.ndarray | None:
        """Return an observation as people see it, (H, W, 3) uint8; None where there is nothing to see."""

    def numbers(self, observation: np.ndarray) -> np.ndarray | None:
        """Return the vector in an observation, (n,) float32; None where it has none."""

    def record(self) -> dict[str, Any]:
        """Return the space as JSON has it, by its kind; `recorded_observations` reads it."""


class Pixels(NamedTuple):
    """Pictures (height, width, channels) uint8: 3 channels are RGB, 1 is grey."""

    height: int
    width: int
    channels: int = 3

    @property
    def shape(self) -> tuple[int, ...]:
        """Return height, width and channels."""
        return tuple(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return that of 8 bits."""
        return np.dtype(np.uint8)

    def picture(self, observation: np.ndarray) -> np.ndarray:
        """Return the picture itself, a grey one in three equal channels."""
        return observation if self.channels == 3 else observation.repeat(3, -1)

    def numbers(self, observation: np.ndarray) -> None:
        """Return nothing."""

    def record(self) -> dict[str, Any]:
        """Return height, width and channels."""
        return {"pixels": list(self)}


class Vector(NamedTuple):
    """Vectors (size,) float32: there is nothing to see."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the size."""
        return (self.size,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return that of 32 bits."""
        return np.dtype(np.float32)

    def picture(self, observation: np.ndarray) -> None:
        """Return nothing."""

    def numbers(self, observation: np.ndarray) -> np.ndarray:
        """Return the observation itself."""
        return observation

    def record(self) -> dict[str, Any]:
        """Return the size."""
        return {"vector": self.size}


class PictureAndVector(NamedTuple):
    """A picture and a vector at once, held as bytes: those of the picture (H, W, C) uint8, then those of the vector float32.

    One array of one dtype is all that an observation is, also on its way through shared memory and files.
    """

    pixels: Pixels
    vector: Vector

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of bytes."""
        return (self._bytes + 4 * self.vector.size,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return that of 8 bits."""
        return np.dtype(np.uint8)

    @property
    def _bytes(self) -> int:
        return self.pixels.height * self.pixels.width * self.pixels.channels

    def join(self, picture: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return the observation of a picture (H, W, C) uint8 and a vector (size,) float32."""
        return np.concatenate([picture.reshape(-1), np.ascontiguousarray(vector, np.float32).view(np.uint8)])

    def picture(self, observation: np.ndarray) -> np.ndarray:
        """Return the picture of an observation, a grey one in three equal channels."""
        return self.pixels.picture(observation[: self._bytes].reshape(self.pixels.shape))

    def numbers(self, observation: np.ndarray) -> np.ndarray:
        """Return the vector of an observation, (size,) float32."""
        return observation[self._bytes :].copy().view(np.float32)

    def record(self) -> dict[str, Any]:
        """Return what both are."""
        return self.pixels.record() | self.vector.record()


def recorded_observations(record: Mapping[str, Any]) -> Pixels | Vector | PictureAndVector:
    """Return the space of observations that was written as `record`.

    Raises:
        KeyError, TypeError, ValueError: it is no such record.
    """
    if "pixels" not in record:
        return Vector(int(record["vector"]))
    pixels = Pixels(*map(int, record["pixels"]))
    return PictureAndVector(pixels, Vector(int(record["vector"]))) if "vector" in record else pixels
