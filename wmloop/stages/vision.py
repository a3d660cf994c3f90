"""Vision: train V on all episodes, warm-started, then see all of them once: their latents are stored beside V.

A picture's error weighs large things, and what decides over reward may be faint. So z must also tell what the next
decisions paid (`Foretaste`); pixels alone left out which road has paid already (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.config import MemoryConfig
from wmloop.episodes import Episode
from wmloop.models.state import module_arrays
from wmloop.models.vision import Foretaste, Vision, foretaste_loss, to_frames, to_images, vae_loss
from wmloop.stages.context import StageContext
from wmloop.stages.training import adam, descend, fit, warmup_decay
from wmloop.stages.weights import load, load_episodes, new_vision

_ENCODE_BATCH = 256
_SHOW_EVERY = 50
#: Decisions ahead whose rewards z must tell: about as far as the road in a picture reaches.
_AHEAD = 8


def run(ctx: StageContext) -> dict[str, float]:
    """Train or freeze V as configured; write `model`, `foretaste`, and `latents-NNNN` for each iteration's episodes."""
    config = ctx.config.vision
    torch.manual_seed(ctx.seed("init"))
    vision = new_vision(ctx.config, ctx.device)
    foretaste = Foretaste(config.latent, _AHEAD).to(ctx.device)
    rollouts = ctx.history("rollout")
    images = config.first_images if ctx.iteration == 0 else config.tune_images
    moves = ctx.iteration <= config.tune_iterations and images > 0
    if "vision" in ctx.carries:
        load(vision, ctx.carries["vision"])
        if "foretaste.safetensors" in ctx.carries["vision"].files:  # runs of earlier days have none
            load(foretaste, ctx.carries["vision"], "foretaste")
    if moves:
        batches = load_episodes(rollouts)
        metrics = _train(ctx, vision, foretaste, [e for batch in batches for e in batch], images)
        known = 0
    else:
        known = len(rollouts) - 1
        batches = load_episodes(rollouts[known:])
        ctx.begin(sum(len(e) + 1 for batch in batches for e in batch), "images")
        metrics = {}
    for i in range(known):  # a frozen V sees what it saw before
        name = f"latents-{i:04d}.safetensors"
        ctx.draft.save_bytes(name, ctx.carries["vision"].bytes(name))
    for i, batch in enumerate(batches, start=known):
        name = f"latents-{i:04d}.safetensors"
        if not ctx.draft.has(name):
            ctx.stop_here()
            ctx.draft.save_tensors(name, see(vision, batch, bool(ctx.config.env.mirror)))
    ctx.draft.save_tensors("model.safetensors", module_arrays(vision))
    ctx.draft.save_tensors("foretaste.safetensors", module_arrays(foretaste))
    return metrics | {"moved": float(moves)} | _check(vision, batches[-1])


def see(vision: Vision, episodes: list[Episode], mirror: bool) -> dict[str, np.ndarray]:
    """Return the posterior of every observation of `episodes`, in order, float16: `mu`, `logvar` (S, R, Z).

    S is 2 where the mirror images are seen too, else 1; R counts T+1 rows an episode.
    """
    device = next(vision.parameters()).device
    vision.eval()
    frames = np.concatenate([episode.observations for episode in episodes])
    sides = []
    with torch.inference_mode():
        for flipped in (False, True) if mirror else (False,):
            parts = []
            for start in range(0, len(frames), _ENCODE_BATCH):
                images = to_images(torch.from_numpy(frames[start : start + _ENCODE_BATCH]).to(device))
                parts.append(torch.stack(vision.encode(images.flip(3) if flipped else images)).half().cpu())
            sides.append(torch.cat(parts, 1))
    mu, logvar = torch.stack(sides, 1).numpy()
    return {"mu": mu, "logvar": logvar}


def _train(
    ctx: StageContext, vision: Vision, foretaste: Foretaste, episodes: list[Episode], images: int
) -> dict[str, float]:
    config = ctx.config.vision
    frames = np.concatenate([episode.observations for episode in episodes])
    rewards, known = (torch.from_numpy(array).to(ctx.device) for array in ahead(episodes, ctx.config.memory))
    steps = max(1, images // config.batch)
    if ctx.iteration == 0:
        vision.look(torch.from_numpy(frames))
    rate = config.learning_rate if ctx.iteration == 0 else config.tune_learning_rate
    optimizer = adam([*vision.parameters(), *foretaste.parameters()], rate)
    vision.train()

    def step(i: int) -> dict[str, float]:
        rng = ctx.rng("batch", i)
        chosen = rng.integers(0, len(frames), config.batch)
        batch = to_images(torch.from_numpy(frames[chosen]).to(ctx.device))
        if ctx.config.env.mirror and rng.random() < 0.5:
            batch = batch.flip(3)
        noise = torch.randn(config.batch, config.latent, generator=ctx.generator("noise", i), device=ctx.device)
        loss, z, parts = vae_loss(vision, batch, noise, config.recon_weight, config.kl_tolerance)
        rows = torch.from_numpy(chosen).to(ctx.device)
        parts["foretaste_loss"] = foretaste_loss(foretaste(z), rewards[rows], known[rows])
        descend(loss + config.reward_weight * parts["foretaste_loss"], optimizer)
        if i % _SHOW_EVERY == 0:
            _show(ctx, vision, batch[:1])
        return {name: float(part.detach()) for name, part in parts.items()}

    return fit(
        ctx, {"vision": vision, "foretaste": foretaste}, optimizer, steps, "images",
        lambda i: warmup_decay(rate, i, steps), step, config.batch,
    )  # fmt: skip


def ahead(episodes: Sequence[Episode], config: MemoryConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return what the decisions from each observation on paid, (R, H) in units of reward_scale, and 1 where one was made.

    R counts T+1 rows an episode, as `see` does. Rewards are floored as M's are.
    """
    rewards, known = [], []
    for episode in episodes:
        steps = np.arange(len(episode) + 1)[:, None] + np.arange(_AHEAD)
        made = steps < len(episode)
        paid = np.maximum(episode.rewards, config.reward_floor) / config.reward_scale
        rewards.append(np.where(made, paid[np.minimum(steps, len(episode) - 1)], 0))
        known.append(made)
    return np.concatenate(rewards).astype(np.float32), np.concatenate(known).astype(np.float32)


@torch.no_grad()
def _show(ctx: StageContext, vision: Vision, image: Tensor) -> None:
    ctx.show("real", to_frames(image)[0].cpu().numpy())
    ctx.show("reconstruction", to_frames(vision.decode(vision.encode(image)[0]))[0].cpu().numpy())


@torch.no_grad()
def _check(vision: Vision, episodes: list[Episode]) -> dict[str, float]:
    """Return the reconstruction error on (up to 256 of) the newest episodes' frames, from the posterior's mean."""
    vision.eval()
    frames = np.concatenate([episode.observations for episode in episodes])
    frames = frames[:: max(1, len(frames) // 256)][:256]
    images = to_images(torch.from_numpy(frames).to(next(vision.parameters()).device))
    error = (vision.decode(vision.encode(images)[0]) - images).square().sum((1, 2, 3)).mean()
    return {"newest_recon_loss": float(error)}
