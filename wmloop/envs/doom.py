"""ViZDoom without the files that it leaves in the current folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import gymnasium


class TidyDoom(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Let ViZDoom's engine, which begins at the first reset, write its settings nowhere, and take away its empty folder."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        if "doom_config_path" not in (env.spec.kwargs if env.spec else {}):
            env.unwrapped.game.set_doom_config_path(os.devnull)  # type: ignore[attr-defined]

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        begun = super().reset(**kwargs)
        _take_away()
        return begun

    def close(self) -> None:
        """End the engine."""
        super().close()
        _take_away()


def is_doom(env: gymnasium.Env[Any, Any]) -> bool:
    """Tell whether an environment is one of ViZDoom's."""
    return type(env.unwrapped).__module__.partition(".")[0] == "vizdoom"


def _take_away() -> None:
    with contextlib.suppress(OSError):  # there is none, or somebody keeps something in it
        Path("_vizdoom").rmdir()
