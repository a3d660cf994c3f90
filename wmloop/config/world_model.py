"""All settings of a run of the pipeline world-model."""

from __future__ import annotations

from wmloop.config.controller import ControllerConfig
from wmloop.config.dream import DreamConfig
from wmloop.config.memory import MemoryConfig
from wmloop.config.rollout import RolloutConfig
from wmloop.config.run import RunConfig
from wmloop.config.vision import VisionConfig


class WorldModelConfig(RunConfig):
    """What V, M and C are, what they learn from and how."""

    rollout: RolloutConfig = RolloutConfig()
    vision: VisionConfig = VisionConfig()
    memory: MemoryConfig = MemoryConfig()
    dream: DreamConfig = DreamConfig()
    controller: ControllerConfig = ControllerConfig()

    @property
    def replay(self) -> int:
        """Return how many of the newest iterations' episodes are learnt from."""
        return self.rollout.replay_iterations

    @property
    def burn_in(self) -> int:
        """Return how many real decisions M has seen before a dream may begin."""
        return self.dream.burn_in

    @property
    def max_unrewarded(self) -> int | None:
        """Return after how many agent steps without a positive reward C's episode is truncated; None: never."""
        return self.rollout.max_unrewarded
