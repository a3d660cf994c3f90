"""Environments that show vectors, one that shows a picture beside it, and whose renderers follow their state, or do not."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

SIZE = 48


class Follows(gymnasium.Env[Any, Any]):
    """A spot on a line: its state is what it shows, and its picture has a white column there."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space: spaces.Space[Any] = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = np.array([np.float32(self.np_random.uniform(-0.5, 0.5))], np.float64)
        self.steps = 0
        return self.shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state = np.clip(self.state + (int(action) - 1) / 16, -1, 1)
        self.steps += 1
        return self.shown(), float(self.state[0]), bool(self.state[0] >= 1), self.steps >= 60, {}

    def shown(self) -> Any:
        return self.state.astype(np.float32)

    def render(self) -> Any:
        return self.drawn(float(self.state[0]))

    def drawn(self, place: float) -> np.ndarray:
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        picture[:, round((place + 1) / 2 * (SIZE - 1))] = 255
        return picture

    def get_action_meanings(self) -> list[str]:
        return ["LEFT", "NOOP", "RIGHT"]


class Stubborn(Follows):
    """Its picture shows another number than the state that can be set."""

    def render(self) -> Any:
        return self.drawn(self.steps / 60)


class Undrawn(Follows):
    """It draws nothing."""

    def render(self) -> Any:
        return None


class Both(Follows):
    """It shows its picture, and the place and the steps as a vector beside it."""

    observation_space = spaces.Dict({
        "camera": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8), "place": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    })  # fmt: skip

    def shown(self) -> Any:
        return {"camera": self.drawn(float(self.state[0])), "place": np.array([self.state[0], self.steps], np.float32)}


class Clock(Follows):
    """It shows the place and the steps so far: a number that grows as long as an episode lasts."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def shown(self) -> Any:
        return np.array([self.state[0], self.steps], np.float32)


def vector_env(name: str) -> str:
    """Return the id of an environment of this module."""
    return f"tests.vector_envs:vectors/{name}-v0"


for _class in (Follows, Stubborn, Undrawn, Both, Clock):
    if f"vectors/{_class.__name__}-v0" not in gymnasium.registry:
        gymnasium.register(f"vectors/{_class.__name__}-v0", entry_point=f"tests.vector_envs:{_class.__name__}")
