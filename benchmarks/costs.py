"""What a step costs in closed form, what a card can do at most, and which share of that a measured rate is.

All counts are of float32 tensors. FLOPs are those of matrix products, two a multiply-add: the rest is a few in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wmloop.models.memory import Memory

_WORD = 4  # bytes of a float32


def matrices(network: nn.Module) -> list[int]:
    """Return how many numbers each weight matrix of a network has, in the order of its layers."""
    return [part.numel() for part in network.parameters() if part.dim() == 2]


def pass_flop(network: nn.Module) -> int:
    """Return the FLOPs of one row that passes through a network of dense layers or of LSTM cells, each of them once."""
    return 2 * sum(matrices(network))


def learn_flop(network: nn.Module) -> int:
    """Return the FLOPs of one row, forward and backward: its input is data, and has no gradient."""
    return 3 * pass_flop(network) - 2 * matrices(network)[0]


def dream_flop(memory: Memory, actor: nn.Module) -> int:
    """Return the FLOPs of one step of one dream: M's gates, mixture and outcome layers, and C's actor."""
    return pass_flop(memory) + pass_flop(actor)


def trained_flop(memory: Memory, actor: nn.Module, critic: nn.Module, horizon: int, epochs: int) -> float:
    """Return the FLOPs of one step that is dreamt and that PPO passes over `epochs` times.

    The value is asked for once more a dream than it has steps, and the reference policy once a step.
    """
    once = dream_flop(memory, actor) + pass_flop(actor) + pass_flop(critic) * (horizon + 1) / horizon
    return once + epochs * (learn_flop(actor) + learn_flop(critic))


def dream_bytes(memory: Memory, actor: nn.Module, num_dreams: int) -> float:
    """Return the bytes that one step of one of so many dreams moves at least, were all of its operators one kernel.

    It reads its noise and the state before; it writes the state after, which is also the record, and the action, its
    logprob, both rewards and the probability to go on. The weights are read once for all dreams.
    """
    state = memory.features + memory.hidden
    noise, record = 2 * memory.latent + memory.actions, memory.actions + 4
    weights = sum(matrices(memory)) + sum(matrices(actor))
    return _WORD * (noise + 2 * state + record + weights / num_dreams)


def trained_bytes(
    memory: Memory, actor: nn.Module, critic: nn.Module, num_dreams: int, epochs: int, minibatch: int
) -> float:
    """Return the bytes that one step moves at least which is dreamt and learnt from in `epochs` passes.

    A pass reads features, action, logprob, advantage, return, weight and the reference policy's two numbers an action. A
    gradient step reads and writes weights and both of Adam's moments, and writes and reads the gradient.
    """
    seen = memory.features + 3 * memory.actions + 4
    weights = sum(part.numel() for network in (actor, critic) for part in network.parameters())
    step = 8 * weights / minibatch
    return dream_bytes(memory, actor, num_dreams) + _WORD * (2 * memory.features + epochs * (seen + step))


class Card(NamedTuple):
    """What a card does at most: FLOP/s of dense matrix products by precision, and bytes/s of its memory."""

    fp32: float
    tf32: float
    bf16: float
    bandwidth: float
    source: str = "its data sheet"

    def flops(self, precision: str) -> float:
        """Return the FLOP/s of products at one of wmloop's precisions.

        `bf16` is leave to round, of which torch makes tf32 on CUDA; `bf16-mixed` is bf16 at best.
        """
        return {"fp32": self.fp32, "tf32": self.tf32, "bf16": self.tf32, "bf16-mixed": self.bf16}[precision]

    def most(self, precision: str, flop: float, moved: float) -> float:
        """Return how many steps of so many FLOPs and bytes fit into a second: the roofline (Williams et al. 2009)."""
        return min(self.flops(precision) / flop, self.bandwidth / moved)


#: By what torch calls them, as their makers' data sheets say: dense, with sums in float32, at the clock of the data sheet.
CARDS = {
    "NVIDIA H200": Card(67e12, 494.7e12, 989.4e12, 4.8e12),
    "NVIDIA H100 80GB HBM3": Card(67e12, 494.7e12, 989.4e12, 3.35e12),
    "NVIDIA H100 PCIe": Card(51.2e12, 378e12, 756e12, 2.0e12),
    "NVIDIA A100-SXM4-80GB": Card(19.5e12, 156e12, 312e12, 2.039e12),
    "NVIDIA A100-SXM4-40GB": Card(19.5e12, 156e12, 312e12, 1.555e12),
    "NVIDIA L40S": Card(91.6e12, 183e12, 362e12, 0.864e12),
    "NVIDIA L4": Card(30.3e12, 60e12, 121e12, 0.3e12),
    "NVIDIA GeForce RTX 4090": Card(82.6e12, 82.6e12, 165.2e12, 1.008e12),
}


def known_card(name: str) -> Card | None:
    """Return the card of a name that torch tells, or None where it is not in the table: then it is measured."""
    return CARDS.get(name)


class Traffic(TorchDispatchMode):
    """Count the bytes that operators read and write while it is entered, each of them on its own; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func._schema.name.rpartition("::")[2]
        aliases = [value.alias_info for value in func._schema.returns]
        if any(alias is not None and not alias.is_write for alias in aliases) or "empty" in name:
            return made
        read = [] if name.endswith("_like") else tree_leaves((args, kwargs))
        self.moved += _bytes(read[1:] if name in _OVERWRITING else read) + _bytes(tree_leaves(made))
        return made


#: What does not read its first argument.
_OVERWRITING = {"copy_", "fill_", "zero_"}


def _bytes(leaves: Iterable[Any]) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))


@torch.no_grad()
def traffic(work: Any) -> int:
    """Return the bytes that the operators of `work()` move, as `Traffic` counts them."""
    with Traffic() as counted:
        work()
    return counted.moved
