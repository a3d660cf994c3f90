"""Many actors of one kind side by side, as evolution tries them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from wmloop.learn.policy import Policy
from wmloop.models.controller import Actor

_Actor = TypeVar("_Actor", bound=Actor)


class Population(nn.Module):
    """Copies of an actor, each with deciding weights of its own, as one policy: their layers become batched products.

    Of N rows of features the first N / P are the first candidate's, and so on.
    """

    def __init__(self, actor: Actor, weights: Tensor) -> None:
        """Give each of P copies one row of `weights` (P, W), which are in the order that `weights_of` has them in."""
        super().__init__()
        self._actor, self._size = actor, len(weights)
        self._weights = _split(actor, weights.to(next(actor.parameters())))

    def forward(self, features: Tensor) -> Policy:
        """Return the policy for features (N, F), the rows of each candidate together."""
        policy: Policy = vmap(self._one)(self._weights, features.unflatten(0, (self._size, -1)))
        return policy.flat()

    def _one(self, weights: dict[str, Tensor], features: Tensor) -> Policy:
        return functional_call(self._actor, weights, (features,))


def weights_of(actor: Actor) -> Tensor:
    """Return an actor's deciding weights, one after the other (W,)."""
    return torch.cat([part.detach().flatten() for part in actor.deciding().values()])


@torch.no_grad()
def with_weights(actor: _Actor, weights: Tensor) -> _Actor:
    """Put deciding weights (W,) into an actor in place; return it."""
    for name, part in _split(actor, weights.unsqueeze(0)).items():
        actor.deciding()[name].copy_(part[0])
    return actor


def _split(actor: Actor, weights: Tensor) -> dict[str, Tensor]:
    """Return rows of weights (P, W) by the names of the parameters that they are, (P, ...)."""
    parts = actor.deciding()
    pieces = weights.split([part.numel() for part in parts.values()], 1)
    return {name: piece.unflatten(1, part.shape) for (name, part), piece in zip(parts.items(), pieces, strict=True)}
