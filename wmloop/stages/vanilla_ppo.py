"""Learner: the current policy drives whole real episodes side by side, and PPO learns from them; again and again.

An environment cannot be put back into the middle of an episode. So a step of training is a wave of new episodes and the
update on them: both are functions of their place and of the weights, and a snapshot between two steps is all that there is.
"""

from __future__ import annotations

import numpy as np
import torch

from wmloop.agents.pixels import PixelAgent
from wmloop.config import VanillaPPOConfig
from wmloop.envs import make_envs
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker
from wmloop.training.fit import fit
from wmloop.training.real_waves import drive_wave, totals, wave_file
from wmloop.training.rollouts import record_spaces, require_same_spaces
from wmloop.training.vanilla_ppo import batch, new_networks
from wmloop.training.weights import load, load_optimizer, save, save_optimizer


def run(ctx: StageContext[VanillaPPOConfig], learner: Version | None = None) -> dict[str, float]:
    """Train the network; write `actor`, `critic` and `optimizer`, warm-started, and what each wave was paid."""
    settings, env = ctx.config.ppo, ctx.config.env
    episodes = min(settings.episodes_per_update or env.num_envs, env.num_envs)
    with make_envs(env, env.num_envs, settings.max_unrewarded, ctx.output) as pool:
        require_same_spaces(ctx.collected(), pool.actions, pool.observations)
        torch.manual_seed(ctx.seed("init"))
        actor, critic = new_networks(ctx.config, pool.actions.size, ctx.device)
        networks = {"actor": actor, "critic": critic.value}
        optimizer = adam([part for net in networks.values() for part in net.parameters()], settings.learning_rate)
        if learner:
            for name, net in networks.items():
                load(net, learner, name)
            load_optimizer(optimizer, learner)
        elif settings.initial_action:
            actor.init_mean(torch.from_numpy(pool.actions.encode(np.array(settings.initial_action))))
        agent = PixelAgent(actor, settings.stack, pool.actions)

        def step(i: int) -> dict[str, float]:
            ticker = Ticker(ctx, pool.observations, i * episodes * env.most_frames)
            wave = drive_wave(ctx, pool, agent, (i,), episodes, ticker)
            ctx.draft.save_json(wave_file(i), wave.record())
            shuffle = ctx.generator("minibatches", i)
            learnt_from = batch(wave, actor, ctx.config)
            metrics = ppo.update(actor, critic, actor, optimizer, learnt_from, settings, shuffle)
            return metrics | {"score": float(np.mean([episode.score for episode in wave.episodes]))}

        metrics = fit(
            ctx, networks, optimizer, settings.updates, lambda i: settings.learning_rate, step,
            episodes * env.most_frames, "ppo.learning_rate",
        )  # fmt: skip
        record_spaces(ctx.draft, pool.actions, pool.observations)
    for name, net in networks.items():
        save(net, ctx.draft, name)
    save_optimizer(optimizer, ctx.draft)
    return metrics | totals([ctx.draft.json(wave_file(i)) for i in range(settings.updates)])
