"""All that a stage may touch, beside the versions that it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch

from wmloop.config import RunConfig
from wmloop.errors import Interrupted
from wmloop.events import Message, Metrics, Output, Picture, Progress, Reporter, Snapshot, StageStarted, Track
from wmloop.pipelines import Pipeline
from wmloop.ranks import ALONE, Ranks
from wmloop.seeding import derive_seed
from wmloop.spaces import ActionSpec
from wmloop.store import Draft, Version

_PROGRESS_SECONDS = 0.2
Config_co = TypeVar("Config_co", bound=RunConfig, covariant=True)


class Chance(NamedTuple):
    """All randomness of one stage: a function of the place within it, never of history. It is small and can be pickled."""

    run_seed: int
    iteration: int
    stage: str

    def seed(self, *position: int | str) -> int:
        """Return the seed of a place."""
        return derive_seed(self.run_seed, self.iteration, self.stage, *position)

    def rng(self, *position: int | str) -> np.random.Generator:
        """Return a numpy generator seeded for a place."""
        return np.random.default_rng(self.seed(*position))


@dataclass
class StageContext(Generic[Config_co]):
    """One stage's world, but for the versions that it reads, which are its function's other arguments (see Stage).

    `config` has the groups that its pipeline brings. `collected()` returns the versions that hold real episodes, `scored()`
    the evaluations, those up to this iteration. `draft` is the private folder the stage writes to; the loop publishes it.
    `ranks` are those that perform the stage together, where its row says that they may; only the first has a draft, and is
    heard and stopped.
    """

    config: Config_co
    pipeline: Pipeline
    iteration: int
    stage: str
    unit: str
    device: torch.device
    collected: Callable[[], list[Version]]
    scored: Callable[[], list[Version]]
    draft: Draft
    report: Reporter
    should_stop: Callable[[], bool]
    ranks: Ranks = ALONE
    _begun: tuple[float, int] = field(default=(0.0, 0), repr=False)
    _shown: float = field(default=0.0, repr=False)
    _saved: float = field(default=0.0, repr=False)

    def agent(self, actions: ActionSpec, parts: Mapping[str, Version]) -> Any:
        """Return the agent that versions by stage are, which takes `actions`."""
        return self.pipeline.load_agent(self.config, actions, self.device, parts)

    def rollouts(self) -> list[Version]:
        """Return the rollouts that are learnt from: this iteration's and the newest before it, as configured."""
        return self.collected()[-self.config.replay :]

    @property
    def chance(self) -> Chance:
        """Return the randomness of this stage."""
        return Chance(self.config.seed, self.iteration, self.stage)

    def seed(self, *position: int | str) -> int:
        """Return the seed of a place within this stage: a function of position, never of history."""
        return self.chance.seed(*position)

    def generator(self, *position: int | str) -> torch.Generator:
        """Return a torch generator on the stage's device, seeded for a place within this stage."""
        return torch.Generator(self.device).manual_seed(self.seed(*position))

    def rng(self, *position: int | str) -> np.random.Generator:
        """Return a numpy generator seeded for a place within this stage."""
        return self.chance.rng(*position)

    def begin(self, total: int, done: int = 0, unit: str = "") -> None:
        """Announce how much work there is, in the stage's unit or another; `done` was finished before an interruption."""
        now = time.monotonic()
        self._begun, self._saved, self._shown = (now, done), now, 0.0
        self._total = total
        self.report(StageStarted(self.iteration, self.stage, total, unit or self.unit))

    def found(self, done: int) -> None:
        """Let rates count from here: `done` was finished before an interruption, as only its files tell."""
        self._begun = (time.monotonic(), done)

    def progress(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        """Report progress, and metrics if given, a few times a second at most."""
        now = time.monotonic()
        if now - self._shown < _PROGRESS_SECONDS and done < self._total:
            return
        self._shown = now
        started, before = self._begun
        rate = (done - before) / max(now - started, 1e-9)
        self.report(Progress(self.iteration, self.stage, done, self._total, self.unit, rate))
        if metrics:
            self.report(Metrics(self.iteration, self.stage, dict(metrics)))

    def checkpoint(self, done: int, pack: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> None:
        """Give the stage a chance to save itself: on its time budget, and at once when the run is to stop.

        Raises:
            Interrupted: the run is to stop; the snapshot is on disk.
        """
        stop = self.ranks.agree(self.should_stop)
        if stop and not self.ranks.first:
            raise Interrupted(
                f"{self.stage} of iteration {self.iteration} stopped at {done}, which the first rank saves"
            )
        if not self.ranks.first or (not stop and time.monotonic() - self._saved < self.config.store.snapshot_seconds):
            return
        tensors, state = pack()
        self.draft.snapshot(done, tensors, state)
        self._saved = time.monotonic()
        self.report(Snapshot(self.iteration, self.stage, done))
        if stop:
            raise Interrupted(f"{self.stage} of iteration {self.iteration} stopped at {done}")

    def check_stop(self) -> None:
        """Unwind if the run is to stop; for stages whose finished parts are on disk already."""
        if self.should_stop():
            raise Interrupted(f"{self.stage} of iteration {self.iteration} stopped")

    def log(self, text: str, level: str = "info") -> None:
        """Say one line to people."""
        self.report(Message(text, level))

    def output(self, line: str) -> None:
        """Pass on a line that an environment printed."""
        self.report(Output(self.iteration, self.stage, line))

    def log_image(self, kind: str, image: np.ndarray) -> None:
        """Show people a picture (H, W, 3) uint8."""
        self.report(Picture(self.iteration, self.stage, kind, image))

    def log_track(self, kind: str, vectors: np.ndarray, actions: np.ndarray) -> None:
        """Show people vectors (T+1, n) float32 and the actions (T, ...) between them, in the environment's units."""
        self.report(Track(self.iteration, self.stage, kind, vectors, actions))
