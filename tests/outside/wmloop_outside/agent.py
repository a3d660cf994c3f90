"""The agent: it looks with the world model and acts with the controller. And how it is made of a run's files."""

import torch

from wmloop.agents.world_model import Carry
from wmloop.models.controller import GaussianActor
from wmloop.models.state import load_module
from wmloop_outside.world_model import LinearWorld


class PointAgent:
    """A wmloop.agents.world_model.WorldModelAgent."""

    critic = None  # nothing tells values

    def __init__(self, world, actor, actions):
        self.world, self.actor, self.actions = world, actor, actions

    def start(self, num_envs):
        return Carry()

    @torch.inference_mode()
    def act(self, carry, observations, exploration=None):
        state = self.world.observe(carry.state, carry.action, observations)
        policy = self.actor(state.features)
        action = policy.mode()
        if exploration is not None:
            noise, offset, explore = (torch.from_numpy(part).to(action.device) for part in exploration)
            action = torch.where(explore[:, None], policy.executed(policy.sample(noise) + offset), action)
        return self.actions.decode(action.cpu().numpy()), Carry(state, action)


def new_actor(actions):
    """Return an untrained policy on the point's two coordinates for `actions` action dimensions."""
    return GaussianActor(2, actions, "linear")


def world_of(arrays, device):
    """Return the world model of its arrays."""
    return LinearWorld(*(torch.from_numpy(arrays[name]).to(device) for name in ("step", "pays")))


def load(config, actions, device, model, controller):
    """Return the agent of two versions. Pipeline.load names this function."""
    actor = new_actor(actions.size)
    load_module(actor, controller.tensors("actor.safetensors"))
    return PointAgent(world_of(model.tensors("model.safetensors"), device), actor.to(device), actions)


def accept(config, actions, tensors):
    """Refuse the tensors of a file that are no such agent, by raising. Pipeline.accept names this function."""
    load_module(new_actor(2), tensors["actor"])
    shapes = {name: array.shape for name, array in tensors["model"].items()}
    if shapes != {"step": (5, 2), "pays": (6,)}:
        raise ValueError(f"its world model has {shapes}")
