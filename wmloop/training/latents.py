"""What V sees, and what it is to tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.config import VisionMemoryConfig
from wmloop.episodes import Episode
from wmloop.errors import DivergedError
from wmloop.models.encoder import AnyEncoder
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.rollouts import episodes_of

_ENCODE_BATCH = 256
#: Decisions ahead whose rewards z must tell: about as far as the road in a picture reaches.
AHEAD = 8


def see_rollouts(
    ctx: StageContext[VisionMemoryConfig], vision: AnyEncoder, rollouts: Sequence[Version], frozen: Version | None
) -> None:
    """Save the latents of each rollout, a file each; of a V that is `frozen` since that version, those it had before.

    Raises:
        DivergedError: a latent is not finite.
        StorageError: the disk has no room for them.
        Interrupted: the run is to stop; what is saved is taken up again.
    """
    mirror = bool(ctx.config.env.mirrored_actions)
    rows = int(sum(version.metrics["decisions"] + version.metrics["episodes"] for version in rollouts))
    ctx.draft.require_space(rows * (1 + mirror) * 2 * vision.stored.itemsize * vision.latent)  # mu, logvar
    ctx.log(f"V encodes all {rows:,} {'images' if vision.pictures else 'vectors'}, for M to learn from")
    first = len(ctx.collected()) - len(rollouts)
    seen = _files(frozen) if frozen else []
    if frozen and seen and len(frozen.tensors(seen[-1])["mu"]) != 1 + mirror:  # a fork has begun or ceased to mirror
        seen = []
    for number, version in enumerate(rollouts, first):
        file = f"latents-{number:04d}.safetensors"
        if ctx.draft.has(file):
            continue
        ctx.check_stop()
        if frozen and file in seen:  # it sees what it saw before
            ctx.draft.save_bytes(file, frozen.bytes(file))
        else:
            ctx.draft.save_tensors(file, see(vision, episodes_of(version), mirror))


def has_latents(vision: Version) -> bool:
    """Tell whether the latents of what V saw are stored with it: they may be pruned, or not have been exported."""
    return bool(_files(vision)) and not vision.pruned


def latents_of(vision: Version) -> tuple[np.ndarray, np.ndarray]:
    """Return mu and logvar (S, R, Z) float32 of all rollouts that V saw, in their order (see `see`)."""
    seen = [vision.tensors(file) for file in _files(vision)]
    mu, logvar = (np.concatenate([part[key] for part in seen], 1).astype(np.float32) for key in ("mu", "logvar"))
    return mu, logvar


def _files(vision: Version) -> list[str]:
    return [file for file in sorted(vision.files) if file.startswith("latents-")]


def see(vision: AnyEncoder, episodes: Iterable[Episode], mirror: bool) -> dict[str, np.ndarray]:
    """Return the posterior of every observation of `episodes`, in order: `mu`, `logvar` (S, R, Z), pictures' in float16.

    S is 2 where the mirror images are seen too, else 1; R counts T+1 rows an episode.

    Raises:
        DivergedError: a latent is not finite.
    """
    device = next(iter(vision.state_dict().values())).device
    vision.eval()
    sides: list[list[Tensor]] = [[], []] if mirror else [[]]
    with torch.inference_mode():
        for frames in batches(episodes):
            seen = torch.from_numpy(frames).to(device)
            for flipped, side in enumerate(sides):
                side.append(torch.stack(vision.see(seen.flip(2) if flipped else seen)).to(vision.stored).cpu())
    mu, logvar = torch.stack([torch.cat(side, 1) for side in sides], 1).numpy()
    if not (np.isfinite(mu).all() and np.isfinite(logvar).all()):
        raise DivergedError(
            "V encodes to latents that are not finite; in a new run or a fork (`wmloop fork`) lower vision.learning_rate, and"
            " from iteration 1 on vision.finetune_learning_rate"
        )
    return {"mu": mu, "logvar": logvar}


def batches(episodes: Iterable[Episode]) -> Iterator[np.ndarray]:
    """Yield the observations of `episodes` in order, some hundred at a time."""
    waiting: list[np.ndarray] = []
    for episode in episodes:
        waiting.append(episode.observations)
        while sum(map(len, waiting)) >= _ENCODE_BATCH:
            frames = np.concatenate(waiting)
            yield frames[:_ENCODE_BATCH]
            waiting = [frames[_ENCODE_BATCH:]]
    if waiting:
        yield np.concatenate(waiting)


def ahead(episodes: Sequence[Episode], floor: float | None, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what the decisions from each observation on paid, (R, H) in units of `scale`, and 1 where one was made.

    R counts T+1 rows an episode, as `see` does. Rewards are floored as M's are; those of ends are in units of their own
    root mean square, where that is larger: z would tell of nothing else.
    """
    ends = [float(episode.rewards[-1]) for episode in episodes if episode.terminated]
    large = max(scale, float(np.sqrt(np.mean(np.square(ends))))) if ends else scale
    rewards, known = [], []
    for episode in episodes:
        steps = np.arange(len(episode) + 1)[:, None] + np.arange(AHEAD)
        made = steps < len(episode)
        paid = (episode.rewards if floor is None else np.maximum(episode.rewards, floor)) / scale
        if episode.terminated:
            paid[-1] = episode.rewards[-1] / large
        rewards.append(np.where(made, paid[np.minimum(steps, len(episode) - 1)], 0))
        known.append(made)
    return np.concatenate(rewards).astype(np.float32), np.concatenate(known).astype(np.float32)
