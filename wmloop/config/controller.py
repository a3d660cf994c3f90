"""C's settings, and PPO's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wmloop.config.part import Count, Factor, Number, Part, Positive, Share, Size, Weight, Whole, ascending


class ControllerConfig(Part):
    """C and the PPO that trains it, only inside the dream."""

    actor: Annotated[
        Literal["mlp", "linear"],
        Field(description="mlp: Kuth et al. 2021; linear: Ha & Schmidhuber 2018"),
    ] = "mlp"
    critic: Annotated[Literal["plain", "attention"], Field(description="the value network")] = "plain"
    initial_updates: Annotated[Whole, Field(description="PPO iterations in iteration 0")] = 60
    updates: Annotated[Whole, Field(description="PPO iterations in each later iteration")] = 50
    update_epochs: Annotated[Count, Field(description="passes over each batch of dreams")] = 3
    minibatch_size: Annotated[Size, Field(description="dream steps a gradient step")] = 2048
    learning_rate: Annotated[
        Positive, Field(description="Adam; warms up, then decays to a tenth, within an iteration")
    ] = 3e-4
    gamma: Annotated[Factor, Field(description="discount per decision")] = 0.98
    plateau_gamma: Annotated[
        Factor | None,
        Field(description="gamma from the iteration on in which two scores in a row were no new best (none: never)"),
    ] = None
    gae_lambda: Annotated[Share, Field(description="GAE's lambda")] = 0.95
    reward_saturation: Annotated[
        Positive | None,
        Field(
            description="a decision's reward counts ever less up to this and no more beyond it, once C's mean real reward a"
            " decision has reached it (none: never)"
        ),
    ] = None
    clip_coef: Annotated[Positive, Field(description="PPO's trust region")] = 0.2
    ent_coef: Annotated[Weight, Field(description="entropy bonus")] = 0.003
    vf_coef: Annotated[Weight, Field(description="value loss weight")] = 0.5
    max_grad_norm: Annotated[Positive, Field(description="gradient norm bound")] = 0.5
    target_kl: Annotated[Positive, Field(description="an update stops where approx_kl passes this")] = 0.045
    ref_kl_coef: Annotated[
        Weight, Field(description="weight of the KL divergence (nats) from the policy the stage began with")
    ] = 0.03
    log_std_bounds: Annotated[
        tuple[Annotated[Number, Field(ge=-20, le=10)], Annotated[Number, Field(ge=-20, le=10)]],
        AfterValidator(ascending),
        Field(description="bounds of the policy's log standard deviation"),
    ] = (-3.0, 0.0)
