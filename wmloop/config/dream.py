"""The dream's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wmloop.config.part import Part, Positive, Size, Whole


class DreamConfig(Part):
    """Imagined episodes inside M."""

    num_dreams: Annotated[Size, Field(description="dreams side by side")] = 1024
    horizon: Annotated[Size, Field(description="decisions dreamt before the value bootstraps")] = 15
    temperature: Annotated[
        Positive | Literal["auto"],
        Field(description="mixture temperature: logits/tau, sigma*sqrt(tau); auto follows the measured dream-real gap"),
    ] = 1.0
    burn_in: Annotated[Whole, Field(description="real decisions M has seen before a dream branches off")] = 0
