"""PPO in the real environment on the features of V and M: what world-model is without dreams, and their true rival."""

from dataclasses import replace

from wmloop.pipelines import metrics
from wmloop.pipelines.pipeline import Pipeline, Stage, weights_file
from wmloop.pipelines.world_model import WORLD_MODEL

PPO_FEATURES = Pipeline(
    "ppo-features",
    (
        replace(
            WORLD_MODEL.row("rollout"), once=True, carries=(), about="collects random episodes",
            metrics=metrics.RANDOM_ROLLOUT,
        ),
        WORLD_MODEL.row("vision"),
        WORLD_MODEL.row("memory"),
        Stage(
            "controller", "wmloop.stages.ppo_features:run",
            needs=("vision", "memory"), carries=("controller",), about="C learns in real episodes",
            unit="frames", headline=("score",), images=("real",), agent_files=(weights_file("actor"),),
            metrics=metrics.FEATURES_LEARNER,
        ),
        replace(WORLD_MODEL.row("evaluate"), metrics=metrics.EVALUATE_WITHOUT_MODEL),
    ),
    collected_by=("rollout", "controller"), scored_by="evaluate", agent="controller",
    load="wmloop.serving.world_model:load", accept="wmloop.serving.world_model:accept",
    settings="wmloop.config:PPOFeaturesConfig", shapes="wmloop.models.networks:shapes",
)  # fmt: skip
