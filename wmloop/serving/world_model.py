"""V, M and C from their versions, as the agent that they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from wmloop.agents.world_model import Agent
from wmloop.config import WorldModelConfig
from wmloop.models.state import Arrays, load_module
from wmloop.models.world_model import WorldModel
from wmloop.store import Version
from wmloop.training.networks import load as weights
from wmloop.training.networks import new_actor, new_critic, new_memory, new_vision

_CRITIC = "critic"


def accept(config: WorldModelConfig, parts: Mapping[str, Arrays]) -> None:
    """Refuse tensors that are not those of V, M and C's actor as configured, by names, dtypes and shapes.

    Raises:
        StoreCorruptError, KeyError: they are not.
    """
    actions = parts["memory"]["lstm.weight_ih_l0"].shape[1] - config.vision.latent
    meta = torch.device("meta")
    with meta:  # shapes without memory: the settings may ask for anything
        networks = {
            "vision": new_vision(config, meta),
            "memory": new_memory(config, actions, meta),
            "actor": new_actor(config, actions, meta),
        }
    for prefix, network in networks.items():
        load_module(network, parts[prefix])


def load(
    config: WorldModelConfig, low: np.ndarray, high: np.ndarray, device: torch.device, vision: Version, memory: Version,
    controller: Version,
) -> Agent:  # fmt: skip
    """Return the agent for actions within [low, high] (A,), with C's critic unless it was pruned or not exported with it."""
    actions = len(low)
    critic = None
    if f"{_CRITIC}.safetensors" in controller.files:
        critic = weights(new_critic(config, device), controller, _CRITIC).eval()
    world = WorldModel(
        weights(new_vision(config, device), vision), weights(new_memory(config, actions, device), memory)
    )
    return Agent(world, weights(new_actor(config, actions, device), controller, "actor"), low, high, critic)
