"""Choose where V, M and C compute, and set torch up so that the same run computes the same numbers."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wmloop import machine, torchrun
from wmloop.envs import versions
from wmloop.errors import UsageError
from wmloop.models.mixed import rounding_fault


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


def visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, each as CUDA_VISIBLE_DEVICES would call it."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",")[:count] if named else [str(place) for place in range(count)]


def resolve_threads(threads: int) -> int:
    """Return how many CPU threads to learn with: `threads`, or for 0 OMP_NUM_THREADS, or one per core it has.

    Where torchrun began several ranks here they share the cores: it sets OMP_NUM_THREADS to 1 where nobody has set it.
    """
    if threads:
        return threads
    wanted, place = os.environ.get("OMP_NUM_THREADS", ""), torchrun.place()
    if place is not None and wanted in ("", "1"):
        return max(1, machine.cores() // place.local_size)
    return int(wanted) if wanted.isdecimal() and int(wanted) else machine.cores()


#: What torch calls the lowest precision that the factors of a float32 matrix product may be rounded to.
_PRODUCTS = {"fp32": "highest", "tf32": "high", "bf16": "medium", "bf16-mixed": "medium"}
#: glibc's names for when memory is taken from and given back to the system at once.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: What ONEDNN_MAX_CPU_ISA may be where oneDNN is to leave the units for bf16 alone, and where those of AMX only.
_NO_BF16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
_NO_AMX = {*_NO_BF16, "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512", "AVX10_2_512"}


def resolve_precision(name: str, device: str) -> str:
    """Return how far matrix products may round their factors: `name`, or for `auto` what is fastest on such a device.

    Tensors stay float32, sums and the mixture's arithmetic too; with `bf16-mixed` M's LSTM and C's hidden layers compute in
    bf16 while they learn (models/mixed.py). `auto` is tf32 on a GPU and, on a CPU, what its kind says, so that the same
    machine always chooses the same: bf16-mixed where M and C were measured to learn faster with it, which is on processors
    with AMX and on AMD's with AVX-512 BF16; fp32 on all others. Intel's AVX-512 BF16 without AMX multiplies no faster than
    float32 (M 0.75 times as fast, C 0.7: docs/performance.md), and Arm's bf16 was never measured.

    `tf32` and `bf16` are leave to round and no duty: where products of bf16 are no faster, they are those of fp32.

    Raises:
        UsageError: this machine cannot compute in the precision named; the reason is told.
    """
    if name == "auto":
        if device == "cpu":
            return "bf16-mixed" if _learns_faster_in_bf16() and not rounding_fault(device) else "fp32"
        return "tf32" if device == "cuda" else "fp32"
    fault = ""
    if name == "tf32" and device != "cuda":
        fault = f"it is a format of NVIDIA's GPUs, and this run computes on {device}"
    elif name == "bf16-mixed" and (why := rounding_fault(device)):
        fault = f"tried on {device}, an LSTM in bf16 fails: {why} (it needs a processor with AVX-512, or a GPU)"
    if fault:
        raise UsageError(
            f"precision={name} cannot be used here: {fault}. `--set precision=fp32` works everywhere, and"
            " `--set precision=auto` chooses what suits this machine"
        )
    return name


def _learns_faster_in_bf16() -> bool:
    kinds = _bf16_units()
    return "amx_bf16" in kinds or ("avx512_bf16" in kinds and machine.cpu_maker() == "AuthenticAMD")


def _bf16_units() -> list[str]:
    """Return by which of its instructions torch multiplies bf16 on this processor; those of x86 only.

    What the environment forbids torch (ATEN_CPU_CAPABILITY) or oneDNN (ONEDNN_MAX_CPU_ISA) is not among them.
    """
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return []
    flags = machine.cpu_flags()
    if not flags:  # Windows: torch asks the processor itself, by functions that are its own affair
        asked = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
        flags = frozenset(kind for kind, name in asked.items() if getattr(torch.cpu, name, bool)())
    highest = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    without = {"avx512_bf16": _NO_BF16, "amx_bf16": _NO_AMX}
    return [kind for kind, names in without.items() if kind in flags and highest not in names]


def set_precision(precision: str) -> None:
    """Let matrix products of this process round their factors as a precision that `resolve_precision` returned allows.

    So do cuDNN's convolutions and LSTMs, which torch by itself lets round to tf32 whatever is said of products.
    """
    torch.set_float32_matmul_precision(_PRODUCTS[precision])
    torch.backends.cudnn.allow_tf32 = precision != "fp32"


def set_up(device: str, threads: int, precision: str = "fp32") -> torch.device:
    """Prepare torch for a device and a precision that were resolved, and return the device.

    On the CPU denormal numbers count as zero (they are up to a hundred times slower, and LSTM states decay into them)
    and only deterministic kernels run, which costs nothing there; on a GPU they would.
    """
    torch.set_num_threads(threads)
    set_precision(precision)
    _keep_memory()
    if device == "cpu":
        for kind in (np.float16, np.float32, np.float64):
            np.finfo(kind)  # numpy computes it once, and warns where it then finds that denormal numbers are zero
        torch.set_flush_denormal(True)
        torch.set_deterministic_debug_mode("error")  # the other way to say so imports torch's compiler, a second or two
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
        "cpu": machine.cpu(),
        "instructions": instructions(),
        "cores": machine.cores(),
        "versions": {"torch": torch.__version__, **versions()},
    }
    for name in ("safetensors", "pydantic"):
        facts["versions"][name] = importlib.metadata.version(name)
    if model := machine.cpu_model():
        facts["cpu_model"] = model
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    if (place := torchrun.place()) is not None:
        facts["ranks"] = place.size
    if (revision := commit()) is not None:
        facts["git"] = revision
    return facts


def instructions() -> str:
    """Return what torch computes with on this processor, as far as sums depend on it."""
    words = [torch.backends.cpu.get_cpu_capability(), *_bf16_units()]
    if highest := os.environ.get("ONEDNN_MAX_CPU_ISA"):
        words.append(f"(oneDNN at most {highest})")
    return " ".join(words)


#: What of a machine decides how sums are made and rounded, and what decides episodes; and what it means where they differ.
_MEANINGS = (
    (
        ("processor", "its model", "instructions", "GPU", "torch", "numpy", "ranks"),
        "from here on its numbers are not bit for bit what they would have been",
    ),
    (
        ("gymnasium", "Box2D", "drawing"),
        "the same seed and actions may give another episode",
    ),
)


def differences(facts: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what of the facts `now` is not as in a run's `facts`, and what that means for its numbers.

    Of what either does not say, as older facts do not, nothing is said.
    """
    then, here = _decisive(facts), _decisive(now)
    told = []
    for names, meaning in _MEANINGS:
        known = [name for name in names if name in then and name in here]
        if changed := [f"{name} {here[name]}, was {then[name]}" for name in known if here[name] != then[name]]:
            told.append(
                f"what the run started with has changed: {'; '.join(changed)}. The run continues, but {meaning}"
            )
    return told


def _decisive(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what decides numbers of what `machine_facts` returned, by its name in `_MEANINGS`."""
    versions: Any = facts.get("versions")
    there = {name: version for name, version in dict(versions or {}).items() if version != "missing"}
    found = {
        "processor": facts.get("cpu"), "its model": facts.get("cpu_model"),
        "instructions": facts.get("instructions"), "GPU": facts.get("gpu"),
        "torch": there.get("torch"), "numpy": there.get("numpy"), "gymnasium": there.get("gymnasium"),
        "ranks": facts.get("ranks", 1),
        "Box2D": there.get("box2d") or there.get("box2d-py"),
        "drawing": next((f"{name} {there[name]}" for name in ("pygame-ce", "pygame") if name in there), None),
    }  # fmt: skip
    return {name: str(value) for name, value in found.items() if value}


def commit() -> str | None:
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
