"""CUDA graphs: hundreds of small kernels launched as one, where there is CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

_WARM_UPS = 3


class CapturedGraph(Generic[Result]):
    """Call a function of tensors: on CUDA recorded once and replayed from then on, elsewhere simply called.

    All shapes have to stay as they are in the first call, and whatever else the function reads (weights) has to change in
    place only. On CUDA the result is overwritten by the next call. A function that cannot be recorded, because it waits for
    the host somewhere, is called as it is from then on; `eager` says so, and `fault` why.
    """

    def __init__(self, function: Callable[..., Result]) -> None:
        self._function = function
        self.eager, self.fault = False, ""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._result: Result

    def __call__(self, *tensors: Tensor) -> Result:
        """Return the function's result for these tensors."""
        self.eager |= not tensors[0].is_cuda
        if self.eager:
            return self._function(*tensors)
        if self._graph is None and not self._record(tensors):
            return self._function(*tensors)
        assert self._graph is not None
        for held, given in zip(self._inputs, tensors, strict=True):
            held.copy_(given)
        self._graph.replay()
        return self._result

    def _record(self, tensors: tuple[Tensor, ...]) -> bool:
        self._inputs = tuple(tensor.clone() for tensor in tensors)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries choose their kernels and workspaces in the first calls
            for _ in range(_WARM_UPS):
                self._function(*self._inputs)
        current = torch.cuda.current_stream()
        current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:  # a recording that fails leaves the process in the stream that it was made in
            with torch.cuda.stream(current), torch.cuda.graph(graph):
                self._result = self._function(*self._inputs)
        except RuntimeError as error:
            self.eager, self.fault, self._inputs = True, str(error), ()
            return False
        self._graph = graph
        return True
