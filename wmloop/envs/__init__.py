"""The real environment: the only door to gymnasium. Importing it never imports torch."""

from __future__ import annotations

import importlib.metadata

from wmloop.envs.driving import Pushes, random_driving
from wmloop.envs.pixels import IMAGE_SIZE, PixelEnv
from wmloop.envs.pool import EnvPool, PoolStep

__all__ = ["IMAGE_SIZE", "EnvPool", "PixelEnv", "PoolStep", "Pushes", "random_driving", "versions"]


def versions() -> dict[str, str]:
    """Return the versions that decide what an episode looks like: replay needs the same ones."""
    found = {}
    for name in ("gymnasium", "box2d", "pygame-ce", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
