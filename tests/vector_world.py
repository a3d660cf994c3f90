"""A world that is known: a point that actions push, and the world model of it that is never wrong."""

import numpy as np
import torch

from wmloop.agents.world_model import Agent
from wmloop.models.controller import GaussianActor
from wmloop.models.world_model import Outcome, State
from wmloop.spaces import BoxActions, Vector

PUSH = 0.1


class PointEnv:
    """The point begins where its track says; a step pays minus the distance (2,) that it is then from the origin."""

    actions, observations = BoxActions([-1, -1], [1, 1]), Vector(2)

    def reset(self, track):
        self.point = np.random.default_rng(track).uniform(-1, 1, 2).astype(np.float32)
        return self.point

    def step(self, action):
        self.point = self.point + np.float32(PUSH) * action
        return self.point, -float(np.linalg.norm(self.point)), False, False, 1

    def render(self):
        return np.zeros((64, 64, 3), np.uint8)


class VectorWorld:
    """The point's world model: what C sees is the point, and nothing has to be remembered."""

    reward_scale, noise_size = 1.0, 0

    def observe(self, state, action, observations):
        point = torch.from_numpy(np.asarray(observations))
        return State(point, point[:, :0])

    def advance(self, state, action):
        return State(state.features + PUSH * action, state.inner)

    def expected(self, state):
        return state

    def terminated(self, state):
        return torch.zeros(len(state.features))

    def decode(self, features):
        return None  # there is nothing to see

    def imagination(self, temperature):
        return self

    def networks(self, shape):
        return {}

    def imagine(self, state, action, uniform, normal):
        after = self.advance(state, action)
        reward, never = -after.features.norm(dim=-1), torch.zeros(len(action))
        return after, Outcome(reward, reward, never)


def point_agent():
    """Return an agent that knows the point's world, and pushes the point somewhere else wherever it is."""
    torch.manual_seed(0)
    actor = GaussianActor(2, 2, "linear")
    with torch.no_grad():
        actor.mean.weight.copy_(torch.tensor([[-1.0, 0.5], [-0.5, -1.0]]))
    return Agent(VectorWorld(), actor, PointEnv.actions)
