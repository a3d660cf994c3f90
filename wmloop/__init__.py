"""wmloop: a World Models agent whose controller learns inside its own dream."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Looked up on first use, because `import wmloop` must not import torch: `wmloop --help` would wait for it.
_HOMES = {
    "Agent": "wmloop.agents.world_model",
    "RunConfig": "wmloop.config",
    "Store": "wmloop.store",
    "Served": "wmloop.serving.agent",
    "WorldModel": "wmloop.models.world_model",
    "WmloopError": "wmloop.errors",
    "build_config": "wmloop.config",
    "run": "wmloop.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wmloop' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
