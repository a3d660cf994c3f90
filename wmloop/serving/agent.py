"""The versions of a run that belong together as an agent, and the agent that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch

from wmloop.config import RunConfig
from wmloop.errors import StoreCorruptError
from wmloop.history import History
from wmloop.models.state import Arrays
from wmloop.pipelines import Pipeline
from wmloop.spaces import ActionSpec, ObservationSpec
from wmloop.store import Version
from wmloop.store.tensors import SUFFIX
from wmloop.training.rollouts import (
    OBSERVATIONS,
    last_actions,
    last_observations,
    require_same_actions,
    require_same_observations,
    told_observations,
)


class Played(Protocol):
    """An environment, as far as an agent has to fit it."""

    @property
    def actions(self) -> ActionSpec:
        """Return what it takes."""

    @property
    def observations(self) -> ObservationSpec:
        """Return what it shows."""


class Served(NamedTuple):
    """The versions of one agent, by stage, as the manifest of its own stage names them."""

    pipeline: Pipeline
    versions: Mapping[str, Version]

    @classmethod
    def of(cls, history: History, iteration: int) -> Served:
        """Return the agent of an iteration: what it was trained with, never simply the newest of each.

        Raises:
            StoreCorruptError: it is not there, or a parent is missing or not the one it was trained with.
        """
        pipeline, store = history.pipeline, history.store
        own = store.version(iteration, pipeline.agent)
        if own is None:
            raise StoreCorruptError(f"run {store.name} has no {pipeline.agent} in iteration {iteration}")
        found = {own.stage: own}
        for name, digest in own.parents.items():
            number, _, stage = name.partition("/")
            parent = store.version(int(number), stage)
            if parent is None or parent.hash != digest:
                raise StoreCorruptError(f"{own.name} was trained with {name}, which is missing or was changed")
            found.setdefault(stage, parent)
        return cls(pipeline, {part.name: found[part.name] for part in pipeline.parts})

    def agent(self, config: RunConfig, actions: ActionSpec, device: torch.device) -> Any:
        """Return the agent that takes `actions`."""
        return self.pipeline.load_agent(config, actions, device, self.versions)

    def agent_in(self, env: Played, history: History, config: RunConfig, device: torch.device) -> Any:
        """Return the agent that acts in `env`.

        Raises:
            UsageError: `env` takes other actions than the agent learnt in, or shows something else.
        """
        require_same_actions(self.actions(history), env.actions)
        require_same_observations(self.observations(history), env.observations)
        return self.agent(config, env.actions, device)

    def actions(self, history: History) -> ActionSpec | None:
        """Return the actions that the agent takes, as they are stored with it or its rollouts; None where neither tells."""
        return last_actions([self._own]) or last_actions(history.collected(self._own.iteration + 1))

    def observations(self, history: History) -> ObservationSpec | None:
        """Return what the agent observes, as it is stored with it or its rollouts; None where neither tells."""
        if OBSERVATIONS in self._own.files or "imported" in history.store.facts:  # files of earlier days do not tell
            return told_observations(self._own)
        return last_observations(history.collected(self._own.iteration + 1))

    @property
    def _own(self) -> Version:
        return self.versions[self.pipeline.agent]

    def tensors(self) -> dict[str, Arrays]:
        """Return its tensors, by network (see `files_of`)."""
        files = files_of(self.pipeline)
        return {network: dict(self.versions[stage].tensors(file)) for network, (stage, file) in files.items()}


def files_of(pipeline: Pipeline) -> dict[str, tuple[str, str]]:
    """Return the stage and the file of each of an agent's networks, named after its file or, as `model`, its stage."""
    files = [(part.name, file) for part in pipeline.parts for file in part.agent_files]
    stems = [(name, file, file.removesuffix(SUFFIX)) for name, file in files]
    return {name if stem == "model" else stem: (name, file) for name, file, stem in stems}
