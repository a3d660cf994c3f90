"""The stages: each reads committed versions, writes files into its draft and returns metrics."""

import copy

import numpy as np
import torch

from wmloop.agents.agent import Exploration
from wmloop.agents.collector import EpisodeTask, drive, halves, require_wave, waves
from wmloop.agents.random_walk import RandomWalk
from wmloop.dreams import Noise, rollout
from wmloop.envs import make_envs
from wmloop.episodes import pack, unpack
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.models.controller import PlainCritic
from wmloop.models.state import load_module, module_arrays
from wmloop.seeding import training_seed
from wmloop.training.fit import fit
from wmloop.training.rollouts import actions_of, episodes_of, record_spaces, require_same_spaces
from wmloop_outside.agent import new_actor, world_of
from wmloop_outside.world_model import LinearWorld, find


def collect(ctx, model=None, controller=None):
    """Collect real episodes, at random in iteration 0, then by the agent of the iteration before; a file a wave."""
    env, rewards, frames = ctx.config.env, [], 0
    tracks = [training_seed(ctx.config.seed, ctx.iteration, "track", n) for n in range(ctx.config.linear.episodes)]
    with make_envs(env, env.num_envs, output=ctx.output) as pool:
        require_same_spaces(ctx.collected(), pool.actions, pool.observations)
        agent = ctx.agent(pool.actions, {"model": model, "controller": controller}) if controller else None
        ctx.begin(len(tracks) * env.most_frames)
        for number, wave in enumerate(waves([EpisodeTask(track) for track in tracks], pool.num_envs)):
            shard = f"episodes-{number:04d}.safetensors"
            if not ctx.draft.has(shard):  # else an interrupted attempt has collected it
                agents = dict.fromkeys(halves(pool.num_envs), agent) if agent else _walks(ctx, pool, number)
                explore = _exploration(ctx, pool, number)
                ctx.draft.save_tensors(
                    shard, pack(drive(pool, wave, agents, lambda frames, seen: ctx.check_stop(), explore))
                )
            driven = list(unpack(ctx.draft.tensors(shard), observed=False))
            require_wave(driven, wave, ctx.draft.name)
            rewards += [episode.score for episode in driven]
            frames += sum(episode.frames for episode in driven)
            ctx.progress(frames, {"score": float(np.mean(rewards))})
        record_spaces(ctx.draft, pool.actions, pool.observations)
    return {"frames": frames, "episodes": len(rewards), "score": float(np.mean(rewards))}


def _walks(ctx, pool, number):
    """Return random walks for a wave, by half of the copies: one half steps while the other's actions are chosen."""
    settings, steps = ctx.config.env.random_policy, ctx.config.env.most_frames
    rngs = [ctx.rng("random", number, copy) for copy in range(pool.num_envs)]
    walks = np.stack([pool.actions.random_walk(settings, steps, rng) for rng in rngs], 1)
    return {copies: RandomWalk(walks[:, copies.start :: copies.step]) for copies in halves(pool.num_envs)}


def _exploration(ctx, pool, number):
    """Return how the agents of a wave explore: by their policy's noise, which a random walk ignores."""

    def explore(t, copies):
        noise = ctx.rng("noise", number, t).standard_normal((pool.num_envs, pool.actions.size), np.float32)
        noise = noise[copies.start :: copies.step]
        return Exploration(noise, np.zeros_like(noise), np.ones(len(noise), np.bool_))

    return explore


def model(ctx, collect):
    """Fit the world model to the newest episodes."""
    ctx.begin(1)
    rollouts = ctx.rollouts()
    spec, episodes = actions_of(collect), [episode for version in rollouts for episode in episodes_of(version)]
    points = [find(episode.observations) for episode in episodes]
    before, after = (np.concatenate([one[part] for one in points]) for part in (slice(-1), slice(1, None)))
    action = np.concatenate([spec.encode(episode.actions) for episode in episodes])
    world = LinearWorld.fitted(before, action, after, np.concatenate([episode.rewards for episode in episodes]))
    told = world.advance(world.at(before), torch.from_numpy(action)).features.numpy()
    ctx.draft.save_tensors("model.safetensors", {"step": world.step.numpy(), "pays": world.pays.numpy()})
    return {"error": float(np.sqrt(np.square(told - after).mean()))}


def controller(ctx, model, controller=None):
    """Train the policy by PPO in dreams that begin at real points."""
    settings, rollouts = ctx.config.linear, ctx.rollouts()
    actions, world = actions_of(rollouts[-1]).size, world_of(model.tensors("model.safetensors"), ctx.device)
    points = [find(episode.observations) for version in rollouts for episode in episodes_of(version)]
    begins = world.at(np.concatenate(points))
    torch.manual_seed(ctx.seed("init"))
    networks = {"actor": new_actor(actions).to(ctx.device), "critic": PlainCritic(2).to(ctx.device)}
    if controller:  # go on with the newest accepted policy
        for name, network in networks.items():
            load_module(network, controller.tensors(f"{name}.safetensors"))
    actor, critic = networks.values()
    reference = copy.deepcopy(actor)
    optimizer = adam([*actor.parameters(), *critic.parameters()], settings.learning_rate)

    def step(i):
        rows = torch.from_numpy(ctx.rng("begin", i).integers(0, len(begins.features), settings.num_dreams))
        size = (settings.horizon, settings.num_dreams, world.noise_size, actions)
        batch = rollout(world, actor, begins.at(rows.to(ctx.device)), Noise.draw(*size, ctx.generator("dream", i)))
        shuffle = ctx.generator("minibatches", i)
        metrics = ppo.update(actor, critic, reference, optimizer, batch.learnable(), settings, shuffle)
        ctx.log_image("dream", world.decode(batch.features[i % settings.horizon, :1])[0])
        return metrics | {"dream_return": float(batch.total.mean())}

    units = settings.num_dreams * settings.horizon
    metrics = fit(ctx, networks, optimizer, settings.updates, lambda i: settings.learning_rate, step, units)
    for name, network in networks.items():
        ctx.draft.save_tensors(f"{name}.safetensors", module_arrays(network))
    return metrics
