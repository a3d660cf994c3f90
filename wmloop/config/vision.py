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
            description="layers of the VAE. compact: three convolutions with group normalisation, on pixel values"
            " and on the same values after histogram equalisation; ha2018: those of Ha and Schmidhuber 2018",
            json_schema_extra={"enum": ["compact", "ha2018"]},  # the others are those of stored runs
        ),
    ] = "compact"
    latent_size: Annotated[Size, Field(description="dimensions of the latent vector z")] = 32
    recon_weight: Annotated[
        Positive,
        Field(
            description="weight of the reconstruction loss (squared error summed over an image); the KL loss has weight 1"
        ),
    ] = 30.0
    foreground_weight: Annotated[
        Weight,
        Field(
            description="extra weight of pixels that differ from a static background, for small moving things such as Pong's"
            " ball: a pixel's squared error counts 1 + foreground_weight * d times, where d in [0, 1] is the largest"
            " difference, over channels, from the median picture of the oldest rollout in the replay (0: all pixels count"
            " alike)"
        ),
    ] = 0.0
    reward_aux_weight: Annotated[
        Weight,
        Field(description="weight of an auxiliary loss: the next 8 rewards, predicted from z alone (squared error)"),
    ] = 1000.0
    free_nats: Annotated[
        Weight,
        Field(
            description="free nats: an image's KL, summed over dimensions, is not pushed below free_nats * latent_size"
            " (Ha and Schmidhuber 2018: 0.5)"
        ),
    ] = 0.0
    batch_size: Annotated[Size, Field(description="images per gradient step")] = 32
    learning_rate: Annotated[
        Positive, Field(description="Adam's learning rate in iteration 0; linear warm-up, then cosine decay to a tenth")
    ] = 3e-3
    finetune_learning_rate: Annotated[
        Positive, Field(description="Adam's learning rate in later iterations, with the same schedule")
    ] = 1e-3
    beta2: Annotated[Weight, Field(lt=1, description="Adam's beta2")] = 0.95
    frame_cache: Annotated[Count, Field(description="training images in memory at a time, 12 KiB each")] = 40_000
    initial_images: Annotated[
        Count, Field(description="training samples in iteration 0: gradient steps times batch_size")
    ] = 40_000
    finetune_images: Annotated[
        Whole, Field(description="training samples in each later iteration (0: the VAE is frozen after iteration 0)")
    ] = 24_000

    def images(self, iteration: int) -> int:
        """Return how many images V is trained on in an iteration: 0 where it is frozen."""
        return self.initial_images if iteration == 0 else self.finetune_images
