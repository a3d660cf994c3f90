"""Where a run's wall-clock goes: useful work, saving, and the rest; and its peak memory.

    python benchmarks/whole.py [--preset laptop] [--iterations 2] [--threads 0]

runs the loop in a temporary folder with clocks around what is worth its time (driving, learning, seeing, dreaming) and around
everything that a draft writes. All figures come from that one run, so a slower machine changes the shares little.
"""

from __future__ import annotations

import argparse
import collections
import functools
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmloop import loop
from wmloop.calibration import scores
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.device import resolve_precision, resolve_threads, set_up
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.stages import controller, memory, vision
from wmloop.store import Draft, Store
from wmloop.training import driving, latents

_spent: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in ("useful", "saving")}


def _counted() -> float:
    return sum(sum(spent.values()) for spent in _spent.values())


def clock(kind: str, owner: Any, name: str) -> None:
    """Count the seconds of `owner.name` under `kind`, without those of other clocked calls inside it."""
    call: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(call)
    def run(*arguments: Any, **options: Any) -> Any:
        begun, before = time.perf_counter(), _counted()
        try:
            return call(*arguments, **options)
        finally:
            _spent[kind][name] += time.perf_counter() - begun - (_counted() - before)

    setattr(owner, name, run)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    for name in ("snapshot", "save_bytes", "commit"):  # the other saves are save_bytes with a coat
        clock("saving", Draft, name)
    for module in (driving, scores):
        clock("useful", module, "drive")
        clock("useful", module, "forecast")
    for module in (memory, controller, vision):
        clock("useful", module, "fit")
    clock("useful", latents, "see")
    for module in (memory, controller):
        clock("useful", module, "filter_states")
    layer = {
        "seed": 0, "device": "cpu", "threads": resolve_threads(options.threads),
        "budget": {"iterations": options.iterations, "goal": 1e9},
    }  # fmt: skip
    config = build_config(options.preset, layer)
    device = set_up("cpu", config.threads, resolve_precision("auto", "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), "run", to_toml(config), {})
        begun = time.perf_counter()
        with store.lock():
            loop.run(store, config, WORLD_MODEL, device, lambda event: None, lambda: False)
        whole = time.perf_counter() - begun
        size = sum(version.num_bytes for version in store.versions())
    print(f"preset {options.preset}, {options.iterations} iterations: {whole:.1f} s, {size / 1e6:.1f} MB committed")
    for kind, spent in _spent.items():
        for name, seconds in spent.most_common():
            print(f"  {name:12} {seconds:8.2f} s {seconds / whole:8.2%}")
        print(f"{kind:14} {sum(spent.values()):8.2f} s {sum(spent.values()) / whole:8.2%}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB, of the largest worker {workers:.0f} MiB")


if __name__ == "__main__":
    main()
