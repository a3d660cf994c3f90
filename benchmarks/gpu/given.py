"""What a part of the measurement is given: the device, whether sizes are tiny, and until when it may go on."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.costs import Card, known_card
from wmloop.config import WorldModelConfig, build_config
from wmloop.device import resolve_precision, resolve_threads, set_up
from wmloop.errors import UsageError

Line = dict[str, Any]
Work = Callable[[], float]
"""Do a little work on the device, and return how many units of it were done."""

PRECISIONS = ("fp32", "tf32", "bf16", "bf16-mixed")
_ROUNDS = 3
#: So many lines in a row that failed, and the part has failed: a device that lost its context answers nothing any more.
_PATIENCE = 3


@dataclass
class Given:
    """What a part may use: `until` is in seconds of `time.monotonic`, `folder` is for what it leaves for the next time."""

    device: torch.device
    tiny: bool
    until: float
    folder: Path
    seeds: Sequence[int] = (0, 1)

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.until - time.monotonic()

    @property
    def cuda(self) -> bool:
        """Tell whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def seconds(self) -> float:
        """Return how long one rate is measured."""
        return 0.02 if self.tiny else 1.0

    def config(self, preset: str = "gpu") -> WorldModelConfig:
        """Return the settings of a preset for CarRacing."""
        config = build_config(preset)
        assert isinstance(config, WorldModelConfig)
        return config

    def set_up(self, precision: str) -> str:
        """Set torch up as a run of this precision would; return why it cannot compute in it, or nothing."""
        try:
            resolve_precision(precision, self.device.type)
        except UsageError as error:
            return str(error)
        set_up(self.device.type, self.threads, precision)
        return ""

    @property
    def threads(self) -> int:
        """Return how many threads of the CPU compute: with tiny sizes a second one would only wait."""
        return 1 if self.tiny else resolve_threads(0)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize()

    def rate(self, work: Work) -> dict[str, float]:
        """Return the units of `work` a second, the median, least and most of three rounds after a warm-up.

        On CUDA the device's own clock counts, from the first kernel to the last.
        """
        work()  # kernels are chosen, workspaces taken, graphs recorded
        self.synchronize()
        begun = time.perf_counter()
        work()
        self.synchronize()
        times = max(1, round(self.seconds / _ROUNDS / max(time.perf_counter() - begun, 1e-6)))
        rates = sorted(self._round(work, times) for _ in range(_ROUNDS))
        return {"rate": rates[1], "least": rates[0], "most": rates[2]}

    def _round(self, work: Work, times: int) -> float:
        self.synchronize()
        if not self.cuda:
            begun = time.perf_counter()
            done = sum(work() for _ in range(times))
            return done / (time.perf_counter() - begun)
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        done = sum(work() for _ in range(times))
        last.record()
        last.synchronize()
        return done / (first.elapsed_time(last) / 1000)

    def lines(self, asked: Sequence[Line], measure: Callable[[Line], Line]) -> Iterator[Line]:
        """Yield each line that is asked for with what `measure` finds, or with its error, and the device's peak memory.

        Raises:
            RuntimeError: three lines in a row have failed otherwise than for want of memory.
        """
        failed = 0
        for line in asked:
            if self.left <= 0:
                yield {**line, "skipped": "the part's time was up"}
                continue
            self.forget()
            try:
                found, failed = measure(line), 0
            except torch.OutOfMemoryError as error:
                found = {"error": f"out of memory: {_first(error)}"}
            except Exception as error:
                found, failed = {"error": f"{type(error).__name__}: {_first(error)}"}, failed + 1
            yield {**line, **found, **self.peak()}
            if failed == _PATIENCE:
                raise RuntimeError(f"{failed} lines in a row have failed, the last with {found['error']}")

    def forget(self) -> None:
        """Free what the last line held, so that the next finds the device's memory whole, and count its peak anew."""
        gc.collect()
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> dict[str, int]:
        """Return the most bytes that tensors had on the device since `forget`, and that torch had taken for them."""
        if not self.cuda:
            return {}
        return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}

    def card(self) -> Card:
        """Return what the device does at most: by its data sheet where it is known, else measured now."""
        known = known_card(torch.cuda.get_device_name()) if self.cuda else None
        return known or self.measured()

    def measured(self) -> Card:
        """Return the FLOP/s of a large square product in each precision and the bytes/s of a copy, measured now."""
        size = 8192 if self.cuda else 256
        rates = {}
        for precision in ("fp32", "tf32", "bf16"):
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            self.set_up("tf32" if precision == "tf32" and self.cuda else "fp32")
            a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
            rates[precision] = self.rate(_product(a, b))["rate"]
        words = torch.empty((1 << 28) if self.cuda else (1 << 20), device=self.device)
        copy = torch.empty_like(words)
        bandwidth = self.rate(lambda: 2.0 * 4 * copy.copy_(words).numel())["rate"]
        return Card(**rates, bandwidth=bandwidth, source="measured here")


def _product(a: torch.Tensor, b: torch.Tensor) -> Work:
    out = torch.empty_like(a)

    def work() -> float:
        torch.mm(a, b, out=out)
        return 2.0 * len(a) ** 3

    return work


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
