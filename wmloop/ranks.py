"""The processes that train one run together, where torchrun began several: what each does of a batch, and what they add up.

Every rank has the whole weights. It draws the whole batch as one process would, by its place, takes its share of the rows,
and computes its part of the batch's loss. The sums of all parts are the gradient and the figures of the whole batch: the same
on every rank, and but for the order of summation those of one process. So every rank takes the same step, and decides
alike. What follows from clocks, signals or the disk is the first rank's to decide: the others ask it.

torch's DistributedDataParallel averages gradients of equal parts; here parts are means under weights, whose sums are known of
the whole batch, and a value that stops the policy has to be summed before the next step. One sum does all.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from wmloop import torchrun
from wmloop.errors import RankLostError, UsageError

T = TypeVar("T")

#: So long may a rank be busy between two sums; a process that ended is noticed at once.
_PATIENCE = timedelta(minutes=10)
_ASK_SECONDS = 0.1


class Ranks:
    """The ranks of a run, as one of them sees them. This is a process alone: it shares nothing, and nothing costs time."""

    rank, size = 0, 1

    @property
    def first(self) -> bool:
        """Tell whether this is the rank that has the store, the view and the real environments."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """Return which of the `count` rows of a batch are this rank's.

        Raises:
            UsageError: there are fewer rows than ranks.
        """
        if count < self.size:
            raise UsageError(
                f"a batch of {count} cannot be shared by {self.size} ranks: start fewer, or raise vision.batch_size,"
                " memory.batch_size or dream.num_dreams, whichever is so small"
            )
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Put into each of `tensors`, of one dtype on one device, its sum over all ranks."""

    def join(self, parts: Sequence[Tensor], count: int) -> Sequence[Tensor]:
        """Return tensors (T, count, ...) of which `parts` (T, rows, ...) are this rank's rows."""
        return parts

    def agree(self, ask: Callable[[], T]) -> T:
        """Return what `ask` returns on the first rank; the others do not call it."""
        return ask()

    def prepare(self, device: torch.device) -> None:
        """Let this rank compute on its own device of that kind.

        Raises:
            UsageError: there are fewer than ranks.
        """

    def announce(self, work: Mapping[str, Any]) -> None:
        """Let the others perform `work`, a JSON table, with the first rank, which calls this."""

    def dismiss(self) -> None:
        """Let the others end: the first rank has done what it was asked to."""


#: What has no other ranks beside it.
ALONE = Ranks()


class Group(Ranks):
    """Several ranks, that torchrun began.

    Work is announced by torchrun's own key-value store, and the ranks are connected when the first is: so a rank without work
    waits for nothing but a word, however long that takes, and answers signals.

    Raises, from every method that asks other ranks for something:
        RankLostError: one of them has ended, or cannot be reached.
    """

    def __init__(self, place: torchrun.Place) -> None:
        from torch import distributed
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        self.rank, self.size = place.rank, place.size
        self._place, self._distributed = place, distributed
        if place.size == place.local_size and sys.platform == "linux":  # nobody else needs to see their ports
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self._told, self._connected = 0, False
        with self._lost("torchrun"):
            words, *_ = next(rendezvous("env://"))
        # torchrun may keep its store when it begins all anew (--max-restarts): what was said before is not meant for these.
        self._words = PrefixStore(f"wmloop-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", words)

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Put the sums over all ranks into `tensors`."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with self._lost("another rank"):
            self._distributed.all_reduce(flat)
        with torch.no_grad():
            for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def join(self, parts: Sequence[Tensor], count: int) -> Sequence[Tensor]:
        """Return the whole of what all ranks have their rows of: sums with zeros, for shares may differ in size."""
        rows = self.rows(count)
        whole = [part.new_zeros(len(part), count, *part.shape[2:]) for part in parts]
        for tensor, part in zip(whole, parts, strict=True):
            tensor[:, rows] = part
        self.sum(whole)
        return whole

    def agree(self, ask: Callable[[], T]) -> T:
        """Return what the first rank's `ask` returns."""
        said: list[Any] = [ask() if self.first else None]
        with self._lost("another rank"):
            self._distributed.broadcast_object_list(said, device=torch.device("cpu"))
        return said[0]

    def prepare(self, device: torch.device) -> None:
        """Take the GPU of this rank's number on its node."""
        if device.type == "mps":
            raise UsageError("several ranks need a device each, and a Mac has one mps: use --device cpu")
        if device.type == "cuda":
            there = torch.cuda.device_count()
            if there < self._place.local_size:
                raise UsageError(
                    f"torchrun began {self._place.local_size} ranks on a machine with {there} GPU{'s' * (there != 1)}:"
                    f" --nproc-per-node={there} begins one a GPU"
                )
            torch.cuda.set_device(self._place.local_rank)

    def announce(self, work: Mapping[str, Any]) -> None:
        """Tell all others of the work, and connect with them."""
        self._tell(json.dumps(work))
        self._connect()

    def dismiss(self) -> None:
        """Tell all others that there is no more work; where that cannot be told, they find out."""
        with contextlib.suppress(RankLostError):
            self._tell("")

    def work(self, leave: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """Yield what the first rank announces, until it dismisses this one or `leave` says so; it does not say so amid work."""
        while (text := self._next(leave)) is not None:
            self._told += 1
            self._connect()
            yield json.loads(text)

    def dismissed(self) -> bool:
        """Tell whether the first rank had nothing more to do."""
        with contextlib.suppress(RankLostError), self._lost("torchrun"):
            return self._words.check([self._key]) and not self._words.get(self._key)
        return False

    @property
    def _key(self) -> str:
        return f"work-{self._told}"

    def _tell(self, text: str) -> None:
        with self._lost("torchrun"):
            self._words.set(self._key, text)
        self._told += 1

    def _next(self, leave: Callable[[], bool]) -> str | None:
        with self._lost("torchrun"):
            while not self._words.check([self._key]):
                if leave():
                    return None
                time.sleep(_ASK_SECONDS)
            return self._words.get(self._key).decode() or None

    def _connect(self) -> None:
        if self._connected:
            return
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with self._lost("another rank"):
            self._distributed.init_process_group(
                backend, store=self._words, rank=self.rank, world_size=self.size, timeout=_PATIENCE
            )
        self._connected = True

    @contextlib.contextmanager
    def _lost(self, whom: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            why = str(error).splitlines()[0][:200]
            raise RankLostError(
                f"rank {self.rank} of {self.size} has lost {whom}, and one that ends, ends all; if it had something to say,"
                f" that is above ({why})"
            ) from error


@functools.cache
def joined() -> Ranks:
    """Return the ranks that this process is one of: those that torchrun began, or it alone."""
    place = torchrun.place()
    return ALONE if place is None else Group(place)
