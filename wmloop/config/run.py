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

    episodes: Annotated[
        Count,
        Field(
            le=1_000_000,
            description="evaluation episodes after each iteration; their seeds are never trained on, but they rank iterations",
        ),
    ] = 20
    confirm_episodes: Annotated[
        Count,
        Field(
            ge=2,
            le=1_000_000,
            description="further evaluation episodes, run when the score reaches budget.goal, to confirm it",
        ),
    ] = 100


class StoreConfig(Part):
    """How often a long stage saves itself, and what stays on the disk. These may change on resume."""

    snapshot_seconds: Annotated[
        Weight, Field(description="seconds between snapshots of a training stage, from which resume goes on")
    ] = 30.0
    keep_last: Annotated[
        Count | None,
        Field(
            description="how many of the newest iterations are kept complete, so that training can go on from each;"
            " of older ones only these files stay: metrics, the agents that keep_best and keep_every keep, and the"
            " episodes that training still uses (rollout.replay_iterations) (none: all are kept)"
        ),
    ] = None
    keep_best: Annotated[Count, Field(description="how many of the best agents are never deleted")] = 1
    keep_every: Annotated[Whole, Field(description="the agent of every n-th iteration is never deleted (0: none)")] = 0


class BudgetConfig(Part):
    """When the loop ends. These may change on resume."""

    iterations: Annotated[
        Count, Field(description="iterations at most; each is one pass through all stages of the pipeline")
    ] = 60
    hours: Annotated[
        Positive | None,
        Field(
            description="hours of work at most, over all resumes; time in which the run is stopped does not count"
            " (none: no limit)"
        ),
    ] = None
    goal: Annotated[
        Number | None,
        Field(
            description="mean score in the real environment that ends the run, once confirm_episodes further"
            " episodes show with 95% confidence that the true mean is not below it. Where you do not set it:"
            " the profile's, else the environment's reward_threshold in Gymnasium, if it has one. none, where you set it:"
            " no goal, and the run ends when its iterations or hours are used up"
        ),
    ] = None


class RunConfig(Part):
    """All settings of one run. Written once into the run's folder; `resume` reads it from there.

    These are common to all pipelines; a pipeline that brings groups of its own declares them in a subclass.
    """

    preset: Annotated[
        str,
        AfterValidator(_known),
        Field(
            description="named size of a run that the other settings start from. smoke: a short test that everything works;"
            " laptop: the defaults, for two CPU cores and a few gigabytes of memory; gpu: more environments, dreams and units"
            " (untested; `wmloop start` takes it where there is CUDA); paper: data and networks after Ha and Schmidhuber 2018,"
            " but PPO trains an MLP (untested)"
        ),
    ] = "laptop"
    pipeline: Annotated[
        Word,
        Field(
            description="what is trained, by name: world-model; vanilla-ppo (PPO in the real environment; it takes pictures"
            " and Box actions only); ppo-features (PPO in the real environment on V's and M's features); hs18 (Ha and"
            " Schmidhuber 2018: CMA-ES evolves a linear policy in the real environment) or hs18-dream (the same in dreams);"
            " packages can add more"
        ),
    ] = "world-model"
    seed: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=2**63 - 1,
            description="seed of the run; all random numbers are derived from it (`wmloop start` draws one)",
        ),
    ] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Field(description="device of the neural networks; auto: cuda where there is one, else cpu"),
    ] = "auto"
    threads: Annotated[
        Whole, Field(le=4_096, description="CPU threads for training (0: OMP_NUM_THREADS, or one per core)")
    ] = 0
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16", "bf16-mixed"],
        Field(
            description="fp32: full precision; tf32, bf16: the inputs of matrix products are rounded to that format,"
            " all else is float32; bf16-mixed: as bf16, and M's LSTM, and policy and value function that learn in"
            " dreams, are trained in mixed precision; auto: tf32 on CUDA (not measured); on a CPU bf16-mixed where that was"
            " measured to be faster, on processors with AMX and AMD's with AVX-512 BF16, else fp32"
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
    def learns_rewards(self) -> bool:
        """Tell whether a world model learns rewards, so that it can be asked for returns."""
        return True

    @property
    def burn_in(self) -> int:
        """Return how many agent steps of a real episode a world model observes before a dream may begin."""
        return 0

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many agent steps without a positive reward a collected episode is truncated; None: never."""
        return None
