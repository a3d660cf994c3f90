"""Vision: train V on all episodes, warm-started, then see all of them once: their latents are stored beside V.

Of vectors V knows mean and deviation, from the first episodes on, and there is nothing to train.

A picture's error weighs large things, and what decides over reward may be faint. So z must also tell what the next
decisions paid (`RewardPredictor`); pixels alone left out which road has paid already (docs/experiments/2026-11-24-ranks.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wmloop.config import VisionMemoryConfig
from wmloop.learn.optim import adam, clipped_step, warmup_decay
from wmloop.models.encoder import Pictured, PicturesAndVectors, Vectors
from wmloop.models.networks import new_vision, parts_seen
from wmloop.models.vision import RewardPredictor, Vision, reward_prediction_loss, vae_loss
from wmloop.store import Version
from wmloop.training import reconstruction
from wmloop.training.context import StageContext
from wmloop.training.fit import WARMUP_STEPS, fit
from wmloop.training.latents import AHEAD, batches, see_rollouts
from wmloop.training.pictures import Pictures
from wmloop.training.rollouts import episodes_of, observations_of, sample_observations
from wmloop.training.weights import has, load, save

_SHOW_EVERY = 50
#: Observations that are looked at for clipped numbers, and the part of them from which on that is said.
_SAMPLE, _OFTEN = 4096, 0.01


def run(ctx: StageContext[VisionMemoryConfig], rollout: Version, vision: Version | None = None) -> dict[str, float]:
    """Train or freeze V as configured; write `model`, `foretaste`, and `latents-NNNN` for each iteration's episodes."""
    rollouts, seen = ctx.rollouts(), parts_seen(observations_of(rollout))
    newest = rollouts[-1]
    torch.manual_seed(ctx.seed("init"))
    net = new_vision(ctx.config, ctx.device, seen)
    if vision is None:
        net.look(map(torch.from_numpy, batches(episodes_of(rollouts[0]))))
    else:
        load(net, vision)
    if not isinstance(net, Vision):
        _warn_of_clipping(ctx, net, newest)
    if isinstance(net, Vectors):
        ctx.begin(int(newest.metrics["decisions"]), unit="vectors")
        see_rollouts(ctx, net, rollouts, vision)
        save(net, ctx.draft)
        return {"finetuned": 0.0}
    predictor = RewardPredictor(ctx.config.vision.latent_size, AHEAD).to(ctx.device)
    if vision and has(vision, "foretaste"):  # runs of earlier days have none
        load(predictor, vision, "foretaste")
    images, metrics = ctx.config.vision.images(ctx.iteration), dict[str, float]()
    if images:
        metrics = _train(ctx, net, predictor, rollouts, max(1, images // ctx.config.vision.batch_size))
    else:
        ctx.begin(int(newest.metrics["decisions"]))
    see_rollouts(ctx, net, rollouts, None if images else vision)
    save(net, ctx.draft)
    save(predictor, ctx.draft, "foretaste")
    return metrics | {"finetuned": float(images > 0), "newest_recon_loss": reconstruction.error(net, newest)}


def _warn_of_clipping(
    ctx: StageContext[VisionMemoryConfig], net: Vectors | PicturesAndVectors, rollout: Version
) -> None:
    """Say which number of vectors is often beyond what the first episodes had: there all values are one to M and C."""
    often = net.clipped(torch.from_numpy(sample_observations(rollout, _SAMPLE)).to(ctx.device))
    worst = int(often.argmax())
    if often[worst] > _OFTEN:
        ctx.log(
            f"number {worst} of the vector is more than 10 standard deviations from iteration 0's mean in {often[worst]:.0%} of"
            " the agent steps, and is clipped there: make the random episodes longer (rollout.prefill), or scale it in the"
            " environment",
            "warning",
        )


def _train(
    ctx: StageContext[VisionMemoryConfig],
    net: Pictured,
    predictor: RewardPredictor,
    rollouts: Sequence[Version],
    steps: int,
) -> dict[str, float]:
    config = ctx.config.vision
    pictures, vae, rows = Pictures(ctx, net, rollouts, steps), net.pictures, ctx.ranks.rows(config.batch_size)
    setting = "learning_rate" if ctx.iteration == 0 else "finetune_learning_rate"
    rate: float = getattr(config, setting)
    optimizer = adam([*net.parameters(), *predictor.parameters()], rate, config.beta2)
    net.train()

    def step(i: int) -> dict[str, float]:
        images, weights, rewards, known, total = pictures.batch(i)
        shape = config.batch_size, config.latent_size
        noise = torch.randn(shape, generator=ctx.generator("noise", i), device=ctx.device)[rows]
        share = len(images) / config.batch_size
        loss, z, parts = vae_loss(vae, images, noise, config.recon_weight, config.free_nats, weights, share)
        told = reward_prediction_loss(predictor(z), rewards, known, total)
        parts["reward_aux_loss"] = told.detach()
        clipped_step(loss + config.reward_aux_weight * told, optimizer, ranks=ctx.ranks, figures=parts.values())
        if ctx.ranks.first and i % _SHOW_EVERY == 0:
            reconstruction.show(ctx, vae, images[:1])
        return {name: float(part) for name, part in parts.items()}

    return fit(
        ctx, {"vision": net, "foretaste": predictor}, optimizer, steps,
        lambda i: warmup_decay(rate, i, steps, WARMUP_STEPS), step, config.batch_size, f"vision.{setting}",
        lasting=True,
    )  # fmt: skip
