"""All chance of a dream as a function of its place: the seed of its copy, its episode and its agent step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

#: SplitMix64 (Steele, Lea and Flood 2014): the odd constant that its states are apart, and those of its finaliser.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF = 2.0**-33
_ALL_BITS = 0xFFFFFFFFFFFFFFFF


def keys(seeds: Iterable[int]) -> np.ndarray:
    """Return seeds of any size as uint64, (N,)."""
    return np.array([int(seed) & _ALL_BITS for seed in seeds], np.uint64)


def mix(bits: np.ndarray) -> np.ndarray:
    """Return numbers (...) uint64 that look random, one for each of `bits` (...) uint64."""
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))


def streams(seeds: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """Return where the stream of each of N episodes begins, (N,) uint64: a function of its copy's seed and its number."""
    return mix(mix(seeds) + _GOLDEN * (episodes.astype(np.uint64) + np.uint64(1)))


def draw(begin: np.ndarray, steps: np.ndarray, count: int) -> np.ndarray:
    """Return `count` numbers (N, count) uint64 of step (N,) of the streams that begin at (N,)."""
    place = steps.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
    return mix(begin[:, None] + _GOLDEN * place)


def uniform(bits: np.ndarray) -> np.ndarray:
    """Return numbers (...) float64 in [0, 1) of bits (...) uint64."""
    return (bits >> np.uint64(11)) * 2.0**-53


def uniforms(bits: np.ndarray) -> np.ndarray:
    """Return two numbers in [0, 1) for each of bits (N, K) uint64, (N, 2 K) float32."""
    return np.concatenate([bits >> np.uint64(40), bits << np.uint64(24) >> np.uint64(40)], 1).astype(
        np.float32
    ) * np.float32(2.0**-24)


def normals(bits: np.ndarray) -> np.ndarray:
    """Return two standard normal numbers for each of bits (N, K) uint64, (N, 2 K) float32 (Box and Muller 1958)."""
    radius = np.sqrt(-2 * np.log((bits >> np.uint64(32)) * 2.0**-32 + _HALF))
    angle = (bits & np.uint64(0xFFFFFFFF)) * (2 * np.pi * 2.0**-32)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)
