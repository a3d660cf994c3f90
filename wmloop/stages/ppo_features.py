"""Controller: train C by PPO in the real environment, on what V and M make of it: the same C as in dreams, without dreams.

The episodes are stored as a rollout's are, so that V and M of the next iteration learn from them. As in `vanilla_ppo` a step
of training is a batch of whole new episodes and the update on it.
"""

from __future__ import annotations

import numpy as np
import torch

from wmloop.agents.world_model import Agent
from wmloop.config import PPOFeaturesConfig
from wmloop.envs import make_envs
from wmloop.episodes import pack
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.learn.schedules import gamma
from wmloop.models.networks import new_actor, new_critic, world_model
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.experience import load_replay
from wmloop.training.features_ppo import collect, tallied
from wmloop.training.fit import fit
from wmloop.training.rollouts import BYTES_A_DECISION, record_spaces, require_same_spaces, shard_file
from wmloop.training.tally import summarise, summary_file
from wmloop.training.weights import load, load_optimizer, save, save_optimizer, stored


def run(
    ctx: StageContext[PPOFeaturesConfig], vision: Version, memory: Version, controller: Version | None = None
) -> dict[str, float]:
    """Train C; write `actor`, `critic` and `optimizer`, warm-started, and the episodes that it drove."""
    config, env, device = ctx.config, ctx.config.env, ctx.device
    scores = [version.metrics["score"] for version in ctx.scored()]
    discount = gamma(config.controller.gamma, config.controller.plateau_gamma, scores)
    settings = config.controller.model_copy(update={"gamma": discount})
    updates, goal = config.updates, config.rollout.frames
    with make_envs(env, env.num_envs, config.max_unrewarded, ctx.output) as pool:
        require_same_spaces(ctx.collected(), pool.actions, pool.observations)
        world = world_model(config, pool.actions.size, device, stored(vision), stored(memory))
        features = world.memory.features
        torch.manual_seed(ctx.seed("init"))
        actor, critic = new_actor(config, features, pool.actions, device), new_critic(config, features, device)
        networks = {"actor": actor, "critic": critic}
        optimizer = adam([*actor.parameters(), *critic.parameters()], settings.learning_rate)
        if controller:
            for name, net in networks.items():
                load(net, controller, name)
            load_optimizer(optimizer, controller)
        else:  # begin with what was driven so far, as in dreams
            actor.init_mean(load_replay(ctx, vision).actions[0].mean(0))
        agent = Agent(world, actor, pool.actions)
        ctx.draft.require_space(goal // env.action_repeat * BYTES_A_DECISION)

        def step(i: int) -> dict[str, float]:
            wave = collect(ctx, pool, agent, i, tallied(ctx, i))
            ctx.draft.save_json(summary_file(i), summarise(wave.episodes, []))
            ctx.draft.save_tensors(shard_file(i), pack(wave.episodes))
            learnt = wave.batch(config, agent)
            metrics = ppo.update(actor, critic, actor, optimizer, learnt, settings, ctx.generator("minibatches", i))
            return metrics | {"score": float(np.mean([episode.score for episode in wave.episodes]))}

        metrics = fit(
            ctx, networks, optimizer, updates, lambda i: settings.learning_rate, step, max(1, goal // updates),
            "controller.learning_rate",
        )  # fmt: skip
        record_spaces(ctx.draft, pool.actions, pool.observations)
    for name, net in networks.items():
        save(net, ctx.draft, name)
    save_optimizer(optimizer, ctx.draft)
    counts = tallied(ctx, updates).metrics()
    return metrics | counts | {"units": counts["frames"], "gamma": discount}
