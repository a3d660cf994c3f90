"""The networks as configured, and their weights from versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from wmloop.config import ControllerConfig, WorldModelConfig
from wmloop.models.controller import Actor, GaussianActor, make_critic
from wmloop.models.memory import Memory
from wmloop.models.state import load_module
from wmloop.models.vision import Vision
from wmloop.models.vision_memory import VisionMemory
from wmloop.spaces import ActionSpec, BoxActions
from wmloop.store import Version

_Net = TypeVar("_Net", bound=nn.Module)


def _gaussian(config: ControllerConfig, inputs: int, size: int) -> Actor:
    return GaussianActor(inputs, size, config.actor, config.log_std_bounds)


#: What makes the actor of each kind of actions: (settings, features, numbers of an action).
ACTORS: dict[str, Callable[[ControllerConfig, int, int], Actor]] = {"box": _gaussian}


def new_vision(config: WorldModelConfig, device: torch.device) -> Vision:
    """Return V as configured, with random weights."""
    return Vision(config.vision.network, config.vision.latent_size).to(device)


def new_memory(config: WorldModelConfig, actions: int, device: torch.device) -> Memory:
    """Return M as configured, with random weights, for actions of so many numbers."""
    settings = config.memory
    scale = 1.0 if settings.reward_scale == "auto" else float(settings.reward_scale)
    return Memory(config.vision.latent_size, actions, settings.hidden_size, settings.num_mixtures, scale).to(device)


def new_actor(config: WorldModelConfig, actions: ActionSpec, device: torch.device) -> Actor:
    """Return C's actor as configured, with random weights, whose policy is over `actions`."""
    inputs = config.vision.latent_size + config.memory.hidden_size
    return ACTORS[actions.kind](config.controller, inputs, actions.size).to(device)


def new_critic(config: WorldModelConfig, device: torch.device) -> nn.Module:
    """Return C's critic as configured, with random weights."""
    return make_critic(config.controller.critic, config.vision.latent_size + config.memory.hidden_size).to(device)


def world_model(
    config: WorldModelConfig, actions: int, device: torch.device, vision: Version, memory: Version
) -> VisionMemory:
    """Return V and M of their versions, put to use, for actions of so many numbers."""
    return VisionMemory(
        load(new_vision(config, device), vision),
        load(new_memory(config, actions, device), memory),
        config.memory.terminated_weight,
    )


def shapes(config: WorldModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured, for an action of one number; nothing is allocated."""
    actions, meta = BoxActions([-1], [1]), torch.device("meta")
    with meta:
        nets: dict[str, nn.Module] = {
            "vision": new_vision(config, meta), "memory": new_memory(config, actions.size, meta),
            "actor": new_actor(config, actions, meta), "critic": new_critic(config, meta),
        }  # fmt: skip
    return {f"{name}.{key}": tuple(part.shape) for name, net in nets.items() for key, part in net.state_dict().items()}


def load(net: _Net, version: Version, name: str = "model") -> _Net:
    """Load a network's weights from `name`.safetensors of a version; names, dtypes and shapes are checked."""
    load_module(net, version.tensors(f"{name}.safetensors"))
    return net
