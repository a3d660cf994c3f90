"""The networks as configured, and their weights in versions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import nn

from wmloop.config import ControllerConfig, WorldModelConfig
from wmloop.errors import StoreCorruptError
from wmloop.models import state
from wmloop.models.controller import Actor, CategoricalActor, GaussianActor, make_critic
from wmloop.models.encoder import PICTURES, AnyEncoder, Parts, make_encoder, parts_of
from wmloop.models.memory import Memory
from wmloop.models.vision_memory import VisionMemory
from wmloop.pipelines import weights_file
from wmloop.spaces import ActionSpec, BoxActions, ObservationSpec, PictureAndVector, Vector
from wmloop.store import Draft, Version

_Net = TypeVar("_Net", bound=nn.Module)


def _gaussian(config: ControllerConfig, inputs: int, size: int) -> Actor:
    return GaussianActor(inputs, size, config.actor, config.log_std_bounds)


def _categorical(config: ControllerConfig, inputs: int, size: int) -> Actor:
    return CategoricalActor(inputs, size, config.actor)


#: What makes the actor of each kind of actions: (settings, features, numbers of an action).
ACTORS: dict[str, Callable[[ControllerConfig, int, int], Actor]] = {
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


def new_vision(config: WorldModelConfig, device: torch.device, parts: Parts = PICTURES) -> AnyEncoder:
    """Return V as configured, with random weights, for what is to be seen."""
    return make_encoder(parts, config.vision.network, config.vision.latent_size).to(device)


def new_memory(config: WorldModelConfig, latent: int, actions: int, device: torch.device) -> Memory:
    """Return M as configured, with random weights, for a V of `latent` dimensions and actions of so many numbers."""
    settings = config.memory
    scale = 1.0 if settings.reward_scale == "auto" else float(settings.reward_scale)
    return Memory(latent, actions, settings.hidden_size, settings.num_mixtures, scale).to(device)


def new_actor(config: WorldModelConfig, features: int, actions: ActionSpec, device: torch.device) -> Actor:
    """Return C's actor as configured, with random weights, whose policy on so many features is over `actions`."""
    return ACTORS[actions.kind](config.controller, _seen(config, features), actions.size).to(device)


def new_critic(config: WorldModelConfig, features: int, device: torch.device) -> nn.Module:
    """Return C's critic as configured, with random weights, for so many features."""
    return make_critic(config.controller.critic, _seen(config, features)).to(device)


def _seen(config: WorldModelConfig, features: int) -> int:
    """Return how many of a State's features [z, h] C looks at: z is the first of them."""
    return features if config.controller.inputs == "z and h" else features - config.memory.hidden_size


def world_model(
    config: WorldModelConfig, actions: int, device: torch.device, vision: Version, memory: Version
) -> VisionMemory:
    """Return V and M of their versions, put to use, for actions of so many numbers."""
    seeing = load(new_vision(config, device, parts_of(vision.tensors(weights_file("model")))), vision)
    remembering = load(new_memory(config, seeing.latent, actions, device), memory)
    return VisionMemory(seeing, remembering, config.memory.terminated_weight)


def shapes(config: WorldModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured, for pictures, and actions of one number; no memory is taken."""
    actions, meta = BoxActions([-1], [1]), torch.device("meta")
    with meta:
        vision = new_vision(config, meta)
        memory = new_memory(config, vision.latent, actions.size, meta)
        nets: dict[str, nn.Module] = {
            "vision": vision, "memory": memory, "actor": new_actor(config, memory.features, actions, meta),
            "critic": new_critic(config, memory.features, meta),
        }  # fmt: skip
    return {f"{name}.{key}": tuple(part.shape) for name, net in nets.items() for key, part in net.state_dict().items()}


def save(net: nn.Module, draft: Draft, name: str = "model") -> None:
    """Save a network's weights in a draft, from whose version `load` reads them."""
    draft.save_tensors(weights_file(name), state.module_arrays(net))


def load(net: _Net, version: Version, name: str = "model") -> _Net:
    """Load a network's weights of that `name` from a version, in place; return it.

    Raises:
        StoreCorruptError: the file is damaged, or holds the weights of another network (names, dtypes or shapes differ).
    """
    file = weights_file(name)
    arrays = version.tensors(file)
    with _from(version, file):
        state.load_module(net, arrays)
    return net


def has(version: Version, name: str) -> bool:
    """Tell whether a version holds the weights of that `name`: it may be of earlier days, or pruned."""
    return weights_file(name) in version.files


#: An optimizer's state is stored as weights are.
_OPTIMIZER = weights_file("optimizer")


def save_optimizer(optimizer: torch.optim.Optimizer, draft: Draft) -> None:
    """Save an optimizer's state in a draft, from whose version `load_optimizer` reads it."""
    draft.save_tensors(_OPTIMIZER, state.optimizer_arrays(optimizer))


def load_optimizer(optimizer: torch.optim.Optimizer, version: Version) -> None:
    """Load an optimizer's state from a version, in place; its parameters are those it was saved with.

    Raises:
        StoreCorruptError: the file is damaged, or its state is that of other parameters.
    """
    arrays = version.tensors(_OPTIMIZER)
    with _from(version, _OPTIMIZER):
        state.load_optimizer(optimizer, arrays)


@contextlib.contextmanager
def _from(version: Version, file: str) -> Iterator[None]:
    """Name the file whose arrays do not fit."""
    try:
        yield
    except StoreCorruptError as error:
        raise StoreCorruptError(f"{version.path / file}: {error}") from None
