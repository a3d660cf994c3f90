"""Ha & Schmidhuber 2018: a linear C on what V and M make of pictures, evolved by CMA-ES in reality, or inside M."""

from dataclasses import replace

from wmloop.pipelines import metrics
from wmloop.pipelines.pipeline import Pipeline, Stage, weights_file
from wmloop.pipelines.world_model import WORLD_MODEL

_FIRST = [WORLD_MODEL.row(name) for name in ("rollout", "vision", "memory")]
HS18 = Pipeline(
    "hs18",
    (
        replace(_FIRST[0], once=True, carries=(), metrics=metrics.RANDOM_ROLLOUT),
        *(replace(stage, once=True, carries=()) for stage in _FIRST[1:]),
        Stage(
            "controller", "wmloop.stages.real_evolution:run",
            needs=("vision", "memory"), carries=("controller",), about="CMA-ES evolves C on real episodes",
            unit="frames", headline=("score",), images=("real",), agent_files=(weights_file("actor"),),
            metrics=metrics.REAL_EVOLUTION,
        ),
        WORLD_MODEL.row("evaluate"),
    ),
    collected_by=("rollout", "controller"), scored_by="evaluate", agent="controller",
    load="wmloop.serving.world_model:load", accept="wmloop.serving.world_model:accept",
    dreams=True, settings="wmloop.config:HS18Config", shapes="wmloop.training.evolution:shapes",
    fits="wmloop.training.evolution:fits", starts="wmloop.training.starts:remembered",
)  # fmt: skip

HS18_DREAM = replace(
    HS18, name="hs18-dream", collected_by="rollout", settings="wmloop.config:HS18DreamConfig",
    stages=(
        *_FIRST,
        Stage(
            "controller", "wmloop.stages.dream_evolution:run",
            needs=("vision", "memory"), carries=("evaluate",), carries_accepted=("controller",),
            about="CMA-ES evolves C inside M's dreams",
            unit="dream steps", headline=("dream_return",), images=("dream",), agent_files=(weights_file("actor"),),
            metrics=metrics.DREAM_EVOLUTION,
        ),
        WORLD_MODEL.row("evaluate"),
    ),
)  # fmt: skip
