"""What is collected in reality."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wmloop.config.part import Count, Part, Share, Weight, ascending


class CollectionConfig(Part):
    """What is collected in reality, and how much of it is learnt from."""

    prefill: Annotated[
        tuple[tuple[Count, Count], ...],
        Field(
            min_length=1,
            description="episodes of the random policy in iteration 0: pairs of (episodes, agent steps each at"
            " most). Where episodes end early, more of the last pair follow until about as many agent steps have been"
            " collected",
        ),
    ] = ((40, 250),)
    frames: Annotated[
        Count,
        Field(
            description="environment steps (frames) collected by the policy in each later iteration: about as many, in whole"
            " episodes"
        ),
    ] = 8_000
    replay_iterations: Annotated[
        Count, Field(description="replay: how many of the newest iterations' episodes are trained on")
    ] = 30
    max_unrewarded: Annotated[
        Count | None,
        Field(
            description="agent steps in a row without a positive reward after which an episode is truncated (none: never);"
            " not in the random episodes of iteration 0, and not in evaluation"
        ),
    ] = None


class RolloutConfig(CollectionConfig):
    """What is collected in reality before each round of learning, and how it is explored."""

    deterministic_fraction: Annotated[
        Share, Field(description="fraction of the policy's episodes without exploration noise and perturbations")
    ] = 0.25
    perturb_prob: Annotated[
        Share,
        Field(
            description="probability per agent step that a perturbation begins, for some agent steps, so that the data show"
            " how to recover. Box: an offset that is added to the action; Discrete: a random action in its place, held"
        ),
    ] = 0.0
    perturb_decisions: Annotated[
        tuple[Count, Count],
        AfterValidator(ascending),
        Field(description="shortest and longest perturbation, in agent steps"),
    ] = (2, 12)
    perturb_std: Annotated[
        Weight,
        Field(
            description="Box actions: standard deviation of a perturbation in each dimension, in units of half the action's"
            " range"
        ),
    ] = 0.8
