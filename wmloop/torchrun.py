"""What torchrun tells a process that it began: which of how many it is. Nothing here imports torch."""

from __future__ import annotations

import os
from typing import NamedTuple

#: The commands that several ranks share the work of.
TOGETHER = ("start", "resume", "fork")


class Place(NamedTuple):
    """The rank of this process among `size` on all nodes, and among `local_size` on this one."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def place() -> Place | None:
    """Return which rank this process is, None where torchrun began none beside it, or did not begin it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, size, local_rank, local_size = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    return Place(rank, size, local_rank, local_size) if size > 1 else None


def launching(program: list[str]) -> list[str]:
    """Return the words by which as many ranks run wmloop as this process is one of: `program`, where it is alone."""
    here = place()
    if here is None:
        return program
    nodes, by_python = here.size // here.local_size, program[1:2] == ["-m"]
    told = ["--standalone"]
    if nodes > 1:  # the same command on each node: they meet at the first one
        told = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={os.environ['MASTER_ADDR']}"]
    return [
        *([program[0], "-m", "torch.distributed.run"] if by_python else ["torchrun"]),
        *told, f"--nproc-per-node={here.local_size}", "-m", "wmloop",
    ]  # fmt: skip
