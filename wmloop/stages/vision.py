"""Vision: train V on all episodes, warm-started, then see all of them once: their latents are stored beside V.

A picture's error weighs large things, and what decides over reward may be faint. So z must also tell what the next
decisions paid (`RewardPredictor`); pixels alone left out which road has paid already (docs/experiments/2026-11-24-ranks.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.config import WorldModelConfig
from wmloop.learn.optim import adam, clipped_step, warmup_decay
from wmloop.models.state import module_arrays
from wmloop.models.vision import RewardPredictor, Vision, reward_prediction_loss, to_frames, to_images, vae_loss
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.fit import WARMUP_STEPS, fit
from wmloop.training.latents import AHEAD, ahead, batches, see
from wmloop.training.networks import load, new_vision
from wmloop.training.rollouts import Frames, episodes_of, gather_frames, reward_scale

_SHOW_EVERY = 50
_FORETASTE = "foretaste.safetensors"


def run(ctx: StageContext[WorldModelConfig], rollout: Version, vision: Version | None = None) -> dict[str, float]:
    """Train or freeze V as configured; write `model`, `foretaste`, and `latents-NNNN` for each iteration's episodes."""
    config = ctx.config.vision
    torch.manual_seed(ctx.seed("init"))
    net = new_vision(ctx.config, ctx.device)
    foretaste = RewardPredictor(config.latent_size, AHEAD).to(ctx.device)
    rollouts = ctx.rollouts()
    images = config.initial_images if ctx.iteration == 0 else config.finetune_images
    moves = images > 0 and (config.finetune_iterations is None or ctx.iteration <= config.finetune_iterations)
    if vision:
        load(net, vision)
        if _FORETASTE in vision.files:  # runs of earlier days have none
            load(foretaste, vision, "foretaste")
    if moves:
        metrics = _train(ctx, net, foretaste, rollouts, images)
    else:
        metrics = {}
        ctx.begin(int(rollouts[-1].metrics["decisions"]))
    rows = sum(version.metrics["decisions"] + version.metrics["episodes"] for version in rollouts)
    ctx.draft.require_space(
        int(rows) * (1 + bool(ctx.config.env.mirrored_actions)) * 4 * config.latent_size
    )  # mu, logvar: float16
    ctx.log(f"V looks at all {int(rows):,} pictures, for M to learn from")
    for version in rollouts:
        name = f"latents-{version.iteration:04d}.safetensors"
        if ctx.draft.has(name):
            continue
        ctx.check_stop()
        if vision and not moves and version.iteration < ctx.iteration:  # a frozen V sees what it saw before
            ctx.draft.save_bytes(name, vision.bytes(name))
        else:
            ctx.draft.save_tensors(name, see(net, episodes_of(version), bool(ctx.config.env.mirrored_actions)))
    ctx.draft.save_tensors("model.safetensors", module_arrays(net))
    ctx.draft.save_tensors(_FORETASTE, module_arrays(foretaste))
    return metrics | {"finetuned": float(moves)} | _check(net, rollouts[-1])


def _train(
    ctx: StageContext[WorldModelConfig],
    vision: Vision,
    foretaste: RewardPredictor,
    rollouts: Sequence[Version],
    images: int,
) -> dict[str, float]:
    config = ctx.config.vision
    scale = reward_scale(ctx.config, ctx.collected())
    driven = [episode for version in rollouts for episode in episodes_of(version, observed=False)]
    told = ahead(driven, ctx.config.memory.reward_min, scale)
    rewards, known = (torch.from_numpy(array).to(ctx.device) for array in told)
    steps = max(1, images // config.batch_size)
    if ctx.iteration == 0:
        vision.look(map(torch.from_numpy, batches(episodes_of(rollouts[0]))))
    rate = config.learning_rate if ctx.iteration == 0 else config.finetune_learning_rate
    optimizer = adam([*vision.parameters(), *foretaste.parameters()], rate, config.beta2)
    vision.train()

    def draw(i: int) -> tuple[np.ndarray, bool]:
        rng = ctx.rng("batch", i)
        return rng.integers(0, len(known), config.batch_size), bool(
            ctx.config.env.mirrored_actions
        ) and rng.random() < 0.5

    held = min(steps, config.frame_cache // config.batch_size)
    frames = Frames(rollouts, held, lambda i: draw(i)[0], ctx.device)

    def step(i: int) -> dict[str, float]:
        chosen, mirrored = draw(i)
        batch = to_images(frames.of(i))
        if mirrored:
            batch = batch.flip(3)
        noise = torch.randn(
            config.batch_size, config.latent_size, generator=ctx.generator("noise", i), device=ctx.device
        )
        loss, z, parts = vae_loss(vision, batch, noise, config.recon_weight, config.free_nats)
        rows = torch.from_numpy(chosen).to(ctx.device)
        parts["reward_aux_loss"] = reward_prediction_loss(foretaste(z), rewards[rows], known[rows])
        clipped_step(loss + config.reward_aux_weight * parts["reward_aux_loss"], optimizer)
        if i % _SHOW_EVERY == 0:
            _show(ctx, vision, batch[:1])
        return {name: float(part.detach()) for name, part in parts.items()}

    return fit(
        ctx, {"vision": vision, "foretaste": foretaste}, optimizer, steps,
        lambda i: warmup_decay(rate, i, steps, WARMUP_STEPS), step, config.batch_size,
    )  # fmt: skip


@torch.no_grad()
def _show(ctx: StageContext[WorldModelConfig], vision: Vision, image: Tensor) -> None:
    ctx.log_image("real", to_frames(image)[0].cpu().numpy())
    ctx.log_image("reconstruction", to_frames(vision.decode(vision.encode(image)[0]))[0].cpu().numpy())


@torch.no_grad()
def _check(vision: Vision, newest: Version) -> dict[str, float]:
    """Return the reconstruction error on (up to 256 of) the newest episodes' frames, from the posterior's mean."""
    vision.eval()
    rows = int(newest.metrics["decisions"] + newest.metrics["episodes"])
    frames = gather_frames([newest], np.arange(0, rows, max(1, rows // 256))[:256])
    images = to_images(torch.from_numpy(frames).to(next(vision.parameters()).device))
    error = (vision.decode(vision.encode(images)[0]) - images).square().sum((1, 2, 3)).mean()
    return {"newest_recon_loss": float(error)}
