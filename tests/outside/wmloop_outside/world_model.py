"""The world model: the point is where the picture is bright, and least squares tell where it goes and what that pays."""

import numpy as np
import torch

from wmloop.models.world_model import Outcome, State
from wmloop_outside.environment import SCALE, draw


class LinearWorld:
    """A wmloop.models.world_model.WorldModel, and its own Imagination. What the controller sees is the point."""

    reward_scale, noise_size = 1.0, 0  # rewards are in the environment's units, and nothing is random

    def __init__(self, step, pays):
        """Take the coefficients of the next point (5, 2) and of the reward (6,)."""
        self.step, self.pays = step, pays

    @classmethod
    def fitted(cls, before, action, after, rewards):
        """Return the world of N real steps: points (N, 2) before and after, actions (N, 2) and rewards (N,)."""
        step = np.linalg.lstsq(_linear(_tensor(before), _tensor(action)), after, rcond=None)[0]
        pays = np.linalg.lstsq(_quadratic(_tensor(after)), rewards, rcond=None)[0]
        return cls(_tensor(step), _tensor(pays))

    def observe(self, state, action, observations):
        return self.at(find(observations))

    def at(self, points):
        """Return the states of points (N, 2); nothing else has to be remembered."""
        features = _tensor(points).to(self.step.device)
        return State(features, features[:, :0])

    def advance(self, state, action):
        return State(_linear(state.features, action) @ self.step, state.inner)

    def expected(self, state):
        return state

    def terminated(self, state):
        return torch.zeros(len(state.features))

    def decode(self, features):
        return np.stack([draw(point) for point in features.cpu().numpy()])

    def imagination(self, temperature):
        return self

    def imagine(self, state, action, uniform, normal):
        after = self.advance(state, action)
        reward = _quadratic(after.features) @ self.pays
        return after, Outcome(reward, reward, torch.zeros_like(reward))

    def networks(self, shape):
        return {}


def find(pictures):
    """Return the points (N, 2) of pictures (N, 64, 64, 3): the centroids of their brightness."""
    light, places = pictures[..., 0].astype(np.float64), (np.arange(64) - 32) / SCALE
    across, down = light.sum(1) @ places, light.sum(2) @ places
    return np.stack([across, down], 1) / light.sum((1, 2))[:, None]


def _tensor(array):
    return torch.from_numpy(np.asarray(array, np.float32))


def _linear(point, action):
    return torch.cat([torch.ones_like(point[:, :1]), point, action], 1)


def _quadratic(point):
    return torch.cat([torch.ones_like(point[:, :1]), point, point**2, point.prod(1, keepdim=True)], 1)
