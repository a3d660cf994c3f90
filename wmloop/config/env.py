"""The real environment, and how it is looked at."""

from __future__ import annotations

from typing import Annotated, Any

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
        raise ValueError(
            "the numbers are first row, end row, first column, end column: each end must be greater than its first"
        )
    return crop


def _distinct(names: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(names)) < len(names):
        raise ValueError("it names one twice")
    return names


def _five(actions: tuple[int, ...]) -> tuple[int, ...]:
    if len(actions) not in (0, 5):
        raise ValueError("it has five: the actions of no key, left, right, up and down")
    return actions


def _several(bins: tuple[int, ...]) -> tuple[int, ...]:
    if len(bins) == 1:
        raise ValueError("it is one part, which leaves nothing to decide: two or more, such as [0, 1], or [] for none")
    return bins


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
            description="Box actions: (low, high) for each action dimension, in the environment's units: each episode"
            " draws its mean action from it (empty: the middle half of the action's range)"
        ),
    ] = ()
    std: Annotated[
        tuple[Annotated[tuple[Weight, Weight], AfterValidator(ascending)], ...],
        Field(
            description="Box actions: (low, high) for each action dimension: each episode draws the standard deviation"
            " of its actions from it (empty: an eighth to a half of the action's range)"
        ),
    ] = ()
    autocorrelation: Annotated[
        tuple[Share, Share],
        AfterValidator(ascending),
        Field(
            description="(low, high): each episode draws from it how strongly an action is correlated with the one"
            " before (Discrete: how probably it is repeated); 0: independent, 1: constant"
        ),
    ] = (
        0.6,
        0.9,
    )
    weights: Annotated[
        tuple[Weight, ...],
        Field(
            description="Discrete actions: how often each is drawn in proportion to the others, in their order, such as"
            " [1, 1, 3] (empty: all alike)"
        ),
    ] = ()
    initial_offset: Annotated[
        tuple[Number, ...],
        Field(
            description="Box actions: added to the mean action at the start of an episode, for each action dimension"
            " (empty: nothing)"
        ),
    ] = ()
    initial_decisions: Annotated[
        Whole, Field(description="agent steps over which initial_offset fades out linearly")
    ] = 0


class EnvConfig(Part):
    """The real environment and how it is looked at."""

    id: Annotated[
        str,
        AfterValidator(_named),
        Field(
            description="Gymnasium id, or module:id; its observations are a picture, a vector (Box, Discrete, MultiDiscrete"
            " or MultiBinary) or a Dict of these with one picture at most, its actions a bounded Box, a Discrete, or a"
            " MultiDiscrete or MultiBinary of at most 64 combinations"
        ),
    ] = "CarRacing-v3"
    kwargs: Annotated[
        dict[Word, bool | int | float | Word],
        Field(description="keyword arguments of gymnasium.make: numbers, texts, true or false"),
    ] = {}  # noqa: RUF012
    action_repeat: Annotated[
        Count,
        Field(description="environment steps (frames) per agent step, with the same action; their rewards are summed"),
    ] = 1
    observation: Annotated[
        tuple[Word, ...],
        AfterValidator(_distinct),
        Field(
            description="keys of a Dict observation that are looked at: one picture at most, and any vectors (empty: all"
            " keys)"
        ),
    ] = ()
    pixels: Annotated[
        bool,
        Field(
            description="look at what the environment renders (render_mode rgb_array) in the place of its observations,"
            " as Gymnasium's AddRenderObservation(render_only=True) does"
        ),
    ] = False
    crop: Annotated[
        Annotated[tuple[Whole, Whole, Whole, Whole], AfterValidator(_rectangle)] | None,
        Field(
            description="crop box of pictures, in pixels: first row, end row, first column, end column, e.g. [0, 84, 0, 96]"
            " (none: the whole image); it is then scaled to what the networks take, by area averaging"
        ),
    ] = None
    action_bins: Annotated[
        tuple[Whole, ...],
        AfterValidator(_several),
        Field(
            description="for Discrete actions: the policy outputs one number in [-1, 1], whose range is cut into as many equal"
            " parts as there are entries here; each is the action of its part, the lowest part first, e.g. [2, 0, 1], as in Ha"
            " and Schmidhuber 2018 (empty: the policy chooses one of the actions)"
        ),
    ] = ()
    mirrored_actions: Annotated[
        tuple[Whole, ...],
        AfterValidator(_distinct),
        Field(
            description="data augmentation by images mirrored left to right. Box: action dimensions that then change"
            " their sign. Discrete: for each action in order, the action that it becomes in the mirrored image, e.g. [0, 2, 1]"
            " (empty: no augmentation; vanilla-ppo has none)"
        ),
    ] = ()
    arrow_keys: Annotated[
        tuple[Whole, ...],
        AfterValidator(_five),
        Field(
            description="Discrete actions, in `wmloop play`: the actions of no key, left, right, up and down (empty: by"
            " the environment's own names of its actions if it has some; else of two actions 0 is left and 1 is right, and of"
            " more it is 0, 1, 2, 3, 4)"
        ),
    ] = ()
    episode_frames: Annotated[
        Count | None,
        Field(
            description="environment steps (frames) after which an episode is truncated (none: the environment's own"
            " limit, or"
            f" {UNLIMITED_FRAMES} where it has none)"
        ),
    ] = None
    random_policy: Annotated[
        RandomDriving, Field(description="the random policy that collects the episodes of iteration 0")
    ] = RandomDriving()
    num_envs: Annotated[
        Size,
        Field(le=10_000, description="parallel environments; in vanilla-ppo also the most episodes of a PPO update"),
    ] = 20
    engine: Annotated[
        Word,
        Field(
            description="what runs the parallel environments: processes (of this machine), ray (a cluster of machines), or one"
            " from another package"
        ),
    ] = "processes"
    worker_timeout: Annotated[
        Positive,
        Field(
            le=1_000_000, description="seconds an environment may take to start, reset or step before it counts as hung"
        ),
    ] = 120.0

    @property
    def most_frames(self) -> int:
        """Return the frames that an episode has at most."""
        return self.episode_frames or UNLIMITED_FRAMES

    @property
    def most_decisions(self) -> int:
        """Return the agent steps that an episode has at most."""
        return -(-self.most_frames // self.action_repeat)
