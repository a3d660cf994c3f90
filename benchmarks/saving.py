"""What saving costs: the share of a run's wall-clock that goes into snapshots, files and commits.

    python benchmarks/saving.py [--preset smoke] [--iterations 2] [--snapshot-seconds 30]

runs the loop in a temporary folder, with a clock around everything that a draft writes, and prints seconds and shares. All
figures come from that one run, so a slower machine changes them little.
"""

from __future__ import annotations

import argparse
import collections
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmloop import loop
from wmloop.config import build_config, to_toml
from wmloop.device import resolve_precision, resolve_threads, set_up
from wmloop.store import Draft, Store

_spent: collections.Counter[str] = collections.Counter()
_calls: collections.Counter[str] = collections.Counter()


def clocked(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call` with its seconds counted under `name`."""

    @functools.wraps(call)
    def run(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return call(*arguments, **options)
        finally:
            _spent[name] += time.perf_counter() - begun
            _calls[name] += 1

    return run


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--snapshot-seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    for name in ("snapshot", "save_bytes", "commit"):  # the other saves are save_bytes with a coat
        setattr(Draft, name, clocked(name, getattr(Draft, name)))
    layer = {
        "seed": 0, "device": "cpu", "threads": resolve_threads(options.threads),
        "budget": {"iterations": options.iterations, "goal": 1e9},
        "store": {"snapshot_seconds": options.snapshot_seconds},
    }  # fmt: skip
    config = build_config(options.preset, layer)
    device = set_up("cpu", config.threads, resolve_precision("auto", "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), "run", to_toml(config), {})
        begun = time.perf_counter()
        with store.lock():
            loop.run(store, config, device, lambda event: None, lambda: False)
        whole = time.perf_counter() - begun
        size = sum(version.num_bytes for version in store.versions())
    print(f"preset {options.preset}, {options.iterations} iterations: {whole:.1f} s, {size / 1e6:.1f} MB committed")
    for name, seconds in _spent.items():
        print(f"{name:12} {_calls[name]:5} calls {seconds:8.3f} s {seconds / whole:8.2%}")
    print(f"together {sum(_spent.values()):27.3f} s {sum(_spent.values()) / whole:8.2%}")


if __name__ == "__main__":
    main()
