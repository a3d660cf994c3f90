"""Networks and optimizers as named numpy arrays, and back. Nothing here is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import nn

from wmloop.errors import StoreCorruptError

Arrays = dict[str, np.ndarray]
_Net = TypeVar("_Net", bound=nn.Module)


class Weights(NamedTuple):
    """A network's stored `arrays` by name, and their `source`, for whoever is told that they do not fit."""

    arrays: Arrays
    source: str


@runtime_checkable
class Changed(Protocol):
    """A network whose weights were once stored otherwise."""

    def from_older(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """Return stored weights, of any age, as they are stored now."""


def module_arrays(module: nn.Module) -> Arrays:
    """Return a network's parameters and buffers by name."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in module.state_dict().items()}


def load_module(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Put named arrays into a network in place; one that has changed since knows what older ones meant (`from_older`).

    Raises:
        StoreCorruptError: names, shapes or dtypes are not the network's.
    """
    own = module.state_dict()
    if isinstance(module, Changed):
        arrays = module.from_older(arrays)
    if own.keys() != arrays.keys():
        odd = min(own.keys() ^ arrays.keys())
        how = "missing" if odd in own else "unexpected"
        raise StoreCorruptError(f"the weights do not fit {type(module).__name__}: {how} key {odd!r}")
    for name, tensor in own.items():
        array = torch.from_numpy(np.array(arrays[name]))
        if array.shape != tensor.shape or array.dtype != tensor.dtype:
            raise StoreCorruptError(
                f"the weights do not fit {type(module).__name__}: {name} is {array.dtype}{list(array.shape)},"
                f" expected {tensor.dtype}{list(tensor.shape)}"
            )
        tensor.copy_(array)


def load_weights(module: _Net, weights: Weights) -> _Net:
    """Put stored weights into a network in place; return it.

    Raises:
        StoreCorruptError: they are those of another network (names, dtypes or shapes differ); the message names their source.
    """
    try:
        load_module(module, weights.arrays)
    except StoreCorruptError as error:
        raise StoreCorruptError(f"{weights.source}: {error}") from None
    return module


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> Arrays:
    """Return an optimizer's state (Adam's moments and step counts), by parameter number."""
    return {
        f"{number}.{name}": np.array(value.detach().cpu().contiguous().numpy())
        for number, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]) -> None:
    """Put a state made by `optimizer_arrays` into an optimizer over the same parameters.

    Raises:
        StoreCorruptError: a slot does not have its parameter's shape.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, _, slot = key.partition(".")
        if not number.isdigit() or int(number) >= len(parameters):
            raise StoreCorruptError(f"the optimizer's state has an unexpected key: {key!r}")
        value, parameter = torch.from_numpy(np.array(array)), parameters[int(number)]
        if slot != "step":
            if value.shape != parameter.shape:
                raise StoreCorruptError(
                    f"the optimizer's state {key!r} has shape {list(array.shape)}, not its parameter's"
                )
            # In the parameter's own memory layout (V's is channels-last): the fused kernel walks both in storage order.
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
