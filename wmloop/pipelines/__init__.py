"""Which systems there are: pipelines by name."""

from __future__ import annotations

from wmloop.entries import found
from wmloop.errors import UsageError, nearest
from wmloop.pipelines.pipeline import Pipeline, Stage

__all__ = ["PIPELINES", "Pipeline", "Stage", "get"]
#: Where each pipeline is: `module:name`, imported when it is asked for.
PIPELINES = {
    "world-model": "wmloop.pipelines.world_model:WORLD_MODEL",
    "vanilla-ppo": "wmloop.pipelines.vanilla_ppo:VANILLA_PPO",
}


def get(name: str) -> Pipeline:
    """Return the pipeline of that name.

    Raises:
        UsageError: there is none (those that there are are listed).
    """
    if name not in PIPELINES:
        raise UsageError(f"unknown pipeline {name!r}{nearest(name, list(PIPELINES))}: one of {', '.join(PIPELINES)}")
    pipeline: Pipeline = found(PIPELINES[name], f"the pipeline {name!r}")
    return pipeline
