"""All settings of a run that has V, M and C, by who trains C: PPO in dreams, CMA-ES in dreams or in reality."""

from __future__ import annotations

from wmloop.config.controller import ActorConfig, ControllerConfig
from wmloop.config.dream import DreamConfig, ImaginationConfig
from wmloop.config.evolution import DreamEvolutionConfig, EvolutionConfig
from wmloop.config.memory import MemoryConfig
from wmloop.config.rollout import CollectionConfig, RolloutConfig
from wmloop.config.run import RunConfig
from wmloop.config.vision import VisionConfig


class VisionMemoryConfig(RunConfig):
    """What V, M and C are, and what V and M learn from and how."""

    rollout: CollectionConfig = CollectionConfig()
    vision: VisionConfig = VisionConfig()
    memory: MemoryConfig = MemoryConfig()
    controller: ActorConfig = ActorConfig()

    @property
    def replay(self) -> int:
        """Return how many of the newest iterations' episodes are learnt from."""
        return self.rollout.replay_iterations

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many agent steps without a positive reward C's episode is truncated; None: never."""
        return self.rollout.max_unrewarded

    @property
    def learns_rewards(self) -> bool:
        """Tell whether M's reward heads are trained."""
        return self.memory.reward_weight > 0


class DreamingConfig(VisionMemoryConfig):
    """The same where M is dreamt in, by who trains C or by those who ask what it predicts."""

    rollout: RolloutConfig = RolloutConfig()
    dream: ImaginationConfig = ImaginationConfig()

    @property
    def burn_in(self) -> int:
        """Return how many real decisions M has seen before a dream may begin."""
        return self.dream.burn_in


class WorldModelConfig(DreamingConfig):
    """The settings of the pipeline world-model: PPO trains C in dreams."""

    dream: DreamConfig = DreamConfig()
    controller: ControllerConfig = ControllerConfig()


class HS18Config(DreamingConfig):
    """The settings of the pipeline hs18: CMA-ES evolves C in the real environment, where it drives without noise.

    Those of evolution reached 800 points on one task and one seed; those of Ha and Schmidhuber 2018 are in preset paper. V
    and M learn once, from the random episodes of `rollout.prefill`. So what other pipelines take for later iterations, and for
    their dreams, has no effect here: `rollout.frames`, `.replay_iterations`, `.deterministic_fraction` and `.perturb_*`,
    `vision.finetune_*`, `memory.train_steps`, `.steps_growth` and `.recency_decay`, `dream.temperature`.
    """

    controller: ActorConfig = ActorConfig(actor="linear", log_std_bounds=(-5.0, -5.0))
    evolution: EvolutionConfig = EvolutionConfig(population_size=128, episodes=1, sigma=0.05, covariance="diagonal")


class HS18DreamConfig(DreamingConfig):
    """The settings of the pipeline hs18-dream: CMA-ES evolves C in dreams; it explores with a constant deviation of 0.1."""

    controller: ActorConfig = ActorConfig(actor="linear", log_std_bounds=(-2.3, -2.3))
    evolution: DreamEvolutionConfig = DreamEvolutionConfig(
        generations=25, episodes=64, worst_fraction=0.25, sigma=0.03, covariance="diagonal", horizon=60
    )
