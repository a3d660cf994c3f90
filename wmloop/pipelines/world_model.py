"""The mission: Learning to Think's loop with C trained by PPO inside M."""

from wmloop.pipelines.pipeline import Pipeline, Stage

WORLD_MODEL = Pipeline(
    "world-model",
    (
        Stage(
            "rollout", "wmloop.stages.rollout:run",
            carries=("vision", "memory", "controller"),
            unit="frames", headline=("score",), images=("real",),
        ),
        Stage(
            "vision", "wmloop.stages.vision:run",
            needs=("rollout",), carries=("vision",),
            unit="images", headline=("recon_loss", "newest_recon_loss"), images=("real", "reconstruction"),
            agent_files=("model.safetensors",),
        ),
        Stage(
            "memory", "wmloop.stages.memory:run",
            needs=("rollout", "vision"), carries=("memory",),
            unit="sequence steps", headline=("nll",), agent_files=("model.safetensors",),
        ),
        Stage(
            "controller", "wmloop.stages.controller:run",
            needs=("vision", "memory"), carries=("evaluate",), carries_accepted=("controller",),
            unit="dream steps", headline=("dream_return",), images=("dream",), agent_files=("actor.safetensors",),
        ),
        Stage(
            "evaluate", "wmloop.stages.evaluate:run",
            needs=("vision", "memory", "controller"),
            unit="frames", headline=("confirmed_score", "score"), images=("real",),
        ),
    ),
    collected_by="rollout", scored_by="evaluate", agent="controller",
    load="wmloop.serving.world_model:load", accept="wmloop.serving.world_model:accept",
    dreams=True, settings="wmloop.config:WorldModelConfig", shapes="wmloop.training.networks:shapes",
)  # fmt: skip
