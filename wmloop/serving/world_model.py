"""V, M and C from their versions, as the agent that they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from wmloop.agents.world_model import Agent
from wmloop.config import ActorCriticConfig, VisionMemoryConfig, WorldModelConfig
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.models.encoder import parts_of
from wmloop.models.memory import actions_of
from wmloop.models.networks import new_actor, new_critic, new_memory, new_vision, world_model
from wmloop.models.state import Arrays, load_module
from wmloop.models.world_model import State
from wmloop.serving.starts import STARTS
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
    if config.learns_rewards:
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

    Of `parts` there may be `starts` too: states of M. An agent of earlier days does not tell what `actions` it takes: so many
    dimensions as its M reads.

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
    if STARTS in parts:
        _accept_starts(parts[STARTS], memory.begin(torch.zeros(1, vision.latent)))


def _accept_starts(given: Arrays, example: State) -> None:
    """Refuse states that are not shaped as an example (1, ...) is, or are not finite; raises StoreCorruptError."""
    wanted = {name: part.shape[1:] for name, part in example._asdict().items()}
    count = len(given.get("features", ()))
    for name in sorted({*wanted, *given}):
        shape = (count, *wanted.get(name, ()))
        if name not in wanted or name not in given or given[name].shape != shape or given[name].dtype != np.float32:
            raise StoreCorruptError(f"its remembered states are no states of its M: {name} is not float32{list(shape)}")
        if not count or not np.isfinite(given[name]).all():
            raise StoreCorruptError(f"its remembered states are none, or not finite: {name}")


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
    if isinstance(config.controller, ActorCriticConfig) and has(controller, _CRITIC):
        critic = weights(new_critic(config, features, device), controller, _CRITIC).eval()
    return Agent(world, weights(new_actor(config, features, actions, device), controller, "actor"), actions, critic)
