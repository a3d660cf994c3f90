"""PPO without a world model: Kuth, Stermann & Heitzer's network (2021) on grey pictures, trained in the real environment."""

from wmloop.pipelines import metrics
from wmloop.pipelines.pipeline import Pipeline, Stage

VANILLA_PPO = Pipeline(
    "vanilla-ppo",
    (
        Stage(
            "learner", "wmloop.stages.vanilla_ppo:run",
            carries=("learner",),
            unit="frames", headline=("score",), images=("real",), agent_files=("actor.safetensors",),
            metrics=metrics.LEARNER,
        ),
        Stage(
            "evaluate", "wmloop.stages.evaluate:run",
            needs=("learner",),
            unit="frames", headline=("confirmed_score", "score"), images=("real",),
            metrics=metrics.EVALUATE_WITHOUT_MODEL,
        ),
    ),
    collected_by="learner", scored_by="evaluate", agent="learner",
    load="wmloop.serving.vanilla_ppo:load", accept="wmloop.serving.vanilla_ppo:accept",
    settings="wmloop.config:VanillaPPOConfig", shapes="wmloop.training.vanilla_ppo:shapes",
)  # fmt: skip
