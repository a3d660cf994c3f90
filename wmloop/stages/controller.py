"""Controller: train C with PPO, only inside M: short dreams branched from real, remembered states."""

from __future__ import annotations

import torch

from wmloop.config import WorldModelConfig
from wmloop.learn.optim import adam, warmup_decay
from wmloop.learn.schedules import gamma, temperature
from wmloop.models.mixed import enable_autocast
from wmloop.models.networks import new_actor, new_critic, world_model
from wmloop.models.state import load_weights
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.dream_ppo import DreamPPO, DreamStep
from wmloop.training.experience import filter_states, load_replay
from wmloop.training.fit import fit
from wmloop.training.viewer import DreamViewer
from wmloop.training.weights import save, stored

#: Adam's first steps are of full size whatever the gradient, and a nearly deterministic policy breaks under them.
_WARMUP_UPDATES = 10


def run(
    ctx: StageContext[WorldModelConfig],
    vision: Version,
    memory: Version,
    evaluate: Version | None = None,
    controller: Version | None = None,
) -> dict[str, float]:
    """Train C; write `actor` and `critic`, warm-started from those of the newest accepted iteration."""
    config, device = ctx.config, ctx.device
    seed, last = ctx.seed("init"), evaluate.metrics if evaluate else {}
    tau = temperature(config.dream.temperature, last.get("temperature", 1.0), last.get("return_gap", 0.0))
    scores = [version.metrics["score"] for version in ctx.scored()]
    discount = gamma(config.controller.gamma, config.controller.plateau_gamma, scores)
    learning = config.controller.model_copy(update={"gamma": discount})
    updates = learning.initial_updates if ctx.iteration == 0 else learning.updates

    experience = load_replay(ctx, vision)
    spec = experience.replay.spec
    world = world_model(config, spec.size, device, stored(vision), stored(memory))
    torch.manual_seed(seed)
    states = filter_states(world.memory, experience)
    features = world.memory.features
    actor, critic = new_actor(config, features, spec, device), new_critic(config, features, device)
    if controller:
        load_weights(actor, stored(controller, "actor"))
        load_weights(critic, stored(controller, "critic"))
    else:  # begin with what was driven so far: of other actions M knows nothing yet
        actor.init_mean(experience.actions[0].mean(0))
    if config.precision == "bf16-mixed":
        enable_autocast(actor, critic)
    optimizer = adam([*actor.parameters(), *critic.parameters()], learning.learning_rate)
    viewer = DreamViewer(ctx, world, actor, spec)
    learner = DreamPPO(world.imagination(tau), actor, critic, optimizer, learning, learning.curiosity, ctx.ranks)
    step = DreamStep(ctx, learner, experience, states, viewer, world.reward_scale)

    metrics = fit(
        ctx, {"actor": actor, "critic": critic}, optimizer, updates,
        lambda i: warmup_decay(learning.learning_rate, i, updates, _WARMUP_UPDATES), step,
        config.dream.num_dreams * config.dream.horizon, "controller.learning_rate",
    )  # fmt: skip
    save(actor, ctx.draft, "actor")
    save(critic, ctx.draft, "critic")
    return metrics | {"temperature": tau, "gamma": discount}
