"""What goes to other processes as bytes: tensors by value, to the bit as they lie, and for a CPU wherever they are."""

from __future__ import annotations

import io
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.errors import UsageError


def packed(thing: Any) -> bytes:
    """Return `thing` as bytes, of which `unpacked` makes it again.

    Raises:
        UsageError: it cannot be pickled.
    """
    return packed_from(thing)[0]


def packed_from(thing: Any) -> tuple[bytes, torch.device]:
    """Return `thing` as bytes, and the device that its tensors are on; raises UsageError as `packed` does."""
    buffer = io.BytesIO()
    packer = _Packer(buffer)
    try:
        packer.dump(thing)
    except Exception as error:  # a stranger's class may raise anything
        raise UsageError(
            f"the engine 'ray' sends agents and how they explore to its actors, and this one cannot be pickled: {error};"
            " make it of classes and functions of modules, or take the engine 'processes'"
        ) from error
    return buffer.getvalue(), packer.device


def unpacked(parcel: bytes) -> Any:
    """Return what was packed, by a process of the same wmloop."""
    return ForkingPickler.loads(parcel)


def _lies(tensor: Tensor) -> tuple[np.ndarray, torch.dtype, tuple[int, ...]]:
    """Return a tensor's numbers, and how they lie: products of the same numbers that lie otherwise may round otherwise."""
    here = tensor.detach().cpu()
    plain = here.view(torch.int16) if here.dtype == torch.bfloat16 else here
    stride = here.stride() if 0 not in here.stride() else here.contiguous().stride()
    return np.ascontiguousarray(plain.numpy()).reshape(here.shape), here.dtype, tuple(stride)


def _tensor(numbers: np.ndarray, dtype: torch.dtype, stride: tuple[int, ...]) -> Tensor:
    tensor = torch.empty_strided(numbers.shape, stride, dtype=dtype)
    plain = torch.from_numpy(numbers.copy())
    return tensor.copy_(plain.view(dtype) if dtype == torch.bfloat16 else plain)


def _parameter(needs_gradient: bool, *lies: Any) -> nn.Parameter:
    return nn.Parameter(_tensor(*lies), needs_gradient)


class _Packer(ForkingPickler):
    """Pickle tensors as their numbers; what multiprocessing does would hand on memory of this machine."""

    device = torch.device("cpu")

    def reducer_override(self, thing: Any) -> Any:
        """Return how a tensor or a device is made again; of all else pickle knows that."""
        if type(thing) is Tensor or type(thing) is nn.Parameter:
            if thing.device.type != "cpu":
                self.device = thing.device
            return (
                (_tensor, _lies(thing)) if type(thing) is Tensor else (_parameter, (thing.requires_grad, *_lies(thing)))
            )
        return (torch.device, ("cpu",)) if type(thing) is torch.device else NotImplemented
