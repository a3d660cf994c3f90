"""Ranks that are threads of one process, for tests: what they add up they add up in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from wmloop.ranks import Group

T = TypeVar("T")


class Threaded(Group):
    """One of several ranks that are threads."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, board: list[Any]) -> None:
        self.rank, self.size, self._barrier, self._board = rank, size, barrier, board

    def _exchanged(self, given: Any) -> list[Any]:
        self._board[self.rank] = given
        self._barrier.wait()
        board = list(self._board)
        self._barrier.wait()
        return board

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Add up, one after the other."""
        given = self._exchanged([tensor.detach().clone() for tensor in tensors])
        with torch.no_grad():
            for tensor, *parts in zip(tensors, *given, strict=True):
                tensor.copy_(sum(parts))

    def agree(self, ask: Callable[[], T]) -> T:
        """Ask the first."""
        return self._exchanged(ask() if self.first else None)[0]


def together(size: int, work: Callable[[Threaded], T]) -> list[T]:
    """Let so many ranks do the same work at once; return what each made of it."""
    barrier, board = threading.Barrier(size), [None] * size

    def one(rank: int) -> T:
        try:
            return work(Threaded(rank, size, barrier, board))
        except threading.BrokenBarrierError:
            raise
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
