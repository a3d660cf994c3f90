"""All settings of a run of the pipeline world-model, and those of every run that has V, M and C."""

from __future__ import annotations

from wmloop.config.controller import ActorCriticConfig, ControllerConfig
from wmloop.config.dream import DreamConfig
from wmloop.config.memory import MemoryConfig
from wmloop.config.rollout import CollectionConfig, RolloutConfig
from wmloop.config.run import RunConfig
from wmloop.config.vision import VisionConfig


class VisionMemoryConfig(RunConfig):
    """What V, M and C are, and what they learn from."""

    rollout: CollectionConfig = CollectionConfig()
    vision: VisionConfig = VisionConfig()
    memory: MemoryConfig = MemoryConfig()
    controller: ActorCriticConfig = ActorCriticConfig()

    @property
    def replay(self) -> int:
        """Return how many of the newest iterations' episodes are learnt from."""
        return self.rollout.replay_iterations

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many agent steps without a positive reward C's episode is truncated; None: never."""
        return self.rollout.max_unrewarded


class WorldModelConfig(VisionMemoryConfig):
    """What V, M and C are, what they learn from and how: C in dreams."""

    rollout: RolloutConfig = RolloutConfig()
    dream: DreamConfig = DreamConfig()
    controller: ControllerConfig = ControllerConfig()

    @property
    def burn_in(self) -> int:
        """Return how many real decisions M has seen before a dream may begin."""
        return self.dream.burn_in
