"""The dream's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wmloop.config.part import Part, Positive, Size, Whole


class DreamConfig(Part):
    """Imagined episodes inside M."""

    num_dreams: Annotated[Size, Field(description="imagined episodes per PPO update")] = 1024
    horizon: Annotated[
        Size, Field(description="agent steps of an imagined episode, after which the value function bootstraps")
    ] = 15
    temperature: Annotated[
        Positive | Literal["auto"],
        Field(
            description="temperature tau of the mixture that the next latent is drawn from: logits / tau, sigma *"
            " sqrt(tau); auto: raised where the last evaluation paid less than was predicted (return_gap), lowered"
            " where it paid more"
        ),
    ] = 1.0
    burn_in: Annotated[
        Whole,
        Field(
            description="agent steps at the start of a real episode from which no imagined episode begins: the LSTM"
            " has seen too little"
        ),
    ] = 0
