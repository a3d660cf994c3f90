"""TinyDrive: an environment whose step costs microseconds, for tests of the whole loop."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

#: Importing this module registers the environment; workers import it because the id names the module.
TINY_ID = "tests.tiny_env:wmloop/TinyDrive-v0"
MAX_STEPS = 60
SIZE = 32
SPEED = 2.0  # pixels a step at full steering
FALL = 0.4  # pixels a step without lift
MARKS = ((6, 10), (22, 26))  # columns [left, right) of the two gates


class TinyDrive(gymnasium.Env[np.ndarray, np.ndarray]):
    """Shuttle a red car between two gates while it sinks: steer (dimension 0) and lift (dimension 1).

    One gate at a time is lit. The step in which the car's centre enters the lit gate earns +1, and the other gate
    lights up; any other step earns 0. Leaving the field by a side or the bottom earns -5 and terminates. Only the
    starting place and the first gate are random, so the future follows from the picture and the actions.
    Step number `stuck_at` never returns, as a hung environment's would; from step `nan_at` on the reward is not a number;
    0 is never. Each step takes `pause` seconds.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None, stuck_at: int = 0, nan_at: int = 0, pause: float = 0.0) -> None:
        self.render_mode = render_mode
        self._stuck_at, self._nan_at, self._pause = stuck_at, nan_at, pause
        self._steps = 0
        self.observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self._fields = [self._field(lit) for lit in (0, 1)]
        self._over = True

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.y = (float(v) for v in self.np_random.uniform((12, 8), (20, 14)))
        self.lit = int(self.np_random.integers(2))
        self._over = False
        return self._picture(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._over:
            raise RuntimeError("stepped after its end")
        self._steps += 1
        if self._pause:
            time.sleep(self._pause)
        while self._steps == self._stuck_at:
            time.sleep(1)
        if 0 < self._nan_at <= self._steps:
            return self._picture(), float("nan"), False, False, {}
        steer, lift = float(action[0]), float(action[1])
        self.x += SPEED * steer
        self.y = max(self.y + FALL - lift, 3.0)
        if not (0 <= self.x < SIZE and self.y < SIZE):
            self._over = True
            return self._picture(), -5.0, True, False, {}
        left, right = MARKS[self.lit]
        entered = left <= self.x < right
        if entered:
            self.lit = 1 - self.lit
        return self._picture(), float(entered), False, False, {}

    def render(self) -> np.ndarray:  # type: ignore[override]
        return self._picture().repeat(8, axis=0).repeat(8, axis=1)

    def _picture(self) -> np.ndarray:
        picture = self._fields[self.lit].copy()
        row, column = int(self.y), int(self.x)
        picture[max(row - 2, 0) : row + 2, max(column - 2, 0) : max(column + 2, 0)] = (220, 0, 0)
        return picture

    @staticmethod
    def _field(lit: int) -> np.ndarray:
        picture = np.full((SIZE, SIZE, 3), (40, 120, 40), np.uint8)
        for gate, (left, right) in enumerate(MARKS):
            picture[:, left:right] = (240, 220, 60) if gate == lit else (60, 90, 60)
        return picture


def tiny_config() -> dict[str, Any]:
    """Return nested settings for `build_config("smoke", tiny_config())`: the whole loop in a few seconds."""
    return {
        "precision": "fp32",  # runs are compared bit by bit, and another machine may choose another
        "env": {
            "id": TINY_ID,
            "action_repeat": 1,
            "crop": None,
            "mirrored_actions": (),
            "num_envs": 4,
            "episode_frames": MAX_STEPS,
            "random_policy": {
                "mean": ((-0.2, 0.2), (0.2, 0.6)),
                "std": ((0.3, 0.8), (0.1, 0.4)),
                "autocorrelation": (0.5, 0.9),
                "initial_offset": (0.0, 0.0),
                "initial_decisions": 0,
            },
        },
        "rollout": {"prefill": ((8, 30),), "frames": 120, "max_unrewarded": None},
        "vision": {"initial_images": 96, "finetune_images": 48, "batch_size": 16},
        "memory": {"hidden_size": 32, "sequence_length": 8, "batch_size": 8, "initial_steps": 10, "train_steps": 5},
        "dream": {"num_dreams": 16, "horizon": 5},
        "controller": {"initial_updates": 2, "updates": 2, "minibatch_size": 40},
        "evaluate": {"episodes": 2, "confirm_episodes": 2},
    }


if "wmloop/TinyDrive-v0" not in gymnasium.registry:
    gymnasium.register("wmloop/TinyDrive-v0", entry_point="tests.tiny_env:TinyDrive", max_episode_steps=MAX_STEPS)
