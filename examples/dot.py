"""An environment of your own: docs/environments.md."""

import gymnasium
import numpy as np


class Dot(gymnasium.Env):
    """Keep the dot near the middle: it drifts, and the two actions push it."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(20, 44, 2), self.np_random.normal(0, 0.5, 2)
        return self.render(), {}

    def step(self, action):
        self.speed = 0.95 * self.speed + 0.3 * np.asarray(action)
        self.place = self.place + self.speed
        out = bool((self.place < 4).any() or (self.place > 60).any())
        near = 1 - np.abs(self.place - 32).max() / 32
        return self.render(), -10.0 if out else float(near), out, False, {}

    def render(self):
        picture = np.full((64, 64, 3), 30, np.uint8)
        x, y = np.clip(self.place, 3, 61).astype(int)
        picture[y - 3 : y + 3, x - 3 : x + 3] = (230, 200, 60)
        return picture


gymnasium.register("Dot-v0", entry_point="dot:Dot", max_episode_steps=100)
