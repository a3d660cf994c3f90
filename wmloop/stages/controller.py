"""Controller: train C with PPO, only inside M: short dreams branched from real, remembered states."""

from __future__ import annotations

import torch

from wmloop.config import WorldModelConfig
from wmloop.dreams import Noise
from wmloop.learn.optim import adam, warmup_decay
from wmloop.models.mixed import enable_autocast
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.dream_ppo import DreamPPO
from wmloop.training.experience import filter_states, load_replay
from wmloop.training.fit import fit
from wmloop.training.networks import load, new_actor, new_critic, save, world_model
from wmloop.training.scored import discount, temperature
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
    config, device = ctx.config, ctx.device
    gamma = discount(config.controller, [version.metrics for version in ctx.scored()])
    tau = temperature(config.dream, evaluate.metrics if evaluate else {})
    learning = config.controller.model_copy(update={"gamma": gamma})
    updates = learning.initial_updates if ctx.iteration == 0 else learning.updates

    experience = load_replay(ctx, vision)
    spec = experience.replay.spec
    world = world_model(config, spec.size, device, vision, memory)
    torch.manual_seed(ctx.seed("init"))
    features = world.memory.features
    actor, critic = new_actor(config, features, spec, device), new_critic(config, features, device)
    if controller:
        load(actor, controller, "actor")
        load(critic, controller, "critic")
    else:  # begin with what was driven so far: of other actions M knows nothing yet
        actor.init_mean(experience.actions[0].mean(0))
    if config.precision == "bf16-mixed":
        enable_autocast(actor, critic)
    states = filter_states(world.memory, experience)
    imagination = world.imagination(tau)
    optimizer = adam([*actor.parameters(), *critic.parameters()], learning.learning_rate)
    trained = DreamPPO(imagination, actor, critic, optimizer, learning, device)
    viewer = DreamViewer(ctx, world, actor, spec)
    horizon, num_dreams = config.dream.horizon, config.dream.num_dreams

    def step(i: int) -> dict[str, float]:
        start = sample_starts(experience, states, config.dream, config.memory.recency_decay, ctx.rng("branch", i))
        noise = Noise.draw(horizon, num_dreams, imagination.noise_size, spec.size, ctx.generator("dream", i))
        batch, metrics = trained.update(start, noise, ctx.generator("minibatches", i))
        viewer.next(batch.features[:, 0], batch.action[:, 0])
        return metrics | batch.metrics(world.reward_scale)

    metrics = fit(
        ctx, {"actor": actor, "critic": critic}, optimizer, updates,
        lambda i: warmup_decay(learning.learning_rate, i, updates, _WARMUP_UPDATES), step, num_dreams * horizon,
        "controller.learning_rate",
    )  # fmt: skip
    save(actor, ctx.draft, "actor")
    save(critic, ctx.draft, "critic")
    return metrics | {"temperature": tau, "gamma": gamma}
