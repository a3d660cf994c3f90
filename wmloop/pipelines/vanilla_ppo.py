"""PPO in the real environment: the network of Kuth, Stermann & Heitzer (2021) on grey pictures, no world model."""

from wmloop.pipelines import metrics
from wmloop.pipelines.pipeline import Pipeline, Stage, weights_file

VANILLA_PPO = Pipeline(
    "vanilla-ppo",
    (
        Stage(
            "learner", "wmloop.stages.vanilla_ppo:run",
            carries=("learner",), about="PPO on real episodes",
            unit="frames", headline=("score",), images=("real",), agent_files=(weights_file("actor"),),
            metrics=metrics.LEARNER,
        ),
        Stage(
            "evaluate", "wmloop.stages.evaluate:run",
            needs=("learner",), about="scores real episodes",
            unit="frames", headline=("confirmed_score", "score"), images=("real",),
            metrics=metrics.EVALUATE_WITHOUT_MODEL,
        ),
    ),
    collected_by="learner", scored_by="evaluate", agent="learner",
    load="wmloop.serving.vanilla_ppo:load", accept="wmloop.serving.vanilla_ppo:accept",
    settings="wmloop.config:VanillaPPOConfig", shapes="wmloop.training.vanilla_ppo:shapes",
    fits="wmloop.serving.vanilla_ppo:fits",
)  # fmt: skip
