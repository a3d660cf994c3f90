"""V, M and C that belong together, and the agent that they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from wmloop.agents.world_model import Agent
from wmloop.config import RunConfig
from wmloop.errors import StoreCorruptError
from wmloop.models.world_model import WorldModel
from wmloop.store import Store, Version
from wmloop.training.networks import load, new_actor, new_critic, new_memory, new_vision


class Triple(NamedTuple):
    """V, M and C that belong together, as the controller's manifest names them."""

    vision: Version
    memory: Version
    controller: Version

    @classmethod
    def of(cls, store: Store, iteration: int) -> Triple:
        """Return the triple of an iteration's controller: its own V and M, never simply the newest of each.

        Raises:
            StoreCorruptError: the controller is not there, or a parent is missing or not the one it was trained with.
        """
        controller = store.version(iteration, "controller")
        if controller is None:
            raise StoreCorruptError(f"run {store.name} has no controller in iteration {iteration}")
        found = {}
        for name, digest in controller.parents.items():
            number, _, stage = name.partition("/")
            parent = store.version(int(number), stage)
            if parent is None or parent.hash != digest:
                raise StoreCorruptError(f"{controller.name} was trained with {name}, which is missing or was changed")
            found[stage] = parent
        return cls(found["vision"], found["memory"], controller)

    def agent(self, config: RunConfig, low: np.ndarray, high: np.ndarray, device: torch.device) -> Agent:
        """Return the agent of this triple for actions within [low, high] (A,)."""
        actions = len(low)
        world = WorldModel(
            load(new_vision(config, device), self.vision), load(new_memory(config, actions, device), self.memory)
        )
        return Agent(world, load(new_actor(config, actions, device), self.controller, "actor"), low, high)

    def critic(self, config: RunConfig, device: torch.device) -> nn.Module | None:
        """Return the critic that was trained with this actor; None where it was not exported with it."""
        if "critic.safetensors" not in self.controller.files:
            return None
        return load(new_critic(config, device), self.controller, "critic").eval()
