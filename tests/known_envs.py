"""Environments that Gymnasium knows something of, and one that wmloop cannot drive."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.tiny_env import TinyDrive

THRESHOLD, LIMIT = 7.5, 40


class Letters(gymnasium.Env[Any, Any]):
    """Show and take what is no picture and no Box; print, as other people's do."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = spaces.Dict({"text": spaces.Text(5), "where": spaces.Box(-1, 1, (2,), np.float32)})
    action_space = spaces.Discrete(26)

    def __init__(self) -> None:
        print("hello from Letters")


class Dies(TinyDrive):
    """End the process as it is made."""

    def __init__(self) -> None:
        os._exit(3)


class Sleeps(TinyDrive):
    """Never be made."""

    def __init__(self) -> None:
        time.sleep(10_000)


def known(name: str) -> str:
    """Return the id of an environment of this module."""
    return f"tests.known_envs:known/{name}-v0"


for _name, _entry, _spec in (
    ("Solved", "tests.tiny_env:TinyDrive", {"max_episode_steps": LIMIT, "reward_threshold": THRESHOLD}),
    ("Unsolvable", "tests.tiny_env:TinyDrive", {"reward_threshold": float("inf")}),
    ("Letters", "tests.known_envs:Letters", {}),
    ("Dies", "tests.known_envs:Dies", {}),
    ("Sleeps", "tests.known_envs:Sleeps", {}),
):
    if f"known/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(f"known/{_name}-v0", entry_point=_entry, **_spec)
