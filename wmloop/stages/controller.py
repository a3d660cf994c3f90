"""Controller: train C with PPO, only inside M: short dreams branched from real, remembered states.

M knows what was driven. PPO is therefore held near the policy the stage began with: where that one is wide, C may move
far, where it is sharp, only a little, and the next rollouts teach M what lies a step beyond (docs/recipe.md).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from wmloop.config import WorldModelConfig
from wmloop.dreams import DreamBatch, Noise, rollout
from wmloop.graphs import CapturedGraph
from wmloop.learn import ppo
from wmloop.learn.optim import adam, warmup_decay
from wmloop.models.mixed import enable_autocast
from wmloop.models.state import module_arrays
from wmloop.models.world_model import State
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.experience import filter_states, load_replay
from wmloop.training.fit import fit
from wmloop.training.networks import load, new_actor, new_critic, world_model
from wmloop.training.scored import discount, reward_ceiling, temperature
from wmloop.training.starts import sample_starts
from wmloop.training.viewer import DreamViewer

#: Adam's first steps are of full size whatever the gradient, and a nearly deterministic policy breaks under them.
_WARMUP_UPDATES = 10


def run(
    ctx: StageContext[WorldModelConfig],
    vision: Version,
    memory: Version,
    evaluate: Version | None = None,
    controller: Version | None = None,
) -> dict[str, float]:
    """Train C; write `actor` and `critic`, warm-started from the best so far by real score."""
    config = ctx.config.controller.model_copy(update={"gamma": discount(ctx)})
    experience = load_replay(ctx, vision)
    spec, actions = experience.replay.spec, experience.replay.spec.size
    world = world_model(ctx.config, actions, ctx.device, vision, memory)
    torch.manual_seed(ctx.seed("init"))
    actor, critic = new_actor(ctx.config, spec, ctx.device), new_critic(ctx.config, ctx.device)
    if controller:
        load(actor, controller, "actor")
        load(critic, controller, "critic")
    else:  # begin with what was driven so far: of other actions M knows nothing yet
        actor.init_mean(experience.actions[0].mean(0))
    if ctx.config.precision == "bf16-mixed":
        enable_autocast(actor, critic)
    anchor = copy.deepcopy(actor).requires_grad_(False)
    states = filter_states(world.memory, experience)
    tau = temperature(ctx, evaluate)
    imagination = world.imagination(tau)
    optimizer = adam([*actor.parameters(), *critic.parameters()], config.learning_rate)
    per_decision = world.reward_scale
    ceiling = reward_ceiling(ctx, controller)
    updates = config.initial_updates if ctx.iteration == 0 else config.updates
    shown = DreamViewer(ctx, world)

    def imagine(features: Tensor, inner: Tensor, *noise: Tensor) -> DreamBatch:
        return rollout(imagination, actor, State(features, inner), Noise(*noise))

    dream = CapturedGraph(imagine, ctx.device)  # the weights of actor and M stay where they are

    def step(i: int) -> dict[str, float]:
        start = sample_starts(ctx, experience, states, i)
        size, generator = (ctx.config.dream.horizon, ctx.config.dream.num_dreams), ctx.generator("dream", i)
        batch = dream(*start, *Noise.draw(*size, imagination.noise_size, actions, generator))
        shuffle = torch.Generator(ctx.device).manual_seed(ctx.seed("minibatches", i))
        worth = None if ceiling is None else lambda reward: ppo.concave_utility(reward, ceiling / per_decision)
        metrics = ppo.update(actor, critic, anchor, optimizer, batch.learnable(worth), config, shuffle)
        shown.next(batch.features[:, 0])
        promised, ended = float(batch.total.mean()) * per_decision, 1 - float(batch.survival[-1].mean())
        return metrics | {"dream_return": promised, "dream_terminated_fraction": ended}

    width = ctx.config.dream.num_dreams * ctx.config.dream.horizon
    metrics = fit(
        ctx, {"actor": actor, "critic": critic}, optimizer, updates,
        lambda i: warmup_decay(config.learning_rate, i, updates, _WARMUP_UPDATES), step, width,
    )  # fmt: skip
    ctx.draft.save_tensors("actor.safetensors", module_arrays(actor))
    ctx.draft.save_tensors("critic.safetensors", module_arrays(critic))
    return metrics | {"temperature": tau, "gamma": config.gamma, "reward_saturated": float(ceiling is not None)}
