"""All settings of a run of the pipeline vanilla-ppo."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wmloop.config.part import Count, Factor, Number, Part, Positive, Share, Size, Weight, ascending
from wmloop.config.run import RunConfig


class PPOConfig(Part):
    """PPO in the real environment, on grey pictures."""

    updates: Annotated[
        Count,
        Field(description="PPO iterations in an iteration; each drives an episode in every copy and learns from it"),
    ] = 8
    max_unrewarded: Annotated[
        Count | None,
        Field(description="decisions without any positive reward after which an episode is stopped (truncated)"),
    ] = None
    stack: Annotated[Size, Field(le=100, description="newest pictures that the network sees at once (the seed: 1)")] = 1
    reward_scale: Annotated[Positive, Field(description="unit of rewards inside the networks")] = 1.0
    update_epochs: Annotated[Count, Field(description="passes over each batch of episodes")] = 4
    minibatch_size: Annotated[Size, Field(description="decisions a gradient step")] = 256
    learning_rate: Annotated[Positive, Field(description="Adam")] = 3e-4
    gamma: Annotated[Factor, Field(description="discount per decision (the seed: 0.95)")] = 0.98
    gae_lambda: Annotated[Share, Field(description="GAE's lambda (the seed: 0.1)")] = 0.95
    clip_coef: Annotated[Positive, Field(description="PPO's trust region (the seed: 0.1)")] = 0.2
    ent_coef: Annotated[Weight, Field(description="entropy bonus")] = 0.003
    vf_coef: Annotated[Weight, Field(description="value loss weight")] = 0.5
    max_grad_norm: Annotated[Positive, Field(description="gradient norm bound")] = 0.5
    target_kl: Annotated[Positive, Field(description="an update stops where approx_kl passes this")] = 0.045
    ref_kl_coef: Annotated[
        Weight, Field(description="weight of the KL divergence (nats) from the policy that drove the episodes")
    ] = 0.0
    log_std_bounds: Annotated[
        tuple[Annotated[Number, Field(ge=-20, le=10)], Annotated[Number, Field(ge=-20, le=10)]],
        AfterValidator(ascending),
        Field(description="bounds of the policy's log standard deviation"),
    ] = (-3.0, 0.0)


class VanillaPPOConfig(RunConfig):
    """What the network on pictures is, and how it learns."""

    ppo: PPOConfig = PPOConfig()

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many decisions without any positive reward an episode is stopped; None: never."""
        return self.ppo.max_unrewarded
