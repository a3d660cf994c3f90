"""PPO in the real environment on the features of V and M: what world-model is without dreams, and their true rival."""

from wmloop.pipelines import metrics
from wmloop.pipelines.pipeline import Pipeline, Stage, weights_file

PPO_FEATURES = Pipeline(
    "ppo-features",
    (
        Stage(
            "rollout", "wmloop.stages.rollout:run",
            once=True, about="collects random episodes", unit="frames", headline=("score",), images=("real",),
            metrics=metrics.ROLLOUT,
        ),
        Stage(
            "vision", "wmloop.stages.vision:run",
            needs=("rollout",), carries=("vision",), about="V turns them into latents",
            unit="images", headline=("recon_loss", "newest_recon_loss"), images=("real", "reconstruction"),
            agent_files=(weights_file("model"),), metrics=metrics.VISION,
        ),
        Stage(
            "memory", "wmloop.stages.memory:run",
            needs=("rollout", "vision"), carries=("memory",), about="M learns to predict them",
            unit="sequence steps", headline=("nll",), agent_files=(weights_file("model"),), metrics=metrics.MEMORY,
        ),
        Stage(
            "controller", "wmloop.stages.ppo_features:run",
            needs=("vision", "memory"), carries=("controller",), about="C learns in real episodes",
            unit="frames", headline=("score",), images=("real",), agent_files=(weights_file("actor"),),
            metrics=metrics.FEATURES_LEARNER,
        ),
        Stage(
            "evaluate", "wmloop.stages.evaluate:run",
            needs=("vision", "memory", "controller"), about="scores real episodes",
            unit="frames", headline=("confirmed_score", "score"), images=("real",),
            metrics=metrics.EVALUATE_WITHOUT_MODEL,
        ),
    ),
    collected_by=("rollout", "controller"), scored_by="evaluate", agent="controller",
    load="wmloop.serving.world_model:load", accept="wmloop.serving.world_model:accept",
    settings="wmloop.config:PPOFeaturesConfig", shapes="wmloop.models.networks:shapes",
)  # fmt: skip
