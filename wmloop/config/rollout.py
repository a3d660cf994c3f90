"""What is collected in reality."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wmloop.config.part import Count, Part, Share, Weight, ascending


class RolloutConfig(Part):
    """What is collected in reality before each round of learning."""

    prefill: Annotated[
        tuple[tuple[Count, Count], ...],
        Field(
            min_length=1,
            description="iteration 0: (episodes, decisions at most) of random driving; where episodes end sooner, more of the"
            " last",
        ),
    ] = ((40, 250),)
    frames: Annotated[
        Count, Field(description="real frames C drives in each later iteration, as nearly as whole episodes")
    ] = 8_000
    replay_iterations: Annotated[Count, Field(description="newest iterations whose episodes are learnt from")] = 30
    max_unrewarded: Annotated[
        Count | None,
        Field(description="decisions without any positive reward after which C's episode is stopped (truncated)"),
    ] = None
    deterministic_fraction: Annotated[
        Share, Field(description="share of them driven without exploration noise and pushes")
    ] = 0.25
    perturb_prob: Annotated[
        Share, Field(description="chance per decision that a push begins: a held offset to C's action")
    ] = 0.0
    perturb_decisions: Annotated[
        tuple[Count, Count],
        AfterValidator(ascending),
        Field(description="shortest and longest push"),
    ] = (2, 12)
    perturb_std: Annotated[
        Weight, Field(description="standard deviation of a push per action dimension, in units of half its range")
    ] = 0.8
