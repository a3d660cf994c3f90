"""Register the environments of wmloop.dream_env with Gymnasium. Importing this imports nothing else."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_GYMNASIUM = "gymnasium"


def register() -> None:
    """Register the environments with Gymnasium: now if it has been imported, else as soon as it is.

    Gymnasium has no entry points for this since its version 1.0, and `import wmloop` is not to wait for it.
    """
    if _GYMNASIUM in sys.modules:
        _register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    from gymnasium.envs.registration import register, registry

    if "wmloop/Dream-v0" not in registry:
        register(
            "wmloop/Dream-v0",
            entry_point="wmloop.dream_env.single:DreamEnv",
            vector_entry_point="wmloop.dream_env.vector:DreamVectorEnv",
        )
        register("wmloop/Real-v0", entry_point="wmloop.dream_env.real:RealityEnv")


class _Finder:
    """Find Gymnasium as ever, and register once it has been executed."""

    looking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of Gymnasium, whose loader registers at its end; of all else, nothing."""
        if name != _GYMNASIUM or self.looking:
            return None
        self.looking = True  # for the others
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register()

            loader.exec_module = execute_and_register
        return spec
