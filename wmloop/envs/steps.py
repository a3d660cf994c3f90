"""What one decision of many copies brings."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

UNLIMITED = sys.maxsize  # more decisions than any episode has


class PoolStep(NamedTuple):
    """What one decision of N copies brought. The arrays are the caller's own."""

    obs: np.ndarray  # (N, ...), as the environment's observations are
    reward: np.ndarray  # (N,) float32, summed over the frames
    terminated: np.ndarray  # (N,) bool, true only in the step in which the episode ended
    truncated: np.ndarray  # (N,) bool, likewise
    frames: np.ndarray  # (N,) int64, 0 where the copy idles
    cut: np.ndarray  # (N,) int8, why it was truncated (episodes.Cut)
