"""Choose where V, M and C compute, and set torch up so that the same run computes the same numbers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
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


def set_up(device: str, threads: int) -> torch.device:
    """Prepare torch for a device that `resolve_device` returned and return it.

    On the CPU denormal numbers count as zero (they are up to a hundred times slower, and LSTM states decay into them)
    and only deterministic kernels run, which costs nothing there; on a GPU they would.
    """
    torch.set_num_threads(threads)
    if device == "cpu":
        torch.set_flush_denormal(True)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that writes all memory twice
    return torch.device(device)


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
