"""Controller: evolve C with CMA-ES, only inside M: in dreams of whole episodes, or of `evolution.horizon` from any moment."""

from __future__ import annotations

import torch

from wmloop.config import HS18DreamConfig
from wmloop.learn.schedules import temperature
from wmloop.models.networks import new_actor, world_model
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.evolution import DreamtGeneration, Evolution
from wmloop.training.experience import filter_states, load_replay
from wmloop.training.fit import fit
from wmloop.training.weights import stored


def run(
    ctx: StageContext[HS18DreamConfig],
    vision: Version,
    memory: Version,
    evaluate: Version | None = None,
    controller: Version | None = None,
) -> dict[str, float]:
    """Evolve C; write `actor`, the mean of the search, and the search, which goes on from the newest accepted iteration's."""
    config, last = ctx.config, evaluate.metrics if evaluate else {}
    tau = temperature(config.dream.temperature, last.get("temperature", 1.0), last.get("return_gap", 0.0))
    experience = load_replay(ctx, vision)
    spec = experience.replay.spec
    world = world_model(config, spec.size, ctx.device, stored(vision), stored(memory))
    torch.manual_seed(ctx.seed("init"))
    actor = new_actor(config, world.memory.features, spec, ctx.device)
    actor.init_mean(experience.actions[0].mean(0))
    evolution = Evolution(ctx, config.evolution, actor, controller)
    states = filter_states(world.memory, experience) if config.evolution.horizon else None
    step = DreamtGeneration(ctx, evolution, world, tau, experience, states)
    settings = config.evolution
    steps = settings.population_size * settings.episodes * step.horizon
    metrics = fit(ctx, evolution.modules, None, settings.generations, None, step, steps, smoothing=0.0)
    evolution.save()
    return metrics | {"temperature": tau}
