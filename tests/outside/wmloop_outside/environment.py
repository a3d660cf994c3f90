"""The environment: a bright point that two numbers push, paid by how near it is to the middle."""

import gymnasium
import numpy as np

#: Pixels from the middle of the picture to the point where a coordinate is 1.
SCALE = 24


def draw(point):
    """Return the picture (64, 64, 3) uint8 of a point (2,): a soft spot, so that its centroid is the point."""
    rows, columns = np.ogrid[:64, :64]
    x, y = 32 + SCALE * np.asarray(point)
    spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.repeat(spot.astype(np.uint8)[..., None], 3, -1)


class Push(gymnasium.Env):
    """Push the point to the middle: each step costs the square of its distance from there."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point = self.np_random.uniform(-1, 1, 2)
        return self.render(), {}

    def step(self, action):
        self.point = np.clip(self.point + 0.2 * action, -1, 1)
        return self.render(), -float(self.point @ self.point), False, False, {}

    def render(self):
        return draw(self.point)


gymnasium.register("Push-v0", entry_point="wmloop_outside.environment:Push", max_episode_steps=20)

#: What suits it, over wmloop's defaults: the mapping that a TOML file of settings is.
PROFILE = {"budget": {"goal": -1.0}, "env": {"num_envs": 8}}
