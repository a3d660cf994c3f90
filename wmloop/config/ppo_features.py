"""All settings of a run of the pipeline ppo-features."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wmloop.config.controller import ActorCriticConfig
from wmloop.config.part import Count, Positive, Size, Weight
from wmloop.config.world_model import VisionMemoryConfig


class RealControllerConfig(ActorCriticConfig):
    """C and the PPO that trains it, only in the real environment."""

    batch_size: Annotated[
        Count,
        Field(description="agent steps per PPO update: about as many, in whole real episodes of the current policy"),
    ] = 1024
    update_epochs: Annotated[Count, Field(description="passes over each batch of episodes")] = 10
    minibatch_size: Annotated[Size, Field(description="agent steps per gradient step")] = 64
    learning_rate: Annotated[Positive, Field(description="Adam's learning rate")] = 3e-4
    ref_kl_coef: Annotated[
        Weight,
        Field(description="weight of a KL penalty that holds the policy near the one that collected the episodes"),
    ] = 0.0


class PPOFeaturesConfig(VisionMemoryConfig):
    """What V, M and C are, what they learn from and how: C in real episodes."""

    controller: RealControllerConfig = RealControllerConfig()

    @property
    def updates(self) -> int:
        """Return how many PPO updates an iteration has: its frames, in batches."""
        return max(1, round(self.rollout.frames / self.env.action_repeat / self.controller.batch_size))
