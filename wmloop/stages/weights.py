"""From versions to networks and experience: where the store's side and the models' side are brought together."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from wmloop.config import RunConfig
from wmloop.envs import IMAGE_SIZE
from wmloop.episodes import Episode, unpack
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.models.agent import Agent
from wmloop.models.controller import Actor, make_critic
from wmloop.models.memory import Memory
from wmloop.models.state import load_module
from wmloop.models.vision import Vision
from wmloop.store import Store, Version

_Net = TypeVar("_Net", bound=nn.Module)


def new_vision(config: RunConfig, device: torch.device) -> Vision:
    """Return V as configured, with random weights."""
    return Vision(config.vision.network, config.vision.latent).to(device)


def new_memory(config: RunConfig, actions: int, device: torch.device) -> Memory:
    """Return M as configured, with random weights, for `actions` action dimensions."""
    settings = config.memory
    scale = 1.0 if settings.reward_scale == "auto" else float(settings.reward_scale)
    return Memory(config.vision.latent, actions, settings.hidden, settings.mixtures, scale).to(device)


def reward_scale(config: RunConfig, rollouts: Sequence[Version]) -> float:
    """Return the unit of rewards: as configured, or the root mean square that the first rollout with any has recorded."""
    if config.memory.reward_scale != "auto":
        return config.memory.reward_scale
    recorded = (version.metrics.get("reward_rms", 0.0) for version in rollouts)
    return next((rms for rms in recorded if rms > 0), 1.0)


def new_actor(config: RunConfig, actions: int, device: torch.device) -> Actor:
    """Return C's actor as configured, with random weights."""
    inputs = config.vision.latent + config.memory.hidden
    return Actor(inputs, actions, config.controller.actor, config.controller.log_std).to(device)


def new_critic(config: RunConfig, device: torch.device) -> nn.Module:
    """Return C's critic as configured, with random weights."""
    return make_critic(config.controller.critic, config.vision.latent + config.memory.hidden).to(device)


def shapes(config: RunConfig, actions: int = 3) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured; nothing is allocated."""
    meta = torch.device("meta")
    with meta:
        nets: dict[str, nn.Module] = {
            "vision": new_vision(config, meta), "memory": new_memory(config, actions, meta),
            "actor": new_actor(config, actions, meta), "critic": new_critic(config, meta),
        }  # fmt: skip
    return {f"{name}.{key}": tuple(part.shape) for name, net in nets.items() for key, part in net.state_dict().items()}


def load(net: _Net, version: Version, name: str = "model") -> _Net:
    """Load a network's weights from `name`.safetensors of a version; names, dtypes and shapes are checked."""
    load_module(net, version.tensors(f"{name}.safetensors"))
    return net


def episodes_of(version: Version, observed: bool = True) -> Iterator[Episode]:
    """Yield the episodes of a rollout version in order; one shard is held at a time.

    Raises:
        StoreCorruptError: a shard does not hold what its names promise.
    """
    for shard in sorted(name for name in version.files if name.startswith("episodes-")):
        try:
            for episode in unpack(version.tensors(shard), observed):
                if episode.observations.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
                    raise ValueError(f"its pictures have the shape {episode.observations.shape[1:]}")
                yield episode
        except (KeyError, IndexError, ValueError, zlib.error) as error:
            raise StoreCorruptError(f"{version.name}/{shard} is no shard of episodes: {error}") from error


def gather_frames(versions: Sequence[Version], rows: np.ndarray) -> np.ndarray:
    """Return the observations (N, 64, 64, 3) uint8 of `rows` (N,), counted over rollout versions as in episodes.Replay."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    frames = np.empty((len(rows), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    first = 0
    for version in versions:
        for episode in episodes_of(version):
            here = slice(*np.searchsorted(ascending, (first, first + len(episode) + 1)))
            frames[order[here]] = episode.observations[ascending[here] - first]
            first += len(episode) + 1
    return frames


def require_same_actions(rollouts: Sequence[Version], low: np.ndarray, high: np.ndarray) -> None:
    """Refuse an environment whose actions are not those that the newest of a run's rollouts was driven with.

    Raises:
        UsageError: they have other bounds (A,); nothing where no rollout tells.
    """
    newest = rollouts[-1] if rollouts else None
    if newest is None or "actions.json" not in newest.files:
        return
    bounds = newest.json("actions.json")
    if bounds["low"] != low.tolist() or bounds["high"] != high.tolist():
        raise UsageError(
            f"the environment's actions lie in {low.tolist()} to {high.tolist()} now, and in {bounds['low']} to"
            f" {bounds['high']} when the run drove it: what was learnt is of another environment. Bring that back, or begin"
            " anew with `wmloop start`"
        )


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
        return Agent(
            load(new_vision(config, device), self.vision),
            load(new_memory(config, actions, device), self.memory),
            load(new_actor(config, actions, device), self.controller, "actor"),
            low, high,
        )  # fmt: skip

    def critic(self, config: RunConfig, device: torch.device) -> nn.Module | None:
        """Return the critic that was trained with this actor; None where it was not exported with it."""
        if "critic.safetensors" not in self.controller.files:
            return None
        return load(new_critic(config, device), self.controller, "critic").eval()
