"""V and M together, the world model: what was seen becomes a state, and what is done in it is imagined from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.models import mixture
from wmloop.models.memory import Memory, done_probability
from wmloop.models.vision import Vision, to_frames, to_images


class State(NamedTuple):
    """Where N episodes are, real or imagined: `z` (N, Z) and M's `h`, `c` (N, D), which have consumed all steps before it."""

    z: Tensor
    h: Tensor
    c: Tensor

    def at(self, rows: Tensor | list[int] | slice) -> State:
        """Return the states at `rows`, one for each."""
        return State(self.z[rows], self.h[rows], self.c[rows])

    @property
    def features(self) -> Tensor:
        """Return what C sees, [z, h] (N, Z + D)."""
        return torch.cat([self.z, self.h], -1)

    @staticmethod
    def stack(states: Sequence[State]) -> State:
        """Return states with a new first dimension."""
        return State(*map(torch.stack, zip(*states, strict=True)))

    @staticmethod
    def cat(states: Sequence[State]) -> State:
        """Return states one after the other along their first dimension."""
        return State(*map(torch.cat, zip(*states, strict=True)))


class WorldModel:
    """V and M, put to use: their weights stay as they are."""

    def __init__(self, vision: Vision, memory: Memory) -> None:
        self.vision, self.memory = vision.eval(), memory.eval()
        self.device = next(memory.parameters()).device
        self._step = memory.stepper()

    @torch.inference_mode()
    def observe(self, state: State | None, action: Tensor | None, frames: np.ndarray) -> State:
        """Return where N episodes are that were in `state`, took `action` (N, A) and now show `frames` (N, H, W, 3) uint8.

        Without a state they have just begun: M has seen nothing.
        """
        if state is None or action is None:
            h, c = self.memory.start(len(frames), self.device)
        else:
            h, c = self._step(state.z, action, (state.h, state.c))
        z, _ = self.vision.encode(to_images(torch.from_numpy(frames).to(self.device)))
        return State(z, h, c)

    @torch.inference_mode()
    def advance(self, state: State, action: Tensor) -> Tensor:
        """Return M's h (N, D) after `action` (N, A) in `state`, before anything else is seen."""
        return self._step(state.z, action, (state.h, state.c))[0]

    @torch.inference_mode()
    def expected(self, h: Tensor) -> Tensor:
        """Return the mean (N, Z) of what M expects to see, having consumed all steps before it in `h` (N, D)."""
        return mixture.expected(self.memory.density(h))

    @torch.inference_mode()
    def terminated(self, state: State, done_weight: float) -> Tensor:
        """Return the probability (N,) that the step to `state`, which is seen, has ended the episode."""
        return done_probability(self.memory.predict(state.h, state.z).done_logit, done_weight)

    @torch.inference_mode()
    def decode(self, z: Tensor) -> np.ndarray:
        """Return V's pictures (N, H, W, 3) uint8 of `z` (N, Z)."""
        frames: np.ndarray = to_frames(self.vision.decode(z)).cpu().numpy()
        return frames
