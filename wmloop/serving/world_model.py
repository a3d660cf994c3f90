"""V, M and C from their versions, as the agent that they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from wmloop.agents.world_model import Agent
from wmloop.config import VisionMemoryConfig, WorldModelConfig
from wmloop.errors import UsageError
from wmloop.models.encoder import parts_of
from wmloop.models.memory import actions_of
from wmloop.models.networks import new_actor, new_critic, new_memory, new_vision, world_model
from wmloop.models.state import Arrays, load_module
from wmloop.spaces import ActionSpec, BoxActions, ObservationSpec
from wmloop.store import Version
from wmloop.training.weights import has, stored
from wmloop.training.weights import load as weights

_CRITIC = "critic"


def fits(config: WorldModelConfig, actions: ActionSpec, observations: ObservationSpec) -> None:
    """Refuse settings that contradict one another; any environment will do.

    Raises:
        UsageError: C, or the temperature of its dreams, would learn from rewards that M does not learn.
    """
    if config.memory.reward_weight:
        return
    if config.dream.temperature == "auto":
        raise UsageError(
            "dream.temperature=auto follows the returns that the world model predicts, and with memory.reward_weight=0 it"
            " learns no rewards: give dream.temperature a number"
        )
    if config.dream.rewards == "predicted":
        raise UsageError(
            "with memory.reward_weight=0 the world model learns no rewards, and the policy would learn from what it says of"
            " them: add --set dream.rewards=recorded --set dream.horizon=1, or give memory.reward_weight a value above 0"
        )


def accept(config: VisionMemoryConfig, actions: ActionSpec | None, parts: Mapping[str, Arrays]) -> None:
    """Refuse tensors that are not those of V, M and C's actor as configured, by names, dtypes and shapes.

    An agent of earlier days does not tell what `actions` it takes: so many dimensions as its M reads.

    Raises:
        StoreCorruptError, KeyError: they are not.
    """
    meta = torch.device("meta")
    with meta:  # shapes without memory: the settings may ask for anything
        vision = new_vision(config, meta, parts_of(parts["vision"]))
        if actions is None:
            size = actions_of(parts["memory"], vision.latent)
            actions = BoxActions([-1] * size, [1] * size)
        memory = new_memory(config, vision.latent, actions.size, meta)
        networks = {"vision": vision, "memory": memory, "actor": new_actor(config, memory.features, actions, meta)}
    for prefix, network in networks.items():
        load_module(network, parts[prefix])


def load(
    config: VisionMemoryConfig,
    actions: ActionSpec,
    device: torch.device,
    vision: Version,
    memory: Version,
    controller: Version,
) -> Agent:
    """Return the agent that takes `actions`, with C's critic unless it was pruned or not exported with it."""
    world = world_model(config, actions.size, device, stored(vision), stored(memory))
    features, critic = world.memory.features, None
    if has(controller, _CRITIC):
        critic = weights(new_critic(config, features, device), controller, _CRITIC).eval()
    return Agent(world, weights(new_actor(config, features, actions, device), controller, "actor"), actions, critic)
