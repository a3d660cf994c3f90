"""The real environment: the only door to gymnasium. Importing it never imports torch."""

from __future__ import annotations

import contextlib
import importlib.metadata

from wmloop.envs.engine import Envs, make_envs
from wmloop.envs.known import Known, known
from wmloop.envs.pool import EnvPool
from wmloop.envs.real import RealEnv
from wmloop.envs.remote import RemoteEnv, check_environment
from wmloop.envs.steps import PoolStep

__all__ = [
    "EnvPool", "Envs", "Known", "PoolStep", "RealEnv", "RemoteEnv", "check_environment", "known", "make_envs", "versions",
]  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions that decide what an episode looks like: replay needs the same ones.

    Of packages of which either will do, that which is there is named.
    """
    return dict(
        _version(*names) for names in (("gymnasium",), ("box2d", "box2d-py"), ("pygame-ce", "pygame"), ("numpy",))
    )


def _version(*names: str) -> tuple[str, str]:
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return name, importlib.metadata.version(name)
    return names[0], "missing"
