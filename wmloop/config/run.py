"""The settings that every pipeline's runs have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wmloop.config.env import EnvConfig
from wmloop.config.part import Count, Number, Part, Positive, Weight, Whole, Word
from wmloop.config.presets import PRESETS


def _known(preset: str) -> str:
    if preset not in PRESETS:
        raise ValueError(f"it takes one of {', '.join(PRESETS)}")
    return preset


class EvaluateConfig(Part):
    """How an agent is scored in reality."""

    episodes: Annotated[Count, Field(le=1_000_000, description="held-out tracks after each iteration")] = 20
    confirm_episodes: Annotated[
        Count, Field(ge=2, le=1_000_000, description="further held-out tracks that confirm the goal")
    ] = 100


class StoreConfig(Part):
    """How often a long stage saves itself, and what stays on the disk. These may change on resume."""

    snapshot_seconds: Annotated[Weight, Field(description="seconds between snapshots inside a stage")] = 30.0
    keep_last: Annotated[
        Count | None,
        Field(description="newest iterations that training can go on from; older ones are pruned (none: all stay)"),
    ] = None
    keep_best: Annotated[Count, Field(description="best agents that are never pruned")] = 1
    keep_every: Annotated[Whole, Field(description="every so many-th agent is never pruned; 0: none")] = 0


class BudgetConfig(Part):
    """When the loop ends. These may change on resume."""

    iterations: Annotated[Count, Field(description="outer iterations at most")] = 60
    hours: Annotated[Positive | None, Field(description="wall-clock hours at most")] = None
    goal: Annotated[
        Number | None,
        Field(
            description="mean real score that ends the run, once further tracks confirm it with 95% certainty (none: it"
            " goes on to the last iteration)"
        ),
    ] = None


class RunConfig(Part):
    """All settings of one run. Written once into the run's folder; `resume` reads it from there.

    These are common to all pipelines; a pipeline that brings groups of its own declares them in a subclass.
    """

    preset: Annotated[str, AfterValidator(_known), Field(description="the preset these settings started from")] = (
        "laptop"
    )
    pipeline: Annotated[Word, Field(description="the system that is trained: a table of stages by its name")] = (
        "world-model"
    )
    seed: Annotated[
        int, Field(strict=True, ge=0, le=2**63 - 1, description="the run's seed; every random number derives from it")
    ] = 0
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="where V, M and C compute")] = "auto"
    threads: Annotated[Whole, Field(le=4_096, description="CPU threads of the learner, 0: one per core")] = 0
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16", "bf16-mixed"],
        Field(
            description="what factors of matrix products may be rounded to; bf16-mixed: M and C learn in mixed precision"
            " besides; auto: what suits the processor"
        ),
    ] = "auto"
    budget: BudgetConfig = BudgetConfig()
    env: EnvConfig = EnvConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    store: StoreConfig = StoreConfig()

    @classmethod
    def order(cls) -> list[str]:
        """Return the names in the order in which they are told: the groups of a pipeline before the last two."""
        return sorted(cls.model_fields, key=lambda name: name in ("evaluate", "store"))

    @property
    def replay(self) -> int:
        """Return how many of the newest iterations' episodes are learnt from."""
        return 1

    @property
    def burn_in(self) -> int:
        """Return how many real decisions a world model has seen before it is asked for a promise."""
        return 0

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many decisions without any positive reward a collected episode is stopped; None: never."""
        return None
