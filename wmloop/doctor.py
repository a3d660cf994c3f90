"""What of this machine a run depends on, and what to do where it falls short."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import locale
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from wmloop import __version__
from wmloop.errors import StorageError

Verdict = Literal["good", "note", "bad"]
#: A run of preset laptop takes about so much while it is made (see store.keep_last), and so much memory.
_RUN_BYTES, _MEMORY_BYTES = 2e9, 2e9
_PACKAGES = (
    "torch",
    "gymnasium",
    "box2d",
    "pygame-ce",
    "numpy",
    "safetensors",
    "pydantic",
    "filelock",
    "typer",
    "rich",
)


class Finding(NamedTuple):
    """One thing that was looked at: `good`, worth a `note`, or `bad` (runs fail), and what to do about it."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(runs: Path) -> Iterator[Finding]:
    """Look at everything, one thing at a time; `runs` is the folder where runs would live."""
    for subject, look in _LOOKS.items():
        try:
            yield look(runs)
        except Exception as error:  # whatever it is, a diagnosis must go on
            yield Finding(subject, "bad", f"{type(error).__name__}: {error}", "report this with the line above")


def _python(runs: Path) -> Finding:
    found = f"wmloop {__version__}, Python {platform.python_version()} on {platform.platform()}"
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("python", "good", found)
    return Finding("python", "bad", found, "wmloop needs Python 3.11, 3.12 or 3.13")


def _packages(runs: Path) -> Finding:
    there, missing = [], []
    for name in _PACKAGES:
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "bad", f"missing: {', '.join(missing)}", "install wmloop again: pip install -e .")
    return Finding("packages", "good", ", ".join(there))


def _device(runs: Path) -> Finding:
    import torch

    from wmloop.device import available_devices, resolve_device

    name = resolve_device("auto")
    there = ", ".join(available_devices())
    if name == "cuda":
        return Finding("device", "good", f"{torch.cuda.get_device_name()} (of {there})")
    shows = Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists()
    if shows and torch.version.cuda is None:
        advice = (
            f"there is an NVIDIA driver, but torch {torch.__version__} was built without CUDA: install the CUDA build"
        )
        return Finding("device", "note", f"cpu (of {there})", advice)
    return Finding("device", "good", f"{name} (of {there})")


def _precision(runs: Path) -> Finding:
    from wmloop.device import resolve_device, resolve_precision

    chosen = resolve_precision("auto", resolve_device("auto"))
    words = {
        "fp32": "float32 as it is; nothing else pays here",
        "tf32": "TF32 in matrix products",
        "bf16": "products may round to bf16, which pays here",
        "bf16-mixed": "products may round to bf16 and M and C learn in mixed precision, which pays here",
    }
    return Finding("precision", "good", f"{chosen}: {words[chosen]}")


def _threads(runs: Path) -> Finding:
    from wmloop.device import resolve_threads, usable_cores

    cores, threads = usable_cores(), resolve_threads(0)
    found = (
        f"{threads} of {cores} cores learn, load {os.getloadavg()[0]:.1f}"
        if hasattr(os, "getloadavg")
        else f"{threads}"
    )
    if threads > cores:
        return Finding("threads", "note", found, "more threads than cores wait for each other: unset OMP_NUM_THREADS")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.7 * cores:
        return Finding(
            "threads", "note", found, "other work is running: two trainings side by side slow each other several times"
        )
    return Finding("threads", "good", found)


def _memory(runs: Path) -> Finding:
    free = _available_memory()
    if free is None:
        return Finding(
            "memory",
            "note",
            "not known on this system",
            "preset laptop takes 1.3 GB after some iterations, and grows with what it has collected",
        )
    found = f"{free / 1e9:.1f} GB free"
    if free < _MEMORY_BYTES:
        return Finding(
            "memory", "note", found, "preset laptop takes 1.3 GB and more: --set vision.frame_cache=10000 takes less"
        )
    return Finding("memory", "good", found)


def _available_memory() -> float | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return None


def _disk(runs: Path) -> Finding:
    from wmloop.store import atomic

    place = runs
    while not place.exists():
        place = place.parent if place.parent != place else Path()
    free = shutil.disk_usage(place).free
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".wmloop-doctor-") as folder:
            begun = time.perf_counter()
            atomic.write_file(Path(folder) / "file", bytes(1_000_000))
            seconds = time.perf_counter() - begun
    except (OSError, StorageError) as error:
        return Finding(
            "disk",
            "bad",
            f"{place.absolute()} cannot be written: {error}",
            "name another folder: --runs DIR, or $WMLOOP_RUNS",
        )
    found = f"{free / 1e9:.0f} GB free in {place.absolute()}, a megabyte is safe there in {seconds * 1000:.0f} ms"
    if free < _RUN_BYTES:
        return Finding("disk", "note", found, "a long run takes 2 GB: free some, or --set store.keep_last=3")
    if seconds > 2:
        return Finding("disk", "note", found, "slow: a network disk? --set store.snapshot_seconds=600 saves less often")
    return Finding("disk", "good", found)


def _environment(runs: Path) -> Finding:
    from wmloop.config import EnvConfig
    from wmloop.envs import PixelEnv

    with contextlib.closing(PixelEnv(EnvConfig())) as env:
        env.reset(1)
        begun, frames = time.perf_counter(), 0
        for _ in range(10):
            frames += env.step((env.action_low + env.action_high) / 2)[4]
        rate = frames / (time.perf_counter() - begun)
    return Finding("CarRacing", "good", f"drives and draws, {rate:.0f} frames/s a core")


def _display(runs: Path) -> Finding:
    anywhere = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if anywhere:
        return Finding("display", "good", "there is one: `wmloop play` opens a window")
    advice = "`wmloop play --render terminal` plays here, `--render drive.mp4` writes a video"
    return Finding("display", "note", "none for a window", advice)


def _terminal(runs: Path) -> Finding:
    from wmloop.view import can_show_live

    size = shutil.get_terminal_size()
    kind = os.environ.get("COLORTERM") or os.environ.get("TERM", "no TERM")
    found = f"{size.columns} by {size.lines}, {kind}, {locale.getpreferredencoding(False)}"
    if os.environ.get("NO_COLOR"):
        found += ", NO_COLOR"
    if not can_show_live():
        advice = "progress comes as plain lines: the live view needs a UTF-8 terminal that is not dumb"
        return Finding("terminal", "note", found, advice)
    if size.columns < 80 or size.lines < 24:
        return Finding("terminal", "note", found, "pictures need 80 columns and 24 lines")
    return Finding("terminal", "good", found)


def _extra(package: str, module: str, purpose: str) -> Callable[[Path], Finding]:
    def look(runs: Path) -> Finding:
        try:
            importlib.import_module(module)
        except ImportError:
            return Finding(purpose, "note", f"{module} is not there", f"pip install 'wmloop[{package}]'")
        return Finding(purpose, "good", f"{module} is there")

    return look


def _compiler(runs: Path) -> Finding:
    found = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if found:
        return Finding("compiler", "good", f"{found}; nothing needs it once wmloop is installed")
    return Finding("compiler", "good", "none, and none is needed: it would only build Box2D where that has no wheel")


_LOOKS: dict[str, Callable[[Path], Finding]] = {
    "python": _python, "packages": _packages, "device": _device, "precision": _precision, "threads": _threads,
    "memory": _memory, "disk": _disk, "CarRacing": _environment, "display": _display, "terminal": _terminal,
    "videos": _extra("video", "av", "videos"), "reports": _extra("report", "matplotlib", "reports"), "compiler": _compiler,
}  # fmt: skip
