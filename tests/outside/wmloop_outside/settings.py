"""The pipeline's settings: those of every run, and a group of its own."""

from typing import Annotated

from pydantic import Field

from wmloop import RunConfig
from wmloop.config.part import Count, Factor, Part, Positive, Share, Weight


class LinearGroup(Part):
    """How many episodes are collected, and PPO in the dream, in CleanRL's words."""

    episodes: Annotated[Count, Field(description="real episodes in each iteration")] = 16
    replay: Annotated[Count, Field(description="newest iterations whose episodes are learnt from")] = 10
    updates: Annotated[Count, Field(description="PPO iterations in each iteration")] = 10
    num_dreams: Annotated[Count, Field(description="dreams side by side")] = 128
    horizon: Annotated[Count, Field(description="agent steps of a dream")] = 10
    learning_rate: Annotated[Positive, Field(description="Adam")] = 0.003
    gamma: Annotated[Factor, Field(description="discount per agent step")] = 0.95
    gae_lambda: Annotated[Share, Field(description="GAE's lambda")] = 0.9
    update_epochs: Annotated[Count, Field(description="passes over each batch of dreams")] = 4
    minibatch_size: Annotated[Count, Field(description="dream steps a gradient step")] = 320
    clip_coef: Annotated[Positive, Field(description="PPO's trust region")] = 0.2
    ent_coef: Annotated[Weight, Field(description="entropy bonus")] = 0.0
    vf_coef: Annotated[Weight, Field(description="value loss weight")] = 0.5
    max_grad_norm: Annotated[Positive, Field(description="gradient norm bound")] = 0.5
    target_kl: Annotated[Positive, Field(description="an update stops where approx_kl passes this")] = 0.05
    ref_kl_coef: Annotated[Weight, Field(description="weight of the KL divergence from the stage's first policy")] = 0.0


class LinearConfig(RunConfig):
    """All settings of a run."""

    linear: LinearGroup = LinearGroup()

    @property
    def replay(self):
        return self.linear.replay
