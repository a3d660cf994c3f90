"""Choose where V, M and C compute, and set torch up so that the same run computes the same numbers."""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from wmloop.envs import versions
from wmloop.errors import UsageError


def available_devices() -> list[str]:
    """Return the devices of this machine, the fastest last."""
    devices = ["cpu"]
    if torch.backends.mps.is_available():
        devices.append("mps")
    if torch.cuda.is_available():
        devices.append("cuda")
    return devices


def resolve_device(name: str) -> str:
    """Return the device `name` stands for: itself, or for `auto` cuda where there is one, else cpu.

    `auto` never means mps: networks this small run faster on a Mac's cores than on its GPU.

    Raises:
        UsageError: this machine has no such device; those it has are listed.
    """
    there = available_devices()
    if name == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if name not in there:
        reason = ""
        if name == "cuda" and torch.version.cuda is None:
            reason = f" (torch {torch.__version__} was built without CUDA)"
        raise UsageError(f"there is no device {name!r} here{reason}: this machine has {', '.join(there)}")
    return name


def resolve_threads(threads: int) -> int:
    """Return how many CPU threads to learn with: `threads`, or for 0 OMP_NUM_THREADS, or one per usable core."""
    if threads:
        return threads
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else usable_cores()


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


#: What torch calls the lowest precision that the factors of a float32 matrix product may be rounded to.
_PRODUCTS = {"fp32": "highest", "tf32": "high", "bf16": "medium", "bf16-mixed": "medium"}
#: glibc's names for when memory is taken from and given back to the system at once.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: A lower precision has to be so many times as fast to be chosen.
_WORTH = 1.3
#: What may be a little slower, since it is measured in a moment.
_NO_LOSS = 1.1


def resolve_precision(name: str, device: str) -> str:
    """Return how far matrix products may round their factors: `name`, or for `auto` what is worth its speed.

    Tensors stay float32, sums and the mixture's arithmetic too; with `bf16-mixed` M's LSTM and C's hidden layers compute in
    bf16 while they learn (models/mixed.py). `auto` is tf32 on a GPU and, on a CPU, what products of the dream's size, timed
    for about 50 ms, say: bf16 if they are 1.3 times as fast where factors may round, bf16-mixed if products of bf16 tensors
    are 1.3 times as fast as that, and rounded ones no slower than others. Whether factors then round is up to oneDNN: a
    processor with AMX rounds, on others its float32 product is sometimes the faster one (docs/performance.md).
    """
    if name != "auto":
        return name
    if device == "cuda":
        return "tf32"
    if device != "cpu":
        return "fp32"
    before = torch.get_float32_matmul_precision()
    a, b = torch.rand(1024, 256), torch.rand(256, 1632)
    rounded = a.bfloat16(), b.bfloat16()
    seconds = dict.fromkeys(("fp32", "bf16", "bf16-mixed"), math.inf)
    try:
        for _ in range(5):  # in turns, and the fastest counts: other work on the machine makes all slower
            for precision in seconds:
                set_precision(precision)
                begun = time.perf_counter()
                torch.mm(*(rounded if precision == "bf16-mixed" else (a, b)))
                seconds[precision] = min(seconds[precision], time.perf_counter() - begun)
    finally:
        torch.set_float32_matmul_precision(before)
    chosen = "bf16" if seconds["fp32"] >= _WORTH * seconds["bf16"] else "fp32"
    # Mixed precision is no slower elsewhere: what is not in bf16 tensors may round its factors then.
    if seconds[chosen] >= _WORTH * seconds["bf16-mixed"] and seconds["bf16"] <= _NO_LOSS * seconds["fp32"]:
        chosen = "bf16-mixed"
    return chosen


def set_precision(precision: str) -> None:
    """Let matrix products of this process round their factors as a precision that `resolve_precision` returned allows."""
    torch.set_float32_matmul_precision(_PRODUCTS[precision])


def set_up(device: str, threads: int, precision: str = "fp32") -> torch.device:
    """Prepare torch for a device and a precision that were resolved, and return the device.

    On the CPU denormal numbers count as zero (they are up to a hundred times slower, and LSTM states decay into them)
    and only deterministic kernels run, which costs nothing there; on a GPU they would.
    """
    torch.set_num_threads(threads)
    set_precision(precision)
    _keep_memory()
    if device == "cpu":
        torch.set_flush_denormal(True)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that writes all memory twice
    return torch.device(device)


def _keep_memory() -> None:
    """Let the C library keep what was freed for the next tensors of that size, where it can (glibc): see `release_memory`.

    By default it returns each larger block to the system, which then zeroes its pages again: a tenth of a training step.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is not None:
        for option, value in ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 1 << 30)):
            set_option(option, value)


def release_memory() -> None:
    """Give back to the system what the C library holds free, where it can (glibc).

    Each stage's tensors have other sizes than the last one's, and their remains would grow for hundreds of iterations.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def machine_facts() -> dict[str, Any]:
    """Return what a run was made with, for its `facts.json`: command line, versions, revision, processor."""
    facts: dict[str, Any] = {
        "argv": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": usable_cores(),
        "versions": {"torch": torch.__version__, **versions()},
    }
    for name in ("safetensors", "pydantic"):
        facts["versions"][name] = importlib.metadata.version(name)
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    if revision := _revision():
        facts["git"] = revision
    return facts


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _revision() -> str | None:
    """Return the commit of the checkout wmloop runs from, `+changes` if it has any; None when installed otherwise."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        revision = _git(root, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
