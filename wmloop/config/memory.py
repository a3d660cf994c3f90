"""M's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wmloop.config.part import Factor, Number, Part, Positive, Size, Weight, Whole


class MemoryConfig(Part):
    """M, the MDN-RNN with reward, done and next-action heads: P(z', r', d', a' | z, a, h)."""

    hidden_size: Annotated[Size, Field(description="units of the LSTM")] = 256
    num_mixtures: Annotated[Size, Field(description="Gaussians of the mixture for each latent dimension")] = 5
    sequence_length: Annotated[Size, Field(description="agent steps per training sequence")] = 32
    batch_size: Annotated[Size, Field(description="sequences per gradient step")] = 32
    learning_rate: Annotated[
        Positive,
        Field(description="Adam's learning rate; linear warm-up, then cosine decay to a tenth, in each iteration"),
    ] = 2e-3
    beta2: Annotated[Weight, Field(lt=1, description="Adam's beta2")] = 0.95
    initial_steps: Annotated[
        Whole, Field(description="gradient steps in iteration 0 (0, with train_steps=0: M's weights stay random)")
    ] = 800
    train_steps: Annotated[
        Whole, Field(description="gradient steps in iteration 1; steps_growth says how many later ones have")
    ] = 1000
    steps_growth: Annotated[
        Positive,
        Field(
            ge=1,
            le=10,
            description="factor on the gradient steps for each iteration after iteration 1, up to iteration"
            " rollout.replay_iterations; constant after that",
        ),
    ] = 1.05
    input_noise: Annotated[
        Weight,
        Field(
            description="the LSTM reads mean + input_noise * sigma * eps of the VAE's posterior: 0 the mean, 1 a sample"
        ),
    ] = 1.0
    reward_scale: Annotated[
        Positive | Literal["auto"],
        Field(
            description="rewards are divided by this for training; auto: the root mean square of the nonzero rewards"
            " of non-terminal steps (of terminal ones where no others are), in the first iteration whose episodes have any"
        ),
    ] = "auto"
    reward_min: Annotated[
        Number | None,
        Field(
            description="smaller rewards are raised to this for training, but not those of terminal steps (none: all"
            " stay as they are)"
        ),
    ] = None
    reward_weight: Annotated[
        Weight,
        Field(
            description="weight of the reward loss (squared error) (0: M learns no rewards; dreams then need"
            " dream.rewards=recorded)"
        ),
    ] = 2.0
    terminated_weight: Annotated[
        Positive,
        Field(
            description="weight of terminal steps in the termination loss (binary cross-entropy); predicted"
            " probabilities are corrected for it"
        ),
    ] = 10.0
    action_weight: Annotated[
        Weight, Field(description="weight of an auxiliary loss: the next action, predicted (squared error)")
    ] = 0.1
    recency_decay: Annotated[
        Factor,
        Field(
            description="factor on an episode's sampling weight for each iteration of its age (1: all are sampled alike);"
            " imagined episodes begin by the same weights"
        ),
    ] = 0.8
    max_grad_norm: Annotated[Positive, Field(description="maximum norm for gradient clipping")] = 1.0
