"""An engine: what drives many copies of an environment, in processes here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from wmloop.config import EnvConfig
from wmloop.entries import found
from wmloop.envs.output import Sink
from wmloop.envs.steps import PoolStep
from wmloop.errors import UsageError, nearest
from wmloop.spaces import ActionSpec, ObservationSpec


class Envs(Protocol):
    """Many copies of one environment, which takes `actions` and shows `observations`.

    The same seeds and actions give the same episodes, whatever the engine and the number of copies. Used as a context
    manager, it is closed at the end.
    """

    num_envs: int
    actions: ActionSpec
    observations: ObservationSpec

    def reset(self, seeds: Sequence[int | None], decisions: Sequence[int | None] | None = None) -> np.ndarray:
        """Begin an episode in every copy that has a seed; return all observations (N, ...).

        `decisions` bounds each new episode, which is truncated there.
        """

    def send(self, copies: range, actions: np.ndarray) -> None:
        """Let `copies` take one decision, `actions` (len(copies), ...), without waiting for it."""

    def receive(self) -> tuple[range, PoolStep]:
        """Wait until one `send` is done, and return its copies and what came of it."""

    def stay_with(self, copies: range) -> None:
        """Let the calling thread think about `copies`, where that disturbs the others least; about all: anywhere."""

    def close(self) -> None:
        """End it; twice is fine."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close it."""


#: Where each engine is: `module:name` of a function (config, num_envs, patience, output) that returns Envs.
ENGINES = {"processes": "wmloop.envs.pool:EnvPool"}


def make_envs(config: EnvConfig, num_envs: int, patience: int | None = None, output: Sink | None = None) -> Envs:
    """Return `num_envs` copies of the environment, driven by the engine that its settings name.

    With `patience`, an episode without a positive reward for so many decisions is truncated. What environments print goes
    to `output`, line by line.

    Raises:
        UsageError: there is no such engine (those that there are are listed), or the environment does not fit.
        EnvironmentFailedError: it did not start.
    """
    return engine(config.engine)(config, num_envs, patience, output)


def engine(name: str) -> Callable[..., Envs]:
    """Return what makes the copies of the engine of that name.

    Raises:
        UsageError: there is none (those that there are are listed), or it cannot be imported.
    """
    if name not in ENGINES:
        near = nearest(name, list(ENGINES))
        raise UsageError(f"unknown engine {name!r}{near}: env.engine takes one of {', '.join(ENGINES)}")
    make: Callable[..., Envs] = found(ENGINES[name], f"the engine {name!r}")
    return make
