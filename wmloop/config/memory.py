"""M's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wmloop.config.part import Count, Factor, Number, Part, Positive, Size, Weight, Whole


class MemoryConfig(Part):
    """M, the MDN-RNN with reward, done and next-action heads: P(z', r', d', a' | z, a, h)."""

    hidden_size: Annotated[Size, Field(description="LSTM width")] = 256
    num_mixtures: Annotated[Size, Field(description="Gaussians per latent dimension")] = 5
    sequence_length: Annotated[Size, Field(description="decisions per training sequence")] = 32
    batch_size: Annotated[Size, Field(description="sequences a step")] = 32
    learning_rate: Annotated[Positive, Field(description="Adam; warms up and decays to a tenth")] = 2e-3
    beta2: Annotated[
        Weight, Field(lt=1, description="share of Adam's mean squared gradient that is kept at each step")
    ] = 0.95
    initial_steps: Annotated[Count, Field(description="gradient steps in iteration 0")] = 800
    train_steps: Annotated[Whole, Field(description="gradient steps in each later iteration")] = 1000
    steps_growth: Annotated[
        Positive, Field(ge=1, le=10, description="factor of `steps` for each iteration in the replay")
    ] = 1.05
    input_noise: Annotated[Weight, Field(description="noise on M's input z, in posterior standard deviations")] = 1.0
    reward_scale: Annotated[
        Positive | Literal["auto"],
        Field(
            description="rewards are divided by this; auto: the root mean square of the first ones that are not zero"
        ),
    ] = "auto"
    reward_min: Annotated[
        Number | None, Field(description="smallest reward the reward head is asked to predict, but of an end (or none)")
    ] = None
    reward_weight: Annotated[Weight, Field(description="weight of the reward loss")] = 2.0
    terminated_weight: Annotated[Positive, Field(description="weight of terminated steps in the done loss")] = 10.0
    action_weight: Annotated[Weight, Field(description="weight of the next-action loss")] = 0.1
    recency_decay: Annotated[Factor, Field(description="sampling weight lost per iteration of an episode's age")] = 0.8
    max_grad_norm: Annotated[Positive, Field(description="gradient norm bound")] = 1.0
