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
        Field(
            description="PPO updates per iteration of the run; each collects episodes_per_update episodes and learns from them"
        ),
    ] = 8
    episodes_per_update: Annotated[
        Count | None,
        Field(
            description="episodes that each PPO update collects, at most one in every parallel environment (none: one in each)"
        ),
    ] = None
    max_unrewarded: Annotated[
        Count | None,
        Field(
            description="agent steps in a row without a positive reward after which an episode is truncated (none: never);"
            " not in evaluation"
        ),
    ] = None
    stack: Annotated[
        Size, Field(le=100, description="frame stacking: newest images that the network is given (Kuth et al. 2021: 1)")
    ] = 1
    initial_action: Annotated[
        tuple[Number, ...],
        Field(
            description="mean action of the untrained policy, a number for each action dimension, in the environment's units"
            " (empty: the middle of each range)"
        ),
    ] = ()
    reward_scale: Annotated[Positive, Field(description="rewards are divided by this for training")] = 1.0
    reward_offset: Annotated[
        Number,
        Field(
            description="added to the reward of each agent step before that, for training (Kuth et al. 2021: 8, which pays for"
            " every step that the episode lasts)"
        ),
    ] = 0.0
    update_epochs: Annotated[Count, Field(description="passes over each batch of episodes")] = 4
    minibatch_size: Annotated[Size, Field(description="agent steps per gradient step")] = 256
    learning_rate: Annotated[Positive, Field(description="Adam's learning rate")] = 3e-4
    gamma: Annotated[Factor, Field(description="discount per agent step (Kuth et al. 2021: 0.95)")] = 0.98
    gae_lambda: Annotated[
        Share, Field(description="lambda of generalised advantage estimation (Kuth et al. 2021: 0.1)")
    ] = 0.95
    clip_coef: Annotated[Positive, Field(description="clipping of PPO's probability ratio (Kuth et al. 2021: 0.1)")] = (
        0.2
    )
    ent_coef: Annotated[Weight, Field(description="weight of the entropy bonus")] = 0.003
    vf_coef: Annotated[Weight, Field(description="weight of the value loss")] = 0.5
    max_grad_norm: Annotated[
        Positive, Field(description="maximum norm for gradient clipping, of policy and value network together")
    ] = 0.5
    target_kl: Annotated[
        Positive,
        Field(
            description="early stopping: once approx_kl of a minibatch exceeds this, the policy's loss is left out of this PPO"
            " update; the value function still learns, and moves the policy a little over their common layers"
        ),
    ] = 0.045
    ref_kl_coef: Annotated[
        Weight,
        Field(description="weight of a KL penalty that holds the policy near the one that collected the episodes"),
    ] = 0.0
    log_std_bounds: Annotated[
        tuple[Annotated[Number, Field(ge=-20, le=10)], Annotated[Number, Field(ge=-20, le=10)]],
        AfterValidator(ascending),
        Field(description="smallest and largest log standard deviation of the policy's actions"),
    ] = (-3.0, 0.0)


class VanillaPPOConfig(RunConfig):
    """What the network on pictures is, and how it learns."""

    ppo: PPOConfig = PPOConfig()

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many agent steps without a positive reward an episode is truncated; None: never."""
        return self.ppo.max_unrewarded
