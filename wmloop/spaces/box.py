"""Bounded real actions: numbers, each within a range of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmloop.config import RandomDriving, RolloutConfig
from wmloop.spaces.actions import ARROWS


class BoxActions:
    """Actions within [low, high] (A,) float32, each dimension of which M reads as [-1, 1]."""

    kind = "box"
    dtype = np.dtype(np.float32)

    def __init__(self, low: np.ndarray | Sequence[float], high: np.ndarray | Sequence[float]) -> None:
        self.low, self.high = np.array(low, np.float32), np.array(high, np.float32)
        self.shape, self.size = self.low.shape, len(self.low)

    def __str__(self) -> str:
        """Return the bounds."""
        return f"in {self.low.tolist()} to {self.high.tolist()}"

    def record(self) -> dict[str, Any]:
        """Return the bounds; they name no kind, as they did when there was no other."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> BoxActions:
        """Return the space of recorded bounds."""
        return cls(record["low"], record["high"])

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return actions (..., A) as they span [-1, 1]."""
        return np.asarray((actions - self.low) / (self.high - self.low) * 2 - 1, np.float32)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return actions (..., A) that span [-1, 1] in the environment's units."""
        return np.asarray(self.low + (encoded + 1) / 2 * (self.high - self.low), np.float32)

    def mirror(self, encoded: np.ndarray, mirror: Sequence[int]) -> np.ndarray:
        """Return actions (..., A) with the sign of the dimensions in `mirror` flipped."""
        mirrored = encoded.copy()
        mirrored[..., list(mirror)] *= -1
        return mirrored

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return an action (A,) from anywhere within the bounds."""
        return rng.uniform(self.low, self.high).astype(np.float32)

    def random_walk(self, settings: RandomDriving, decisions: int, rng: np.random.Generator) -> np.ndarray:
        """Return the actions of one random episode, (decisions, A) float32 within the bounds.

        Each dimension draws a mean, a noise scale and an autocorrelation c for the episode, and follows the walk
        x[t] = c x[t-1] + sqrt(1 - c^2) N(0, 1), whose variance is 1 from the first decision on (an Ornstein-Uhlenbeck
        process sampled at the decisions). The action is mean + initial_offset + scale * x, clipped, where the offset fades
        out linearly over `initial_decisions`. What is not configured is in parts of half the action's range about its middle: a
        mean within 0.5 of it, a scale of 0.25 to 1.
        """
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        half, middle = (high - low) / 2, (high + low) / 2
        means = np.array(settings.mean).T if settings.mean else (middle - half / 2, middle + half / 2)
        scales = np.array(settings.std).T if settings.std else (half / 4, half)
        offset = np.array(settings.initial_offset) if settings.initial_offset else np.zeros(len(low))
        mean, scale = rng.uniform(*means), rng.uniform(*scales)  # (A,)
        kept = rng.uniform(*settings.autocorrelation, size=len(low))
        noise = rng.standard_normal((decisions, len(low)))
        walk = np.empty_like(noise)
        x = rng.standard_normal(len(low))
        for t in range(decisions):
            x = kept * x + np.sqrt(1 - kept**2) * noise[t]
            walk[t] = x
        span = settings.initial_decisions
        fading = np.clip(1 - np.arange(decisions) / span, 0, None) if span else np.zeros(decisions)
        actions: np.ndarray = mean + fading[:, None] * offset + scale * walk
        return np.asarray(np.clip(actions, low, high), np.float32)

    def perturbations(self, settings: RolloutConfig, rngs: Sequence[np.random.Generator]) -> Perturbations:
        """Return what pushes a driver for each generator."""
        return Perturbations(settings, self.size, rngs)

    def from_keys(self, steer: float, up: float, down: float, digit: int | None = None) -> np.ndarray:
        """Return the action (A,) of a hand on the wheel; there are no actions by number.

        The first dimension steers. With three, gas and brake are one each; with two, they share one. More dimensions rest
        at zero, or at what is nearest to it.
        """
        rest = np.clip(np.zeros_like(self.low), self.low, self.high)
        wanted = [steer, up - down] if self.size == 2 else [steer, up, down]
        action: np.ndarray = rest.copy()
        for i, value in enumerate(wanted[: self.size]):
            action[i] = rest[i] + value * (self.high[i] - rest[i] if value > 0 else rest[i] - self.low[i])
        return action

    def keys(self) -> Sequence[tuple[str, str]]:
        """Return which dimensions the arrow keys are."""
        parts = ["left, right: action 0"]
        if self.size == 2:
            parts.append("down, up: action 1")
        elif self.size > 2:
            parts += ["up: action 1", "down: action 2"]
        return [(ARROWS, "; ".join(parts))]

    def describe(self, action: np.ndarray) -> str:
        """Return the numbers."""
        return "  ".join(f"{part:+.2f}" for part in action)


class Perturbations:
    """Push N drivers off their line now and then: an offset to the action, held for a while, then gone.

    A good driver's own data never shows how to find back, and in it every action follows from the road, so that M could
    read the road off the action. A push breaks both: it is drawn from nothing, and what follows is a recovery. So at least
    one decision without a push lies between two.
    """

    def __init__(self, settings: RolloutConfig, size: int, rngs: Sequence[np.random.Generator]) -> None:
        """Prepare one driver per generator; `size` is A."""
        self._settings, self._rngs = settings, rngs
        self._left = np.zeros(len(rngs), np.int64)
        self._offset = np.zeros((len(rngs), size), np.float32)

    def __call__(self) -> np.ndarray:
        """Return the offsets of the next decision, (N, A) float32 in units of half the action's range, until the next call."""
        settings = self._settings
        for i, rng in enumerate(self._rngs):
            if self._left[i] == 0 and rng.random() < settings.perturb_prob:
                low, high = settings.perturb_decisions
                self._left[i] = rng.integers(low, high + 1) + 1
                self._offset[i] = settings.perturb_std * rng.standard_normal(self._offset.shape[1])
        self._left = np.maximum(self._left - 1, 0)
        self._offset[self._left == 0] = 0.0
        return self._offset
