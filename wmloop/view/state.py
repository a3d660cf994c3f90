"""What there is to see of a run, as one value: events go in, a new state comes out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from wmloop.events import (
    Event,
    Message,
    Metrics,
    Output,
    Picture,
    Progress,
    Resources,
    RunFinished,
    RunStarted,
    Snapshot,
    StageStarted,
    Track,
    VersionCommitted,
)
from wmloop.pipelines import Pipeline
from wmloop.ranking import merit
from wmloop.view.words import headline

#: Into so many stretches of its progress a stage's curves are divided.
BINS = 64
_MESSAGES = 4
_NO_LOSSES = {"score", "frames"}  # what rollout and evaluate report while they drive


@dataclass(frozen=True)
class Running:
    """The stage at work: `done` of `total` units, `rate` units a second, `metrics` the latest."""

    name: str
    total: int
    unit: str
    done: int = 0
    rate: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Return how much of it is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated seconds to its end, or None when there is nothing to estimate from."""
        return max(0, self.total - self.done) / self.rate if self.rate > 0 else None


@dataclass(frozen=True)
class Finished:
    """A stage of this iteration that is committed."""

    seconds: float
    headline: str
    rate: float = 0.0


@dataclass(frozen=True)
class Score:
    """One evaluation: the mean real score and its deviation over episodes, and the return that M predicted for an episode.

    `merit` is what versions are ranked by (see ranking.merit), `paid` is the real return over the same decisions as
    `predicted`, and `gap` predicted over real return less one.
    """

    iteration: int
    real: float
    std: float
    predicted: float
    paid: float
    gap: float
    merit: float
    confirmed: float | None = None


@dataclass(frozen=True)
class Note:
    """Something said at `at` seconds."""

    text: str
    level: str
    at: float


@dataclass(frozen=True)
class ViewState:
    """All that the view shows. Times are monotonic seconds; the process at work began at `began` and ended at `ended`.

    `spent` counts the seconds of earlier processes, `collected` the real frames of committed versions, and `took` the seconds
    of each stage's last version. `open_loop` are M's correlation and bias on the newest real episodes. `curves` maps a loss
    of stage `curves_of` to its value in each of BINS stretches of the stage's progress, as far as it was seen.
    """

    pipeline: Pipeline
    run: str = ""
    device: str = ""
    iteration: int = 0
    iterations: int = 0
    goal: float = math.inf
    hours: float | None = None
    began: float = 0.0
    ended: float | None = None
    spent: float = 0.0
    collected: float = 0.0
    running: Running | None = None
    finished: Mapping[str, Finished] = field(default_factory=dict)
    took: Mapping[str, float] = field(default_factory=dict)
    curves_of: str = ""
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    open_loop: tuple[float, float] | None = None
    commit: tuple[VersionCommitted, float] | None = None
    snapshot: tuple[Snapshot, float] | None = None
    notes: tuple[Note, ...] = ()
    resources: Resources | None = None
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    tracks: Mapping[str, Track] = field(default_factory=dict)
    reason: str | None = None

    @property
    def best(self) -> Score | None:
        """Return the evaluation of the best agent."""
        return max(self.scores, key=lambda s: s.merit, default=None)

    @property
    def frames(self) -> float:
        """Return the real frames collected so far, those of the stage at work included."""
        running = self.running
        driving = running is not None and running.name in self.pipeline.collectors and running.unit == "frames"
        return self.collected + (running.done if driving and running else 0)

    def worked(self, now: float) -> float:
        """Return the seconds of work up to `now`: those of earlier processes, and of this one until it ended."""
        return self.spent + max(0.0, (now if self.ended is None else self.ended) - self.began)

    def score_in(self) -> float | None:
        """Return the seconds to the next evaluation's end, if each stage takes as long as it last did; None where unknown."""
        seconds = 0.0
        if self.reason is not None:
            return None
        for name in self.pipeline.names:
            if name in self.finished:
                continue
            running = self.running if self.running is not None and self.running.name == name else None
            left = running.seconds_left if running is not None else self.took.get(name)
            if left is None:
                return None
            seconds += left
            if name == self.pipeline.scored_by:
                return seconds
        return None

    def goal_in(self, now: float) -> float | None:
        """Return the seconds to the goal if scores went on to rise as over the last three evaluations; None if they do not.

        They rise more slowly the higher they are, so it is a lower bound more often than not.
        """
        if len(self.scores) < 2 or self.reason is not None:
            return None
        first, last = self.scores[-3:][0], self.scores[-1]
        pace = (last.real - first.real) / max(1, last.iteration - first.iteration)
        if not (pace > 0 and last.real < self.goal < math.inf):
            return None
        took = self.worked(now) / (last.iteration + 1)
        return math.ceil((self.goal - last.real) / pace) * took


def recall(state: ViewState, versions: Iterable[VersionCommitted], now: float) -> ViewState:
    """Return `state` as if it had seen the commits of earlier processes, in their order."""
    for version in versions:
        state = replace(reduce(state, version, now), spent=state.spent + version.seconds, commit=None)
    return state


def reduce(state: ViewState, event: Event, now: float) -> ViewState:
    """Return the state after `event`, which came at `now`. Pictures and tracks are referred to, never copied."""
    match event:
        case RunStarted():
            return replace(
                _in_iteration(state, event.iteration), run=event.run, device=event.device, hours=event.hours,
                iterations=event.iterations, goal=math.inf if event.goal is None else event.goal,
                spent=state.spent if state.ended is None else state.worked(now), began=now, ended=None,
                reason=None,
            )  # fmt: skip
        case StageStarted():
            running = Running(event.stage, event.total, event.unit)
            return replace(_in_iteration(state, event.iteration), running=running, snapshot=None)
        case Progress():
            metrics = state.running.metrics if state.running and state.running.name == event.stage else {}
            running = Running(event.stage, event.total, event.unit, event.done, event.rate, metrics)
            return replace(_in_iteration(state, event.iteration), running=running)
        case Metrics():
            return _with_metrics(state, event)
        case Picture():
            return replace(state, pictures={**state.pictures, event.kind: event.image})
        case Track():
            return replace(state, tracks={**state.tracks, event.kind: event})
        case VersionCommitted():
            return _with_commit(_in_iteration(state, event.iteration), event, now)
        case Snapshot():
            return replace(state, snapshot=(event, now))
        case Resources():
            return replace(state, resources=event)
        case Output():
            return state
        case Message():
            return replace(state, notes=(*state.notes, Note(event.text, event.level, now))[-_MESSAGES:])
        case RunFinished():
            return replace(state, reason=event.reason, running=None, ended=now)


def _in_iteration(state: ViewState, iteration: int) -> ViewState:
    if iteration == state.iteration:
        return state
    kept = {name: done for name, done in state.finished.items() if state.pipeline.row(name).once}
    return replace(state, iteration=iteration, finished=kept, running=None)


def _with_metrics(state: ViewState, event: Metrics) -> ViewState:
    running = state.running
    if running is None or running.name != event.stage:
        return state
    state = replace(state, running=replace(running, metrics=dict(event.values)))  # the stage goes on with its own
    losses = {name: value for name, value in event.values.items() if name not in _NO_LOSSES}
    if not losses:
        return state
    place = f"{event.iteration}/{event.stage}"
    curves = state.curves if state.curves_of == place else {}
    at = min(BINS - 1, int(running.share * BINS))
    grown = {name: {**curves.get(name, {}), at: value} for name, value in losses.items()}
    return replace(state, curves_of=place, curves=grown)


def _with_commit(state: ViewState, event: VersionCommitted, now: float) -> ViewState:
    metrics = event.metrics
    said = headline(state.pipeline, event.stage, metrics)
    running = state.running
    rate = running.rate if running is not None and running.name == event.stage else 0.0
    finished = {**state.finished, event.stage: Finished(event.seconds, said, rate)}
    took = {**state.took, event.stage: event.seconds}
    state = replace(state, finished=finished, took=took, commit=(event, now), snapshot=None, running=None)
    if "open_loop_correlation" in metrics:
        state = replace(state, open_loop=(metrics["open_loop_correlation"], metrics.get("open_loop_bias", math.nan)))
    if event.stage in state.pipeline.collectors:
        state = replace(state, collected=state.collected + metrics.get("frames", 0.0))
    if event.stage == state.pipeline.scored_by and "score" in metrics:
        score = Score(
            event.iteration, metrics["score"], metrics.get("score_std", math.nan), metrics.get("predicted_return", math.nan),
            metrics.get("real_return", math.nan),
            metrics.get("return_gap", math.nan), merit(metrics), metrics.get("confirmed_score"),
        )  # fmt: skip
        return replace(state, scores=(*(s for s in state.scores if s.iteration != event.iteration), score))
    return state
