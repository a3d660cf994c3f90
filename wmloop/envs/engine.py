"""An engine: what drives many copies of an environment, in processes here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from wmloop.config import EnvConfig
from wmloop.entries import Registry, require_parts
from wmloop.envs.output import Sink
from wmloop.envs.steps import PoolStep
from wmloop.errors import UsageError
from wmloop.spaces import ActionSpec, ObservationSpec


class Envs(Protocol):
    """Many copies of one environment, which takes `actions` and shows `observations`.

    The same seeds and actions give the same episodes, whatever the engine and the number of copies. Used as a context
    manager, it is closed at the end. An engine may also drive whole waves, with the agents where its environments are: see
    agents.collector.DrivesEpisodes.
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

    def pin_thread(self, copies: range) -> None:
        """Let the calling thread think about `copies`, where that disturbs the others least; about all: anywhere."""

    def close(self) -> None:
        """End it; twice is fine."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close it."""


#: What each has.
_PARTS = (
    "num_envs",
    "actions",
    "observations",
    "reset",
    "send",
    "receive",
    "pin_thread",
    "close",
    "__enter__",
    "__exit__",
)

#: Where each engine is: a function (config, num_envs, max_unrewarded, output) that returns Envs. A package brings one as an
#: entry point of the group `wmloop.engines`. It may have a function `require`, which raises UsageError where it cannot be used.
ENGINES = Registry("engines", "engine", {"processes": "wmloop.envs.pool:EnvPool", "ray": "wmloop.ray.engine:RayEnvs"})


def make_envs(config: EnvConfig, num_envs: int, max_unrewarded: int | None = None, output: Sink | None = None) -> Envs:
    """Return `num_envs` copies of the environment, driven by the engine that its settings name.

    With `max_unrewarded`, an episode without a positive reward for so many decisions is truncated. What environments print goes
    to `output`, line by line.

    Raises:
        UsageError: there is no such engine (those that there are are listed), what it made is none, or the environment does
            not fit.
        EnvironmentFailedError: it did not start.
    """
    envs = engine(config.engine)(config, num_envs, max_unrewarded, output)
    require_parts(envs, _PARTS, f"the engine {config.engine!r} made", "wmloop.envs.engine.Envs")
    return envs


def engine(name: str) -> Callable[..., Envs]:
    """Return what makes the copies of the engine of that name.

    Raises:
        UsageError: there is none (those that there are are listed), it cannot be imported, is no function, or refuses.
    """
    make = ENGINES.get(name)
    if not callable(make):
        raise UsageError(f"the engine {name!r} is {type(make).__name__}, not a function that returns Envs")
    if require := getattr(make, "require", None):
        require()
    found: Callable[..., Envs] = make
    return found
