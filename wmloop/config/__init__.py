"""Every setting of a run: typed, frozen, documented, refused when unknown."""

from wmloop.config.build import (
    BASIS,
    beside_preset,
    build_config,
    changed_on_resume,
    changed_settings,
    common_groups,
    of_pipeline,
    preset_of,
    with_settings,
)
from wmloop.config.catalogue import Setting, explain
from wmloop.config.controller import ActorConfig, ActorCriticConfig, ControllerConfig
from wmloop.config.dream import DreamConfig
from wmloop.config.env import EnvConfig, RandomDriving
from wmloop.config.evolution import DreamEvolutionConfig, EvolutionConfig
from wmloop.config.memory import MemoryConfig
from wmloop.config.part import settings
from wmloop.config.ppo_features import PPOFeaturesConfig, RealControllerConfig
from wmloop.config.rollout import CollectionConfig, RolloutConfig
from wmloop.config.run import RunConfig
from wmloop.config.vanilla_ppo import PPOConfig, VanillaPPOConfig
from wmloop.config.world_model import DreamingConfig, HS18Config, HS18DreamConfig, VisionMemoryConfig, WorldModelConfig

__all__ = [
    "BASIS", "ActorConfig", "ActorCriticConfig", "CollectionConfig", "ControllerConfig", "DreamConfig",
    "DreamEvolutionConfig", "DreamingConfig", "EnvConfig", "EvolutionConfig", "HS18Config", "HS18DreamConfig", "MemoryConfig",
    "PPOConfig", "PPOFeaturesConfig", "RandomDriving", "RealControllerConfig", "RolloutConfig", "RunConfig", "Setting",
    "VanillaPPOConfig", "VisionMemoryConfig", "WorldModelConfig", "beside_preset", "build_config", "changed_on_resume",
    "changed_settings", "common_groups", "explain", "of_pipeline", "preset_of", "settings", "with_settings",
]  # fmt: skip
