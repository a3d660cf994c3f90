"""The dream's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from wmloop.config.part import LARGEST, LEAST, Part, Size, Whole


class ImaginationConfig(Part):
    """What M imagines, whoever acts in it."""

    temperature: Annotated[
        Annotated[float, Field(strict=True, ge=LEAST, le=LARGEST)] | Literal["auto"],
        Field(
            description="temperature tau of the mixture that the next latent is drawn from: logits / tau, sigma *"
            " sqrt(tau); auto: raised if the real return of the last evaluation was below the predicted one"
            " (return_gap), lowered if it was above"
        ),
    ] = 1.0
    burn_in: Annotated[
        Whole,
        Field(
            description="agent steps at the start of a real episode from which no imagined episode begins: the LSTM"
            " has seen too little (except in episodes that are no longer)"
        ),
    ] = 0


class DreamConfig(ImaginationConfig):
    """Imagined episodes inside M, from which PPO learns."""

    num_dreams: Annotated[Size, Field(description="imagined episodes per PPO update")] = 1024
    horizon: Annotated[
        Size, Field(description="agent steps of an imagined episode, after which the value function bootstraps")
    ] = 15
    rewards: Annotated[
        Literal["predicted", "recorded"],
        Field(
            description="what an imagined agent step pays. predicted: what M predicts; recorded: what was really paid at the"
            " moment that the imagined episode begins at, whatever the policy does there, so that M needs no reward head (an"
            " ablation). Only the first agent step is known then, so it takes horizon=1"
        ),
    ] = "predicted"

    @field_validator("rewards")
    @classmethod
    def _known(cls, rewards: str, info: ValidationInfo) -> str:
        """Refuse recorded rewards where a dream goes on beyond the step that is recorded."""
        if rewards == "recorded" and info.data.get("horizon", 1) != 1:
            raise ValueError(
                f"what was recorded is known of the first agent step alone, and dreams have {info.data['horizon']}: it takes"
                " dream.horizon=1"
            )
        return rewards
