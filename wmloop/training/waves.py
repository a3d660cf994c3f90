"""How many episodes are driven, and which: a wave at a time, so that what is driven depends on its place alone."""

from __future__ import annotations

from wmloop.agents.collector import EpisodeTask
from wmloop.config import DreamingConfig, VisionMemoryConfig
from wmloop.seeding import training_seed
from wmloop.training.context import StageContext
from wmloop.training.tally import Tally


def decisions_of_first(config: VisionMemoryConfig) -> int:
    """Return how many decisions of random driving iteration 0 is to have."""
    return sum(episodes * decisions for episodes, decisions in config.rollout.prefill)


def still_to_drive(wanted: float, mean: float, most: int) -> int:
    """Return how many episodes of `mean` length are nearest to what is still `wanted`, and at most `most`.

    No episode is cut for it, and none is chosen by its length.
    """
    return min(most, max(0, round(wanted / mean)))


def first_wave(ctx: StageContext[VisionMemoryConfig], driven: Tally) -> list[EpisodeTask]:
    """Return the next wave of random driving: as planned, then more of the last kind until the decisions are there."""
    limits = [limit for count, limit in ctx.config.rollout.prefill for _ in range(count)]
    width, left = ctx.config.env.num_envs, len(limits) - driven.episodes
    if left <= 0:
        share = driven.decisions / sum(limits + [limits[-1]] * -left)  # of what was planned that came about
        width = still_to_drive(decisions_of_first(ctx.config) - driven.decisions, share * limits[-1], width)
        limits += [limits[-1]] * (width - left)
    return [EpisodeTask(_seed(ctx, i), limit) for i, limit in enumerate(limits)][
        driven.episodes : driven.episodes + width
    ]


def policy_wave(ctx: StageContext[DreamingConfig], driven: Tally) -> list[EpisodeTask]:
    """Return the next wave that C drives, of as many episodes as the frames still wanted have, as long as those before.

    Before the first the length is that of the iteration before, and where that was random driving, the longest there is.
    """
    config, episodes, frames = ctx.config, driven.episodes, driven.frames
    if episodes:
        mean = frames / episodes
    else:
        before = ctx.collected()[-1]
        length = before.metrics["frames"] / before.metrics["episodes"]
        mean = length if before.iteration else config.env.most_frames
    width = still_to_drive(config.rollout.frames - frames, mean, config.env.num_envs)
    if not episodes:
        width = max(1, width)
    share = config.rollout.deterministic_fraction
    numbers = range(episodes, episodes + width)
    return [EpisodeTask(_seed(ctx, n), deterministic=int((n + 1) * share) > int(n * share)) for n in numbers]


def _seed(ctx: StageContext[VisionMemoryConfig], number: int) -> int:
    return training_seed(ctx.config.seed, ctx.iteration, "track", number)
