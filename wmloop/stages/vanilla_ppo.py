"""Learner: the current policy drives whole real episodes, an episode in every copy, and PPO learns from them; again and again.

An environment cannot be put back into the middle of an episode. So a step of training is a wave of new episodes and the
update on them: both are functions of their place and of the weights, and a snapshot between two steps is all that there is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.agent import Exploration
from wmloop.agents.collector import UNLIMITED, EpisodeTask, drive, halves
from wmloop.agents.pixels import Carry, PixelAgent
from wmloop.config import VanillaPPOConfig
from wmloop.envs import Envs, make_envs
from wmloop.episodes import Episode
from wmloop.errors import DivergedError, EnvironmentFailedError
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.models.state import load_optimizer, module_arrays, optimizer_arrays
from wmloop.seeding import training_seed
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker
from wmloop.training.fit import fit
from wmloop.training.networks import load
from wmloop.training.rollouts import ACTIONS, require_same_actions
from wmloop.training.vanilla_ppo import batch, new_networks


def run(ctx: StageContext[VanillaPPOConfig], learner: Version | None = None) -> dict[str, float]:
    """Train the network; write `actor`, `critic` and `optimizer`, warm-started, and what each wave was paid."""
    settings, env = ctx.config.ppo, ctx.config.env
    with make_envs(env, env.num_envs, settings.max_unrewarded, ctx.output) as pool:
        require_same_actions(ctx.collected(), pool.actions)
        torch.manual_seed(ctx.seed("init"))
        actor, critic = new_networks(ctx.config, pool.actions.size, ctx.device)
        networks = {"actor": actor, "critic": critic.value}
        optimizer = adam([part for net in networks.values() for part in net.parameters()], settings.learning_rate)
        if learner:
            for name, net in networks.items():
                load(net, learner, name)
            load_optimizer(optimizer, learner.tensors("optimizer.safetensors"))
        agent = PixelAgent(actor, settings.stack, pool.actions)

        def step(i: int) -> dict[str, float]:
            episodes, sampled = _drive(ctx, pool, agent, i)
            told: dict[str, Any] = {
                "scores": [episode.score for episode in episodes],
                "frames": sum(episode.frames for episode in episodes),
                "decisions": sum(map(len, episodes)),
            }
            ctx.draft.save_json(_wave(i), told)
            shuffle = torch.Generator(ctx.device).manual_seed(ctx.seed("minibatches", i))
            learnt_from = batch(episodes, sampled, actor, ctx.config)
            metrics = ppo.update(actor, critic, actor, optimizer, learnt_from, settings, shuffle)
            return metrics | {"score": float(np.mean(told["scores"]))}

        metrics = fit(
            ctx, networks, optimizer, settings.updates, lambda i: settings.learning_rate, step,
            env.num_envs * env.most_frames,
        )  # fmt: skip
        ctx.draft.save_json(ACTIONS, pool.actions.record())
    for name, net in networks.items():
        ctx.draft.save_tensors(f"{name}.safetensors", module_arrays(net))
    ctx.draft.save_tensors("optimizer.safetensors", optimizer_arrays(optimizer))
    return metrics | _counts([ctx.draft.json(_wave(i)) for i in range(settings.updates)])


def _wave(i: int) -> str:
    return f"wave-{i:04d}.json"


def _drive(
    ctx: StageContext[VanillaPPOConfig], pool: Envs, agent: PixelAgent, i: int
) -> tuple[list[Episode], list[Tensor]]:
    """Drive the wave of step i; return its episodes and the actions that were sampled in each, (T, A).

    Raises:
        EnvironmentFailedError: also where it paid what is not finite: smaller steps of training would not mend it.
        Interrupted: the run is to stop.
    """
    config, count, actions = ctx.config, pool.num_envs, pool.actions.size
    wave = [EpisodeTask(training_seed(config.seed, ctx.iteration, "track", i, n), UNLIMITED) for n in range(count)]
    agents = dict.fromkeys(halves(count), agent)
    sampled: dict[range, list[Tensor]] = {copies: [] for copies in agents}

    def explore(t: int, copies: range) -> Exploration:
        noise = ctx.rng("noise", i, t).standard_normal((count, actions), np.float32)[copies.start :: copies.step]
        return Exploration(noise, np.zeros_like(noise), np.ones(len(noise), np.bool_))

    def note(copies: range, carry: Carry) -> None:
        assert carry.action is not None, "it has just decided"
        sampled[copies].append(carry.action)

    try:
        episodes = drive(pool, wave, agents, Ticker(ctx, i * count * config.env.most_frames), explore, note)
    except DivergedError as error:
        raise EnvironmentFailedError(str(error)) from error
    taken = []
    for n, episode in enumerate(episodes):
        copies = next(copies for copies in sampled if n in copies)
        taken.append(torch.stack([action[copies.index(n)] for action in sampled[copies][: len(episode)]]))
    return episodes, taken


def _counts(waves: list[dict[str, Any]]) -> dict[str, float]:
    """Return what all waves came to."""
    scores = [score for wave in waves for score in wave["scores"]]
    frames, decisions = (float(sum(wave[name] for wave in waves)) for name in ("frames", "decisions"))
    return {
        "frames": frames,
        "units": frames,
        "episodes": float(len(scores)),
        "decisions": decisions,
        "score": float(np.mean(scores)),
    }
