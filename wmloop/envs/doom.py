"""ViZDoom without the files that it leaves in the current folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium

#: What the engine makes in the current folder as it starts, and dies of where another makes it at the same time.
_FOLDER = Path("_vizdoom")


class TidyDoom(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Let ViZDoom's engine, which starts at the first reset, write its settings nowhere, and take away its empty folder."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._started = False
        if "doom_config_path" not in (env.spec.kwargs if env.spec else {}):
            env.unwrapped.game.set_doom_config_path(os.devnull)  # type: ignore[attr-defined]

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        if self._started:
            return super().reset(**kwargs)
        with _folder():
            begun = super().reset(**kwargs)
        self._started = True
        _take_away()
        return begun

    def close(self) -> None:
        """End the engine."""
        super().close()
        _take_away()


def is_doom(env: gymnasium.Env[Any, Any]) -> bool:
    """Tell whether an environment is one of ViZDoom's."""
    return type(env.unwrapped).__module__.partition(".")[0] == "vizdoom"


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """Have the folder there before an engine looks for it, and let no other process take it away meanwhile."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(
            OSError, ImportError
        ):  # nothing may be written here, or nothing is locked on this system
            while not _lock(held):
                pass
        yield


def _lock(held: contextlib.ExitStack) -> bool:
    import fcntl

    _FOLDER.mkdir(exist_ok=True)
    try:
        folder = os.open(_FOLDER, os.O_RDONLY)
        held.callback(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_SH)
        return os.path.samestat(os.fstat(folder), _FOLDER.stat())
    except FileNotFoundError:  # it was taken away since
        return False


def _take_away() -> None:
    with contextlib.suppress(
        OSError, ImportError
    ):  # there is none, another is starting, or somebody keeps something in it
        import fcntl

        folder = os.open(_FOLDER, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _FOLDER.rmdir()
        finally:
            os.close(folder)
