"""The versions of a run that belong together as an agent, and the agent that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from wmloop.config import RunConfig
from wmloop.errors import StoreCorruptError
from wmloop.history import History
from wmloop.models.state import Arrays
from wmloop.pipelines import Pipeline
from wmloop.spaces import ActionSpec
from wmloop.store import Version
from wmloop.store.tensors import SUFFIX


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

    def tensors(self) -> dict[str, Arrays]:
        """Return its tensors, by network (see `files_of`)."""
        files = files_of(self.pipeline)
        return {network: dict(self.versions[stage].tensors(file)) for network, (stage, file) in files.items()}


def files_of(pipeline: Pipeline) -> dict[str, tuple[str, str]]:
    """Return the stage and the file of each of an agent's networks, named after its file or, as `model`, its stage."""
    files = [(part.name, file) for part in pipeline.parts for file in part.agent_files]
    stems = [(name, file, file.removesuffix(SUFFIX)) for name, file in files]
    return {name if stem == "model" else stem: (name, file) for name, file, stem in stems}
