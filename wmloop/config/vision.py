"""V's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wmloop.config.part import Count, Part, Positive, Size, Weight, Whole


class VisionConfig(Part):
    """V, the convolutional VAE: pictures -> z."""

    network: Annotated[
        Literal["compact", "equalised", "light", "ha2018"],
        Field(
            description="light: four convolutions of half Ha & Schmidhuber's width; equalised: they see the values' ranks, too;"
            " compact: as equalised, with three convolutions, the first of stride 4; ha2018: Ha & Schmidhuber's"
        ),
    ] = "compact"
    latent_size: Annotated[Size, Field(description="size of z")] = 32
    recon_weight: Annotated[Positive, Field(description="weight of the summed squared error against the KL")] = 30.0
    reward_aux_weight: Annotated[
        Weight, Field(description="weight of the squared error of the next decisions' rewards as predicted from z")
    ] = 1000.0
    free_nats: Annotated[Weight, Field(description="free nats per latent dimension (HS18: 0.5)")] = 0.0
    batch_size: Annotated[Size, Field(description="images a step")] = 32
    learning_rate: Annotated[Positive, Field(description="Adam, iteration 0; warms up and decays to a tenth")] = 3e-3
    finetune_learning_rate: Annotated[Positive, Field(description="Adam, later iterations")] = 1e-3
    beta2: Annotated[
        Weight, Field(lt=1, description="share of Adam's mean squared gradient that is kept at each step")
    ] = 0.95
    frame_cache: Annotated[Count, Field(description="images unpacked at a time, 12 KiB each")] = 40_000
    initial_images: Annotated[Count, Field(description="images trained on in iteration 0")] = 40_000
    finetune_images: Annotated[Whole, Field(description="images trained on in each later iteration")] = 24_000
    finetune_iterations: Annotated[
        Whole | None, Field(description="later iterations in which V still moves, then it is frozen (none: never)")
    ] = None
