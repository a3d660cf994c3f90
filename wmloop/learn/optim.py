"""Optimisation steps that every network shares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.errors import DivergedError
from wmloop.ranks import ALONE, Ranks


def adam(parameters: list[nn.Parameter], learning_rate: float, beta2: float = 0.999) -> torch.optim.Optimizer:
    """Return Adam with one fused kernel for all parameters, where the device has it."""
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, learning_rate, (0.9, beta2), fused=fused)


def warmup_decay(learning_rate: float, step: int, total: int, warmup: int = 0) -> float:
    """Return the learning rate at a step: a linear warm-up, then a cosine down to a tenth."""
    if step < warmup:
        return learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return float(learning_rate * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * done))))


def clipped_step(
    loss: Tensor, optimizer: torch.optim.Optimizer, max_grad_norm: float = float("inf"), *parts: list[nn.Parameter],
    ranks: Ranks = ALONE, figures: Iterable[Tensor] = (),
) -> None:  # fmt: skip
    """Take one gradient step; the gradients of each of `parts` are clipped by themselves, or all together without any.

    With several ranks `loss` is this one's part of it, as `figures` () are of what is told besides: all of these, and the
    gradient, become the sums over all ranks before anything is clipped, so that every rank takes the same step.

    Raises:
        DivergedError: loss or gradient is not finite; no weight was changed.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    together = [[p for group in optimizer.param_groups for p in group["params"]]]
    if ranks.size > 1:
        ranks.sum([*(p.grad for p in together[0] if p.grad is not None), loss.detach(), *figures])
    norms = [nn.utils.clip_grad_norm_(part, max_grad_norm) for part in parts or together]
    if not torch.isfinite(loss.detach() + sum(norms)):
        told = ", ".join(f"{norm.item():.3g}" for norm in norms)
        raise DivergedError(f"loss {loss.item():.3g}, gradient norm {told}")
    optimizer.step()
