"""What a world model is to those who use it: it says where episodes are, imagines on from there, and draws pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

Rows = Tensor | list[int] | slice | tuple[int | Tensor, Tensor]
"""An index of a state's leading dimensions."""


class State(NamedTuple):
    """Where N episodes are, real or imagined.

    `features` (N, F) are what C sees; `inner` (N, ...) is what else the world model needs to go on, and its own affair.
    Both may have more leading dimensions.
    """

    features: Tensor
    inner: Tensor

    def at(self, rows: Rows) -> State:
        """Return the states at `rows`, one for each."""
        return State(self.features[rows], self.inner[rows])

    def put(self, rows: Rows, states: State) -> None:
        """Write `states` in place at `rows`, one for each."""
        for own, given in zip(self, states, strict=True):
            own[rows] = given

    @staticmethod
    def cat(states: Sequence[State]) -> State:
        """Return states one after the other along their first dimension."""
        return State(*map(torch.cat, zip(*states, strict=True)))

    def pack(self) -> Tensor:
        """Return N states as rows of numbers (N, S), of which `unpack` makes them again."""
        return torch.cat([part.flatten(1) for part in self], 1)

    def unpack(self, rows: Tensor) -> State:
        """Return the states that were packed as `rows` (N, S), shaped as these are.

        Raises:
            ValueError: they are rows of other states.
        """
        shapes = [part.shape[1:] for part in self]
        sizes = [shape.numel() for shape in shapes]
        if rows.ndim != 2 or rows.shape[1] != sum(sizes):
            raise ValueError(f"a state is {sum(sizes)} numbers, and these are of shape {tuple(rows.shape)}")
        parts = rows.split(sizes, 1)
        return State(*(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)))


class Outcome(NamedTuple):
    """What one step does to N dreams, each (N,): `done` = P(it ends the episode); rewards in units of reward_scale.

    `reward` is expected if the episode goes on, `terminal_reward` if it ends there.
    """

    reward: Tensor
    terminal_reward: Tensor
    done: Tensor

    @property
    def expected(self) -> Tensor:
        """Return the reward (N,) expected over whether the step ends the episode."""
        return (1 - self.done) * self.reward + self.done * self.terminal_reward


class Imagination(Protocol):
    """A world model made ready for many imagined steps: make a new one when its weights have changed.

    The only chance in it is the noise that it is given, `noise_size` numbers of each kind a step.
    """

    @property
    def noise_size(self) -> int:
        """Return Z, the numbers of either kind that chance takes in one step of one dream."""

    def imagine(self, state: State, action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[State, Outcome]:
        """Return where N dreams come to by action (N, A), and what it does to them.

        `uniform` and `normal` (N, Z) are uniform in [0, 1) and standard normal.
        """


@runtime_checkable
class TellsSurprise(Protocol):
    """What an imagination may tell besides: how little the world model expected what it imagined."""

    def surprise(self, features: Tensor) -> Tensor:
        """Return the world model's loss (...,) on what imagined states show, whose features (..., F) these are."""


class WorldModel(Protocol):
    """A world model put to use: its weights stay as they are. Actions are as it reads them, (N, A) (see spaces.ActionSpec)."""

    @property
    def reward_scale(self) -> float:
        """Return the unit of all rewards that it speaks of, in the environment's."""

    def observe(self, state: State | None, action: Tensor | None, observations: np.ndarray) -> State:
        """Return where N episodes are that were in `state`, took `action` and now show `observations` (N, ...).

        Without a state the episodes have just begun.
        """

    def advance(self, state: State, action: Tensor) -> State:
        """Return where N episodes are after `action` in `state`, before anything is seen of it."""

    def expected(self, state: State) -> State:
        """Return N states with what was expected to be seen there, the steps before being known, instead of what was."""

    def terminated(self, state: State) -> Tensor:
        """Return the probability (N,) that the step to `state`, which is seen, has ended the episode."""

    def decode(self, features: Tensor) -> np.ndarray | None:
        """Return pictures (N, H, W, 3) uint8 of features (N, F); None where there is nothing to see."""

    def imagination(self, temperature: float) -> Imagination:
        """Return what dreams at a temperature, 1 being as the world model believes."""

    def networks(self, shape: Sequence[int]) -> Mapping[str, tuple[nn.Module, Callable[[], object]]]:
        """Return its networks by name, each with a call that passes once through all its layers, for one observation.

        `shape` is the observation's.
        """


@runtime_checkable
class DecodesVectors(Protocol):
    """What a world model may have besides: words for vectors that are observed, alone or beside a picture."""

    def decode_vector(self, features: Tensor) -> np.ndarray | None:
        """Return vectors (N, n) in the environment's units of features (N, F); None where none are observed."""


@runtime_checkable
class HasLatents(Protocol):
    """What a world model may have besides: features that begin with latents of what is observed."""

    def latent(self, features: Tensor) -> Tensor:
        """Return the latents (N, Z) of features (N, F)."""


def decode_vector(world: WorldModel, features: Tensor) -> np.ndarray | None:
    """Return the observed vectors (N, n) of features (N, F); None of a world model that does not tell them."""
    return world.decode_vector(features) if isinstance(world, DecodesVectors) else None
