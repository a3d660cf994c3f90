"""Memory: train M on sequences of what V saw, warm-started."""

from __future__ import annotations

import torch

from wmloop.config import VisionMemoryConfig
from wmloop.learn.optim import adam, clipped_step, warmup_decay
from wmloop.models.mixed import enable_autocast
from wmloop.models.networks import new_memory
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.experience import draw, filter_states, load_replay
from wmloop.training.fit import WARMUP_STEPS, fit
from wmloop.training.rollouts import reward_scale
from wmloop.training.weights import load, save


def run(
    ctx: StageContext[VisionMemoryConfig], rollout: Version, vision: Version, memory: Version | None = None
) -> dict[str, float]:
    """Train M; write `model`."""
    config = ctx.config.memory
    experience = load_replay(ctx, vision)
    torch.manual_seed(ctx.seed("init"))
    net = new_memory(ctx.config, experience.latent, experience.replay.spec.size, ctx.device)
    if memory:
        load(net, memory)
    collected = ctx.collected()
    scale = reward_scale(ctx.config, collected)
    paid = [version for version in collected if version.metrics.get("reward_rms")]
    if not paid and not any(version.metrics.get("rewarded_fraction") for version in collected):
        ctx.log(
            "no episode so far has had a reward other than 0, so nothing can be learnt from rewards: try other random actions"
            " (env.random_policy), longer random episodes (rollout.prefill), or a reward for exploring (controller.curiosity)",
            "warning",
        )
    elif config.reward_scale == "auto" and (memory is None or (paid and paid[0].iteration == ctx.iteration)):
        ctx.log(
            f"memory.reward_scale = {scale:.4g}: the root mean square of the first rollouts' nonzero rewards,"
            " without those of terminal steps unless there are no others"
        )
    net.reward_scale.fill_(scale)
    net.rescale_terminal(experience.terminal_scale)
    # More to learn from takes more steps; when old rollouts leave the replay, there is no more of it.
    age = min(ctx.iteration, ctx.config.replay) - 1
    steps = config.initial_steps if ctx.iteration == 0 else round(config.train_steps * config.steps_growth**age)
    # The states that sequences start from are M's own as the stage began: a constant, also for a resumed stage.
    states = filter_states(net, experience)
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = adam(parameters, config.learning_rate, config.beta2)
    if ctx.config.precision == "bf16-mixed":
        enable_autocast(net)

    def step(i: int) -> dict[str, float]:
        weights = (config.reward_weight, config.terminated_weight, config.action_weight)
        batch = draw(experience, states, config, ctx.rng("windows", i), ctx.generator("noise", i), ctx.ranks)
        loss, parts = net.loss(*batch, *weights)
        clipped_step(loss, optimizer, config.max_grad_norm, ranks=ctx.ranks, figures=parts.values())
        return {name: float(part) for name, part in parts.items()}

    metrics = fit(
        ctx, {"memory": net}, optimizer, steps,
        lambda i: warmup_decay(config.learning_rate, i, steps, WARMUP_STEPS), step, config.batch_size * config.sequence_length,
        "memory.learning_rate",
    )  # fmt: skip
    save(net, ctx.draft)
    return metrics
