"""The default pipeline: the loop of Learning to Think (Schmidhuber 2015), with C trained by PPO inside M."""

from wmloop.pipelines import metrics
from wmloop.pipelines.pipeline import Pipeline, Stage, weights_file

WORLD_MODEL = Pipeline(
    "world-model",
    (
        Stage(
            "rollout", "wmloop.stages.rollout:run",
            carries=("vision", "memory", "controller"),
            about="collects real episodes", unit="frames", headline=("score",), images=("real",),
            metrics=metrics.ROLLOUT,
        ),
        Stage(
            "vision", "wmloop.stages.vision:run",
            needs=("rollout",), carries=("vision",), about="V turns them into latents",
            unit="images", headline=("recon_loss", "newest_recon_loss"), images=("real", "reconstruction"),
            agent_files=(weights_file("model"),), metrics=metrics.VISION, data_parallel=True,
        ),
        Stage(
            "memory", "wmloop.stages.memory:run",
            needs=("rollout", "vision"), carries=("memory",), about="M learns to predict them",
            unit="sequence steps", headline=("nll",), agent_files=(weights_file("model"),), metrics=metrics.MEMORY,
            data_parallel=True,
        ),
        Stage(
            "controller", "wmloop.stages.controller:run",
            needs=("vision", "memory"), carries=("evaluate",), carries_accepted=("controller",),
            about="C learns inside M's dreams",
            unit="dream steps", headline=("dream_return",), images=("dream",), agent_files=(weights_file("actor"),),
            metrics=metrics.CONTROLLER, data_parallel=True,
        ),
        Stage(
            "evaluate", "wmloop.stages.evaluate:run",
            needs=("vision", "memory", "controller"), about="scores real episodes",
            unit="frames", headline=("confirmed_score", "score"), images=("real",), metrics=metrics.EVALUATE,
        ),
    ),
    collected_by="rollout", scored_by="evaluate", agent="controller",
    load="wmloop.serving.world_model:load", accept="wmloop.serving.world_model:accept",
    dreams=True, settings="wmloop.config:WorldModelConfig", shapes="wmloop.models.networks:shapes",
    fits="wmloop.serving.world_model:fits",
    starts="wmloop.training.starts:remembered",
)  # fmt: skip
