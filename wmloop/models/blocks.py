"""Rows that do not know each other: the same bits for a dream whether it is imagined alone or among a thousand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wmloop.models.world_model import Imagination, Outcome, State

RowFunction = Callable[..., Sequence[Tensor]]
"""(rows, ...) -> results, all of them tensors of as many rows."""

#: How many rows are computed at a time, the largest size first that gives the same bits: small blocks need more calls, large
#: ones waste work where there are few dreams.
_SIZES = (128, 64, 32, 16)


def by_blocks(function: RowFunction, size: int, parts: Sequence[Tensor]) -> list[Tensor]:
    """Return what `function` makes of the rows of `parts` (N, ...), computed `size` rows at a time, the last filled up.

    A matrix product of another number of rows may sum in another order, so each is of one shape.
    """
    count = len(parts[0])
    padding = -count % size
    if padding:
        parts = [torch.cat([part, part[:1].expand(padding, *part.shape[1:])]) for part in parts]
    blocks = zip(*(part.contiguous().split(size) for part in parts), strict=True)
    made = [function(*block) for block in blocks]
    return [
        torch.cat(results)[:count] if len(results) > 1 else results[0][:count] for results in zip(*made, strict=True)
    ]


def block_size(function: RowFunction, parts: Sequence[Tensor]) -> int:
    """Return the most rows to compute at a time so that no row's result depends on its place or on the others.

    That is tried, on examples (N, ...) of rows: it is the processor's libraries that decide it. One at a time always does.
    """
    for size in _SIZES:
        rows = torch.arange(size, device=parts[0].device) % len(parts[0])
        if _independent(function, [part[rows] for part in parts]):
            return size
    return 1


def _independent(function: RowFunction, parts: Sequence[Tensor]) -> bool:
    size = len(parts[0])
    whole = function(*parts)
    for shift in (1, 3, size // 2 + 1):
        for got, wanted in zip(function(*(part.roll(shift, 0) for part in parts)), whole, strict=True):
            if not torch.equal(got, wanted.roll(shift, 0)):
                return False
    alone = function(*(torch.cat([part[-1:].expand_as(part[1:]), part[:1]]) for part in parts))
    return all(torch.equal(got[-1], wanted[0]) for got, wanted in zip(alone, whole, strict=True))


class Blocks:
    """Imagine as another imagination does, each dream for itself (see world_model.Imagination)."""

    def __init__(self, imagination: Imagination, examples: State, actions: Tensor) -> None:
        """Take who imagines, some states (K, ...) that dreams begin at, and actions (K, A) as a world model reads them."""
        self.noise_size = imagination.noise_size
        self._imagine = imagination.imagine
        generator = torch.Generator(actions.device).manual_seed(0)
        shape = len(actions), self.noise_size
        noise = [draw(shape, generator=generator, device=actions.device) for draw in (torch.rand, torch.randn)]
        self._size = block_size(self._step, [*examples, actions, *noise])

    def imagine(self, state: State, action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[State, Outcome]:
        """Return where N dreams come to by action (N, A), and what it does to them."""
        features, inner, *outcome = by_blocks(self._step, self._size, [*state, action, uniform, normal])
        return State(features, inner), Outcome(*outcome)

    def _step(self, features: Tensor, inner: Tensor, *rest: Tensor) -> Sequence[Tensor]:
        state, outcome = self._imagine(State(features, inner), *rest)
        return [*state, *outcome]
