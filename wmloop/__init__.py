"""wmloop: a World Models agent whose controller learns inside its own dream.

What `__all__` names is the public interface; everything else may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wmloop import registration

__version__ = "0.1.0"
__all__ = ["Pipeline", "Run", "RunConfig", "Stage", "TrainedAgent", "WmloopError", "dream", "load", "train"]

if TYPE_CHECKING:
    from wmloop.api import Run, dream, load, train
    from wmloop.config import RunConfig
    from wmloop.errors import WmloopError
    from wmloop.pipelines import Pipeline, Stage
    from wmloop.serving.trained import TrainedAgent

# Looked up on first use, because `import wmloop` must not import torch: `wmloop --help` would wait for it.
_HOMES = {
    "Pipeline": "wmloop.pipelines",
    "Run": "wmloop.api",
    "RunConfig": "wmloop.config",
    "Stage": "wmloop.pipelines",
    "TrainedAgent": "wmloop.serving.trained",
    "WmloopError": "wmloop.errors",
    "dream": "wmloop.api",
    "load": "wmloop.api",
    "train": "wmloop.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wmloop' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


registration.register()
