"""The real environment, and how it is looked at."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wmloop.config.part import (
    Count,
    Number,
    Part,
    Positive,
    Range,
    Share,
    Size,
    Weight,
    Whole,
    Word,
    ascending,
    written,
)


def _rectangle(crop: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, bottom, left, right = crop
    if top >= bottom or left >= right:
        raise ValueError("the numbers are top, bottom, left, right: bottom must be above top, and right above left")
    return crop


def _distinct(dimensions: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(dimensions)) < len(dimensions):
        raise ValueError("it names a dimension twice")
    return dimensions


def _named(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return written(text)


#: Frames after which an episode is cut where neither the environment nor a setting has a limit.
UNLIMITED_FRAMES = 1000


class RandomDriving(Part):
    """The first policy: temporally correlated random actions, varied per episode (an Ornstein-Uhlenbeck walk).

    Each tuple has one (low, high) pair per action dimension, in the environment's units; an episode draws its own value
    from it. Where a tuple is empty the action's own range decides.
    """

    mean: Annotated[
        tuple[Range, ...],
        Field(
            description="range of the episode's mean action, per dimension; empty: the middle half of the action's range"
        ),
    ] = ()
    std: Annotated[
        tuple[Annotated[tuple[Weight, Weight], AfterValidator(ascending)], ...],
        Field(
            description="range of the episode's noise scale, per dimension; empty: an eighth to a half of the action's range"
        ),
    ] = ()
    autocorrelation: Annotated[
        tuple[Share, Share],
        AfterValidator(ascending),
        Field(description="range of the walk's memory per decision, 0 white, 1 frozen"),
    ] = (
        0.6,
        0.9,
    )
    initial_offset: Annotated[
        tuple[Number, ...],
        Field(description="added to the mean in the first decisions, per dimension; empty: nothing"),
    ] = ()
    initial_decisions: Annotated[Whole, Field(description="decisions over which the boost fades out")] = 0


class EnvConfig(Part):
    """The real environment and how it is looked at."""

    id: Annotated[
        str, AfterValidator(_named), Field(description="Gymnasium id; observations are RGB pixels, actions a Box")
    ] = "CarRacing-v3"
    kwargs: Annotated[dict[Word, bool | int | float | Word], Field(description="passed to the environment")] = {}  # noqa: RUF012
    action_repeat: Annotated[Count, Field(description="frames per decision; rewards are summed over them")] = 1
    crop: Annotated[
        Annotated[tuple[Whole, Whole, Whole, Whole], AfterValidator(_rectangle)] | None,
        Field(
            description="rows and columns kept: top, bottom, left, right (none: all); then area-averaged to what V sees"
        ),
    ] = None
    mirrored_actions: Annotated[
        tuple[Whole, ...],
        AfterValidator(_distinct),
        Field(
            description="action dimensions whose sign flips in a mirrored world; empty where mirroring is no symmetry"
        ),
    ] = ()
    episode_frames: Annotated[
        Count | None,
        Field(
            description=f"frames of an episode at most (none: the environment's own limit, or {UNLIMITED_FRAMES} where it has"
            " none)"
        ),
    ] = None
    random_policy: Annotated[RandomDriving, Field(description="the random policy of iteration 0")] = RandomDriving()
    num_envs: Annotated[Size, Field(le=10_000, description="copies driven side by side")] = 20
    engine: Annotated[Word, Field(description="what drives the copies: processes of this machine")] = "processes"
    worker_timeout: Annotated[
        Positive,
        Field(le=1_000_000, description="seconds in which a copy has to begin, reset or decide, or it counts as hung"),
    ] = 120.0

    @property
    def most_frames(self) -> int:
        """Return the frames that an episode has at most."""
        return self.episode_frames or UNLIMITED_FRAMES
