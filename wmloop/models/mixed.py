"""Mixed precision: layers that may compute in bf16, between tensors that stay float32."""

from __future__ import annotations

import contextlib
import functools
import warnings

import torch
from torch import Tensor, nn


class Autocast(nn.Module):
    """Layers which `enable_autocast` allows to compute in bf16; their input and output are float32 in any case.

    Their weights are float32 too, and so are what an optimizer sees and what is stored.
    """

    rounds = False

    def rounding(self, x: Tensor) -> contextlib.AbstractContextManager[object]:
        """Return the context that the layers compute x in."""
        return torch.autocast(x.device.type, torch.bfloat16) if self.rounds else contextlib.nullcontext()


class Layers(Autocast, nn.Sequential):
    """Layers in sequence that may round."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layers make of x."""
        with self.rounding(x):
            y: Tensor = super().forward(x)
        return y.float() if self.rounds else y


class LSTM(Autocast, nn.LSTM):
    """An LSTM of torch's that may round: then its states are rounded at every step, its sums are not."""

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """Return the hidden states after each step and the last (h, c), as torch's does."""
        with self.rounding(x):
            out, (h, c) = super().forward(x, state)
        return (out.float(), (h.float(), c.float())) if self.rounds else (out, (h, c))


def enable_autocast(*networks: nn.Module) -> None:
    """Let the `Autocast` layers of `networks` compute in bf16 from now on."""
    for network in networks:
        for layers in network.modules():
            if isinstance(layers, Autocast):
                layers.rounds = True


@functools.cache
def rounding_fault(device: str) -> str:
    """Return why layers that round cannot learn on a device, "" if they can: found by trying it once, on a tiny scale."""
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("error", ".*autocast")  # a device that has no bf16 only warns, and does not round
            lstm, head = LSTM(8, 8, batch_first=True).to(device), Layers(nn.Linear(8, 8), nn.ReLU()).to(device)
            enable_autocast(lstm, head)
            zeros = torch.zeros(1, 2, 8, device=device)
            out, _ = lstm(torch.ones(2, 3, 8, device=device), (zeros, zeros))
            head(out).sum().backward()
            gradients = [weights.grad for layers in (lstm, head) for weights in layers.parameters()]
            sound = all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
        return "" if sound else "its numbers are not finite"
    except (RuntimeError, NotImplementedError, UserWarning) as error:
        return str(error).splitlines()[0].partition(". ")[0]
