"""The networks as configured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from wmloop.config import ActorConfig, ActorCriticConfig, VisionMemoryConfig
from wmloop.models.controller import Actor, CategoricalActor, GaussianActor, make_critic
from wmloop.models.encoder import PICTURES, AnyEncoder, Parts, make_encoder, parts_of
from wmloop.models.memory import Memory
from wmloop.models.state import Weights, load_weights
from wmloop.models.vision_memory import VisionMemory
from wmloop.spaces import ActionSpec, BoxActions, ObservationSpec, PictureAndVector, Vector


def _gaussian(config: ActorConfig, inputs: int, size: int) -> Actor:
    return GaussianActor(inputs, size, config.actor, config.log_std_bounds)


def _categorical(config: ActorConfig, inputs: int, size: int) -> Actor:
    return CategoricalActor(inputs, size, config.actor)


_META = torch.device("meta")
#: What makes the actor of each kind of actions: (settings, features, numbers of an action).
ACTORS: dict[str, Callable[[ActorConfig, int, int], Actor]] = {
    "box": _gaussian,
    "discrete": _categorical,
    "bins": _gaussian,
}


def parts_seen(observations: ObservationSpec) -> Parts:
    """Return what V has to be made of to see an environment's observations."""
    match observations:
        case Vector(size):
            return Parts(False, size)
        case PictureAndVector(_, Vector(size)):
            return Parts(True, size)
    return PICTURES


def new_vision(config: VisionMemoryConfig, device: torch.device, parts: Parts = PICTURES) -> AnyEncoder:
    """Return V as configured, with random weights, for what is to be seen."""
    return make_encoder(parts, config.vision.network, config.vision.latent_size).to(device)


def new_memory(config: VisionMemoryConfig, latent: int, actions: int, device: torch.device) -> Memory:
    """Return M as configured, with random weights, for a V of `latent` dimensions and actions of so many numbers."""
    settings = config.memory
    scale = 1.0 if settings.reward_scale == "auto" else float(settings.reward_scale)
    return Memory(latent, actions, settings.hidden_size, settings.num_mixtures, scale).to(device)


def new_actor(config: VisionMemoryConfig, features: int, actions: ActionSpec, device: torch.device) -> Actor:
    """Return C's actor as configured, with random weights, whose policy on so many features is over `actions`."""
    return ACTORS[actions.kind](config.controller, _seen(config, features), actions.size).to(device)


def new_critic(config: VisionMemoryConfig, features: int, device: torch.device) -> nn.Module:
    """Return C's critic as configured, with random weights, for so many features."""
    settings = config.controller
    assert isinstance(settings, ActorCriticConfig), "what is evolved has no critic"
    return make_critic(settings.critic, _seen(config, features)).to(device)


def _seen(config: VisionMemoryConfig, features: int) -> int:
    """Return how many of a State's features [z, h] C looks at: z is the first of them."""
    return features if config.controller.inputs == "z and h" else features - config.memory.hidden_size


def world_model(
    config: VisionMemoryConfig, actions: int, device: torch.device, vision: Weights, memory: Weights
) -> VisionMemory:
    """Return V and M with their weights, put to use, for actions of so many numbers.

    Raises:
        StoreCorruptError: the weights are those of other networks.
    """
    seeing = load_weights(new_vision(config, device, parts_of(vision.arrays)), vision)
    remembering = load_weights(new_memory(config, seeing.latent, actions, device), memory)
    return VisionMemory(seeing, remembering, config.memory.terminated_weight)


def shapes(config: VisionMemoryConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured, for pictures, and actions of one number; no memory is taken."""
    vision, memory, actor = unallocated(config)
    with _META:
        critic = new_critic(config, memory.features, _META)
    return shapes_of(vision=vision, memory=memory, actor=actor, critic=critic)


def unallocated(
    config: VisionMemoryConfig, actions: ActionSpec | None = None, parts: Parts = PICTURES
) -> tuple[AnyEncoder, Memory, Actor]:
    """Return V, M and C's actor without memory for their weights; by default for pictures and actions of one number."""
    actions = actions or BoxActions([-1], [1])
    with _META:
        vision = new_vision(config, _META, parts)
        memory = new_memory(config, vision.latent, actions.size, _META)
        return vision, memory, new_actor(config, memory.features, actions, _META)


def shapes_of(**networks: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of these networks, by name."""
    return {
        f"{name}.{key}": tuple(part.shape) for name, net in networks.items() for key, part in net.state_dict().items()
    }
