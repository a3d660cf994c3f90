"""Optimisation steps that every network shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.errors import DivergedError


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


def clipped_step(loss: Tensor, optimizer: torch.optim.Optimizer, max_grad_norm: float = float("inf")) -> float:
    """Take one gradient step; return the gradient's norm before clipping.

    Raises:
        DivergedError: loss or gradient is not finite; no weight was changed.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], max_grad_norm)
    if not torch.isfinite(loss.detach() + norm):
        raise DivergedError(f"loss {loss.item():.3g}, gradient norm {norm.item():.3g}")
    optimizer.step()
    return float(norm)
