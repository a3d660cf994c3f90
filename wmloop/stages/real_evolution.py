"""Controller: evolve C with CMA-ES on whole real episodes, which V sees and M remembers; neither learns from them."""

from __future__ import annotations

import numpy as np
import torch

from wmloop.config import HS18Config
from wmloop.envs import make_envs
from wmloop.models.networks import new_actor, world_model
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.evolution import Evolution, RealRound
from wmloop.training.fit import fit
from wmloop.training.rollouts import episodes_of, record_spaces, require_same_spaces
from wmloop.training.weights import stored


def run(
    ctx: StageContext[HS18Config], vision: Version, memory: Version, controller: Version | None = None
) -> dict[str, float]:
    """Evolve C; write `actor`, the mean of the search, and the search, which goes on from the iteration before."""
    config, settings = ctx.config, ctx.config.evolution
    count = -(-settings.population_size // config.env.num_envs)
    width = -(-settings.population_size // count)  # waves of equal width: few copies idle in the last
    with make_envs(config.env, width, config.max_unrewarded, ctx.output) as pool:
        collected, spec = ctx.collected(), pool.actions
        require_same_spaces(collected, spec, pool.observations)
        world = world_model(config, spec.size, ctx.device, stored(vision), stored(memory))
        torch.manual_seed(ctx.seed("init"))
        actor = new_actor(config, world.memory.features, spec, ctx.device)
        if controller is None:  # begin with what was driven so far
            driven = np.concatenate([spec.encode(episode.actions) for episode in episodes_of(collected[0], False)])
            actor.init_mean(torch.from_numpy(driven.mean(0)).to(ctx.device))
        evolution = Evolution(ctx, settings, actor, controller)
        step = RealRound(ctx, evolution, world, pool, spec)
        total, frames = settings.generations * settings.episodes, settings.population_size * config.env.most_frames
        metrics = fit(ctx, evolution.modules, None, total, None, step, frames, smoothing=0.0)
        record_spaces(ctx.draft, spec, pool.observations)
    evolution.save()
    return metrics | step.totals()
