"""C's settings, those of its policy and of the PPO that trains it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wmloop.config.part import Count, Factor, Number, Part, Positive, Share, Size, Weight, Whole, ascending


class ActorConfig(Part):
    """C's policy, whatever trains it."""

    actor: Annotated[
        Literal["mlp", "linear", "hidden"],
        Field(
            description="policy network on (z, h). mlp: hidden layers of 256, 256, 128 and 64 units; linear: no"
            " hidden layer, as in Ha and Schmidhuber 2018; hidden: one hidden layer of 40 tanh units, as in their V model with"
            " a hidden layer"
        ),
    ] = "mlp"
    inputs: Annotated[
        Literal["z and h", "z"],
        Field(
            description="what policy and value network see of (z, h). z: the latent vector alone, without the LSTM's"
            " hidden state: the world model is then only what the policy is trained in (Ha and Schmidhuber 2018: V model only)"
        ),
    ] = "z and h"
    log_std_bounds: Annotated[
        tuple[Annotated[Number, Field(ge=-20, le=10)], Annotated[Number, Field(ge=-20, le=10)]],
        AfterValidator(ascending),
        Field(description="smallest and largest log standard deviation of the policy's actions"),
    ] = (-3.0, 0.0)


class ControllerConfig(ActorConfig):
    """C and the PPO that trains it, only inside the dream."""

    critic: Annotated[
        Literal["plain", "attention"],
        Field(
            description="value network on (z, h). plain: an MLP; attention: attention over parts of (z, h), then an MLP"
        ),
    ] = "plain"
    initial_updates: Annotated[
        Whole,
        Field(description="PPO updates in iteration 0 of the run; each learns from one new batch of imagined episodes"),
    ] = 60
    updates: Annotated[Whole, Field(description="PPO updates in each later iteration of the run")] = 50
    update_epochs: Annotated[Count, Field(description="passes over each batch of imagined episodes")] = 3
    minibatch_size: Annotated[Size, Field(description="imagined agent steps per gradient step")] = 2048
    learning_rate: Annotated[
        Positive,
        Field(description="Adam's learning rate; linear warm-up, then cosine decay to a tenth, in each iteration"),
    ] = 3e-4
    gamma: Annotated[Factor, Field(description="discount per agent step")] = 0.98
    plateau_gamma: Annotated[
        Factor | None,
        Field(
            description="gamma from the iteration on in which two evaluation scores in a row have been no new best"
            " (none: gamma stays as it is)"
        ),
    ] = None
    gae_lambda: Annotated[Share, Field(description="lambda of generalised advantage estimation")] = 0.95
    clip_coef: Annotated[Positive, Field(description="clipping of PPO's probability ratio")] = 0.2
    ent_coef: Annotated[Weight, Field(description="weight of the entropy bonus")] = 0.003
    vf_coef: Annotated[Weight, Field(description="weight of the value loss")] = 0.5
    max_grad_norm: Annotated[
        Positive, Field(description="maximum norm for gradient clipping, of policy and value network each")
    ] = 0.5
    target_kl: Annotated[
        Positive,
        Field(
            description="early stopping: once approx_kl of a minibatch exceeds this, the policy is not changed"
            " further in this PPO update; the value function still is"
        ),
    ] = 0.045
    ref_kl_coef: Annotated[
        Weight,
        Field(
            description="weight of a KL penalty that holds the policy near the one that the iteration's training"
            " began with"
        ),
    ] = 0.03
