"""Time two things against each other, in turns, with the machine's own limit beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from wmloop.device import set_precision

Work = Callable[[], float]
"""Do a little work, milliseconds to a second, and return how many units of it were done."""

_PAIRS = 9
_SLICE = 0.5  # seconds
#: A pair counts if the machine was as fast after it as before, within this; with more than a third lost there is no figure.
_STEADY = 0.15


class Ratio(NamedTuple):
    """Units per second of `ours` over `theirs`: the median over pairs and the quartiles; `rate`, `their_rate` for context.

    `roofline` is the machine's own rate beside them, in FLOP/s of one large fp32 matrix product. `kept` of `pairs` were
    timed while that was steady; with too few of them the figure is not to be used.
    """

    name: str
    median: float
    low: float
    high: float
    rate: float
    their_rate: float
    unit: str
    roofline: float
    kept: int
    pairs: int

    @property
    def noisy(self) -> bool:
        """Return whether too many pairs had to be left out."""
        return self.kept < 2 * self.pairs / 3


def rate(work: Work, seconds: float = _SLICE) -> float:
    """Return units per second over at least `seconds`."""
    begun, done = time.perf_counter(), 0.0
    while True:
        done += work()
        spent = time.perf_counter() - begun
        if spent >= seconds:
            return done / spent


def matrix_product(size: int = 1024) -> Work:
    """Return the roofline's work: FLOPs of a square fp32 product."""
    a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)

    def work() -> float:
        set_precision("fp32")
        torch.mm(a, b, out=out)
        return 2.0 * size**3

    return work


def compare(name: str, unit: str, ours: Work, theirs: Work, pairs: int = _PAIRS, seconds: float = _SLICE) -> Ratio:
    """Return the ratio of `ours` to `theirs`, interleaved: A B A B ..., each slice at least `seconds` long."""
    limit = matrix_product()
    ours(), theirs(), limit()  # warm-up
    found: list[tuple[float, float, float]] = []
    before = rate(limit, seconds / 5)
    rooflines = [before]
    for _ in range(pairs):
        mine, other = rate(ours, seconds), rate(theirs, seconds)
        after = rate(limit, seconds / 5)
        rooflines.append(after)
        if abs(after - before) <= _STEADY * max(after, before):
            found.append((mine / other, mine, other))
        before = after
    ratios, mine_, other_ = np.array(found or [(np.nan,) * 3]).T
    low, median, high = (float(np.quantile(ratios, q)) for q in (0.25, 0.5, 0.75))
    return Ratio(
        name, median, low, high, float(np.median(mine_)), float(np.median(other_)), unit, float(np.median(rooflines)),
        len(found), pairs,
    )  # fmt: skip
