"""Which systems there are: pipelines by name."""

from __future__ import annotations

from wmloop.entries import Registry
from wmloop.errors import UsageError
from wmloop.pipelines.pipeline import Pipeline, Stage, weights_file

__all__ = ["PIPELINES", "Pipeline", "Stage", "get", "weights_file"]
#: Where each pipeline is. A package brings one as an entry point of the group `wmloop.pipelines`.
PIPELINES = Registry(
    "pipelines",
    "pipeline",
    {
        "world-model": "wmloop.pipelines.world_model:WORLD_MODEL",
        "vanilla-ppo": "wmloop.pipelines.vanilla_ppo:VANILLA_PPO",
        "ppo-features": "wmloop.pipelines.ppo_features:PPO_FEATURES",
        "hs18": "wmloop.pipelines.hs18:HS18",
        "hs18-dream": "wmloop.pipelines.hs18:HS18_DREAM",
    },
)


def get(name: str) -> Pipeline:
    """Return the pipeline of that name.

    Raises:
        UsageError: there is none (those that there are are listed), it cannot be imported, or is no Pipeline.
    """
    pipeline = PIPELINES.get(name)
    if not isinstance(pipeline, Pipeline):
        raise UsageError(f"the pipeline {name!r} is {type(pipeline).__name__}, not a wmloop.pipelines.Pipeline")
    return pipeline
