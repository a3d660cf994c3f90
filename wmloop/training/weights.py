"""The weights of networks in versions."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from wmloop.errors import StoreCorruptError
from wmloop.models import state
from wmloop.models.state import Weights, load_weights
from wmloop.pipelines import weights_file
from wmloop.store import Draft, Version

_Net = TypeVar("_Net", bound=nn.Module)
#: An optimizer's state is stored as weights are.
_OPTIMIZER = "optimizer"


def save(net: nn.Module, draft: Draft, name: str = "model") -> None:
    """Save a network's weights in a draft, from whose version `stored` reads them."""
    draft.save_tensors(weights_file(name), state.module_arrays(net))


def stored(version: Version, name: str = "model") -> Weights:
    """Return the weights of that `name` in a version.

    Raises:
        StoreCorruptError: the file is damaged.
    """
    file = weights_file(name)
    return Weights(version.tensors(file), str(version.path / file))


def load(net: _Net, version: Version, name: str = "model") -> _Net:
    """Load a network's weights of that `name` from a version, in place; return it.

    Raises:
        StoreCorruptError: the file is damaged, or holds the weights of another network (names, dtypes or shapes differ).
    """
    return load_weights(net, stored(version, name))


def has(version: Version, name: str) -> bool:
    """Tell whether a version holds the weights of that `name`: it may be of earlier days, or pruned."""
    return weights_file(name) in version.files


def save_optimizer(optimizer: torch.optim.Optimizer, draft: Draft) -> None:
    """Save an optimizer's state in a draft, from whose version `load_optimizer` reads it."""
    draft.save_tensors(weights_file(_OPTIMIZER), state.optimizer_arrays(optimizer))


def load_optimizer(optimizer: torch.optim.Optimizer, version: Version) -> None:
    """Load an optimizer's state from a version, in place; its parameters are those it was saved with.

    Raises:
        StoreCorruptError: the file is damaged, or its state is that of other parameters.
    """
    arrays, source = stored(version, _OPTIMIZER)
    try:
        state.load_optimizer(optimizer, arrays)
    except StoreCorruptError as error:
        raise StoreCorruptError(f"{source}: {error}") from None
