"""The pipeline: its table of stages. Nothing is imported before it is needed."""

from wmloop import Pipeline, Stage

LINEAR = Pipeline(
    "linear",
    (
        Stage(
            "collect", "wmloop_outside.stages:collect",
            carries=("model", "controller"), unit="frames", headline=("score",), images=("real",),
        ),
        Stage(
            "model", "wmloop_outside.stages:model",
            needs=("collect",), unit="steps", headline=("error",), agent_files=("model.safetensors",),
        ),
        Stage(
            "controller", "wmloop_outside.stages:controller",
            needs=("model",), carries_accepted=("controller",),
            unit="dream steps", headline=("dream_return",), images=("dream",), agent_files=("actor.safetensors",),
        ),
        Stage(
            "evaluate", "wmloop.stages.evaluate:run",  # wmloop's own
            needs=("model", "controller"), unit="frames", headline=("confirmed_score", "score"), images=("real",),
        ),
    ),
    collected_by="collect", scored_by="evaluate", agent="controller",
    load="wmloop_outside.agent:load", accept="wmloop_outside.agent:accept", dreams=True,
    settings="wmloop_outside.settings:LinearConfig",
)  # fmt: skip
