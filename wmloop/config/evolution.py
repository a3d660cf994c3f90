"""The settings of CMA-ES."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wmloop.config.part import Count, Factor, Part, Positive, Size


class EvolutionConfig(Part):
    """CMA-ES, which evolves C by the return of whole episodes."""

    generations: Annotated[
        Count,
        Field(description="generations of CMA-ES per iteration of the run; each tries a new population of candidates"),
    ] = 10
    population_size: Annotated[
        int,
        Field(strict=True, ge=4, le=1_000_000, description="candidates of a generation (Ha and Schmidhuber 2018: 64)"),
    ] = 64
    episodes: Annotated[
        Size,
        Field(
            description="episodes that each candidate is tried in. They are the same for all candidates of a generation, and"
            " new ones in the next (Ha and Schmidhuber 2018: 16)"
        ),
    ] = 16
    worst_fraction: Annotated[
        Factor,
        Field(
            description="fraction of a candidate's episodes, its worst ones, whose mean return is its fitness (1: all, as in Ha"
            " and Schmidhuber 2018; less: the conditional value at risk of Rajeswaran et al. 2017). Less makes C safer, and"
            " slower"
        ),
    ] = 1.0
    sigma: Annotated[
        Positive,
        Field(
            description="standard deviation of the candidates' weights in the first generation; a fork goes on with what the"
            " search had"
        ),
    ] = 0.1
    covariance: Annotated[
        Literal["full", "diagonal"],
        Field(
            description="covariance of the candidates' weights. full: as in Ha and Schmidhuber 2018; diagonal: separable"
            " CMA-ES, which learns the scale of each weight faster, and nothing of how they depend on each other"
        ),
    ] = "full"


class DreamEvolutionConfig(EvolutionConfig):
    """CMA-ES on dreams."""

    horizon: Annotated[
        Size | None,
        Field(
            description="agent steps of an imagined episode, which then begins at any moment of the real episodes (none: as"
            " many as a real episode has at most, and each begins as a real episode did)"
        ),
    ] = None
