"""What of this machine a run depends on, and what to do where it falls short."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import locale
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from wmloop import __version__, machine, scratch
from wmloop.commands import wmloop
from wmloop.display.window import there_is_a_display
from wmloop.errors import StorageError

Verdict = Literal["good", "note", "bad"]
#: A run of preset laptop takes about so much while it is made (see store.keep_last), and so much memory.
_RUN_BYTES, _MEMORY_BYTES = 2e9, 2e9
#: What has to be installed; of several names in a row either package will do.
_PACKAGES = (
    "torch", "gymnasium", "box2d box2d-py", "pygame-ce pygame", "numpy", "safetensors", "pydantic", "psutil", "typer", "rich",
)  # fmt: skip


class Finding(NamedTuple):
    """One thing that was looked at: `good`, worth a `note`, or `bad` (runs fail), and what to do about it."""

    verdict: Verdict
    found: str
    advice: str = ""


def examine(runs: Path) -> Iterator[tuple[str, Finding]]:
    """Look at everything, one thing at a time, and yield it with its name; `runs` is the folder where runs would live."""
    for subject, look in LOOKS.items():
        try:
            yield subject, look(runs)
        except Exception as error:  # whatever it is, a diagnosis must go on
            yield subject, Finding("bad", f"{type(error).__name__}: {error}", "report this with the line above")


def _python(runs: Path) -> Finding:
    found = f"wmloop {__version__}, Python {platform.python_version()} on {platform.platform()}"
    try:
        wanted = importlib.metadata.metadata("wmloop")["Requires-Python"]
    except importlib.metadata.PackageNotFoundError:
        return Finding("note", f"{found}, wmloop not installed", "install it: pip install -e .")
    bounds = {sign: tuple(map(int, number.split("."))) for sign, number in re.findall(r"(>=|<)\s*([\d.]+)", wanted)}
    if bounds.get(">=", (3,)) <= sys.version_info[:3] < bounds.get("<", (4,)):
        return Finding("good", found)
    return Finding("bad", found, f"wmloop needs Python {wanted}")


def _packages(runs: Path) -> Finding:
    there, missing, twice = [], [], []
    for names in map(str.split, _PACKAGES):
        found = {}
        for name in names:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
        there += [f"{name} {version}" for name, version in found.items()]
        missing += [] if found else names[:1]
        twice += [names] if len(found) > 1 else []
    if missing:
        return Finding("bad", f"missing: {', '.join(missing)}", "install wmloop again: pip install -e .")
    for one, other in twice:
        advice = f"{one} and {other} have the same files: pip uninstall {one} {other}, then pip install {one}"
        return Finding("note", ", ".join(there), advice)
    return Finding("good", ", ".join(there))


def _processor(runs: Path) -> Finding:
    from wmloop.device import instructions

    return Finding("good", f"{machine.cpu()}; torch computes with {instructions()}")


def _device(runs: Path) -> Finding:
    import torch

    from wmloop.device import available_devices, resolve_device

    name = resolve_device("auto")
    there = ", ".join(available_devices())
    if name == "cuda":
        return Finding("good", f"{torch.cuda.get_device_name()} (of {there})")
    shows = Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists()
    if shows and torch.version.cuda is None:
        advice = (
            f"there is an NVIDIA driver, but torch {torch.__version__} was built without CUDA: install the CUDA build"
        )
        return Finding("note", f"cpu (of {there})", advice)
    return Finding("good", f"{name} (of {there})")


def _precision(runs: Path) -> Finding:
    from wmloop.device import resolve_device, resolve_precision

    chosen = resolve_precision("auto", resolve_device("auto"))
    words = {
        "fp32": "full float32: nothing faster is known on such a machine",
        "tf32": "TF32 in matrix products",
        "bf16-mixed": "matrix products in bf16, LSTM and policy in mixed precision: faster on such a machine",
    }
    return Finding("good", f"{chosen}: {words[chosen]}")


def _threads(runs: Path) -> Finding:
    from wmloop.device import resolve_threads

    cores, threads, there = machine.cores(), resolve_threads(0), len(machine.affinity())
    found = f"training uses {threads} of {cores} cores"
    if cores < there:
        why = f"the quota of this container is {machine.quota():g}"
        if machine.granted() < machine.quota():
            why = f"this process was granted {machine.granted():g}, by {machine.GRANT} or Slurm"
        found += f" ({cores} of {there} cores: {why})"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if hasattr(os, "getloadavg"):
        found += f", load {load:.1f}"
    if threads > cores:
        return Finding("note", found, "more threads than cores are slow: unset OMP_NUM_THREADS")
    if load > 0.7 * there:  # the load is the whole machine's
        return Finding(
            "note",
            found,
            "other programs are running: two trainings at the same time are each several times slower",
        )
    return Finding("good", found)


def _memory(runs: Path) -> Finding:
    free, limit = machine.memory_available(), machine.memory_limit()
    if free is None:
        return Finding(
            "note",
            "not known on this system",
            "preset laptop uses 1.3 GB after some iterations, and more as episodes are collected",
        )
    found = f"{free / 1e9:.1f} GB free"
    if limit < math.inf:
        found += f" of the {limit / 1e9:.1f} GB that this container may use"
    if free < _MEMORY_BYTES:
        return Finding("note", found, "preset laptop uses 1.3 GB or more: --set vision.frame_cache=10000 uses less")
    return Finding("good", found)


def _temporary(runs: Path) -> Finding:
    try:
        place = scratch.temporary_folder().parent
    except StorageError as error:
        return Finding("bad", "no folder for the sockets and shared memory of environment processes", str(error))
    said = os.environ.get("TMPDIR")
    if said and (fault := scratch.temporary_fault(Path(said).absolute())):
        return Finding(
            "note",
            f"with shared memory in {place}, because TMPDIR {said} {fault}",
            "set TMPDIR to another folder",
        )
    return Finding("good", f"sockets and shared memory of environment processes are in {place}")


def _disk(runs: Path) -> Finding:
    from wmloop.store import atomic, take_notes
    from wmloop.store.lock import run_lock

    place = runs
    while not place.exists():
        place = place.parent if place.parent != place else Path()
    usage = shutil.disk_usage(place)
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".wmloop-doctor-") as folder:
            begun = time.perf_counter()
            atomic.write_file(Path(folder) / "file", bytes(1_000_000))
            seconds = time.perf_counter() - begun
            with run_lock(Path(folder)):
                pass
    except (OSError, StorageError) as error:
        return Finding(
            "bad",
            f"{place.absolute()} cannot be written: {error}",
            "choose another folder: --runs DIR, or $WMLOOP_RUNS",
        )
    free = f"{usage.free / 1e9:.0f} GB free" if usage.total else "free space unknown"
    found = f"{free} in {place.absolute()}, writing and syncing 1 MB takes {seconds * 1000:.0f} ms"
    if notes := take_notes():
        return Finding("note", found, "; ".join(notes))
    if usage.total and usage.free < _RUN_BYTES:
        return Finding("note", found, "a long run needs 2 GB: free some, or --set store.keep_last=3")
    if seconds > 2:
        return Finding("note", found, "slow: a network disk? --set store.snapshot_seconds=600 saves less often")
    return Finding("good", found)


def _environment(runs: Path) -> Finding:
    import numpy as np

    from wmloop.config import build_config
    from wmloop.envs import RealEnv
    from wmloop.envs.carracing import PROVEN_VERSIONS

    config = build_config("laptop").env
    with contextlib.closing(RealEnv(config)) as env:
        env.reset(1)
        rng, begun, frames = np.random.default_rng(0), time.perf_counter(), 0
        for _ in range(10):
            frames += env.step(env.actions.sample(rng))[4]
        rate = frames / (time.perf_counter() - begun)
    found = f"{config.id} steps and renders, {rate:.0f} frames/s per core"
    if (there := importlib.metadata.version("gymnasium")) not in PROVEN_VERSIONS:
        proven = " or ".join(PROVEN_VERSIONS)
        advice = f"gymnasium {there} renders with its own code, at less than half the speed of {proven}: pip install"
        return Finding("note", found, f"{advice} gymnasium=={PROVEN_VERSIONS[-1]}")
    return Finding("good", found)


def _display(runs: Path) -> Finding:
    if there_is_a_display():
        return Finding("good", f"available: `{wmloop('play', 'demo')}` opens a window")
    here, file = wmloop("play", "demo", "--render", "terminal"), wmloop("play", "demo", "--to", "demo.mp4")
    advice = f"`{here}` plays in this terminal, `{file}` writes a video"
    return Finding("note", "no display for a window", advice)


def _terminal(runs: Path) -> Finding:
    from wmloop.view import can_show_live

    size = shutil.get_terminal_size()
    kind = os.environ.get("COLORTERM") or os.environ.get("TERM", "no TERM")
    found = f"{size.columns} by {size.lines}, {kind}, {locale.getpreferredencoding(False)}"
    if os.environ.get("NO_COLOR"):
        found += ", NO_COLOR"
    if not can_show_live():
        if not sys.stdout.isatty():
            why = "stdout is not a terminal here"
        else:
            why = "the live view needs UTF-8, and a TERM that is not dumb"
        return Finding("note", found, f"progress is shown as plain lines: {why}")
    if size.columns < 80 or size.lines < 24:
        return Finding("note", found, "images need 80 columns and 24 lines")
    return Finding("good", found)


def _extra(package: str, module: str) -> Callable[[Path], Finding]:
    def look(runs: Path) -> Finding:
        try:
            importlib.import_module(module)
        except ImportError:
            return Finding("note", f"{module} is not installed", f"pip install 'wmloop[{package}]'")
        return Finding("good", f"{module} is installed")

    return look


def _compiler(runs: Path) -> Finding:
    found = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if found:
        return Finding("good", f"{found}; not needed once wmloop is installed")
    return Finding("good", "none; one is needed only to build Box2D where there is no wheel of it")


#: What is looked at, by subject; each look is given the folder where runs would live.
LOOKS: dict[str, Callable[[Path], Finding]] = {
    "python": _python, "packages": _packages, "processor": _processor, "device": _device, "precision": _precision,
    "threads": _threads, "memory": _memory, "scratch": _temporary, "disk": _disk, "environment": _environment,
    "display": _display, "terminal": _terminal, "videos": _extra("video", "av"),
    "reports": _extra("report", "matplotlib"), "compiler": _compiler,
}  # fmt: skip
