"""What a task came to: its learning curve, and the scores of the agent that it had at each limit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wmloop import ranking
from wmloop.errors import StoreCorruptError
from wmloop.history import History
from wmloop.store.files import read_regular


class Point(NamedTuple):
    """An evaluation: real frames collected by then, frames that evaluations took by then, seconds of work, mean score."""

    frames: float
    evaluated: float
    seconds: float
    score: float


class Final(NamedTuple):
    """The agent at a limit: what had been used of it by the last evaluation within, its scores on the fresh episodes.

    `predicted` and `real` are returns of the same part of the episodes of its evaluation; None without a world model.
    """

    frames: float
    evaluated: float
    seconds: float
    scores: list[float]
    predicted: float | None = None
    real: float | None = None


class Result(NamedTuple):
    """All of a task. A limit within which there was no agent has None; `made` says with what it was made."""

    points: list[Point]
    finals: dict[str, Final | None]
    made: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """Return it as it is stored."""
        finals = {name: final and final._asdict() for name, final in self.finals.items()}
        return {"points": [point._asdict() for point in self.points], "finals": finals, "made": self.made}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Result:
        """Return what was stored.

        Raises:
            KeyError, TypeError: that is no record of a result.
        """
        finals = {name: final and Final(**final) for name, final in record["finals"].items()}
        return cls([Point(**point) for point in record["points"]], finals, dict(record["made"]))


def points_of(history: History) -> dict[int, Point]:
    """Return the evaluations of a run by iteration."""
    collected: dict[int, float] = {}
    for version in history.collected():  # several stages of an iteration may collect
        collected[version.iteration] = collected.get(version.iteration, 0.0) + version.metrics.get("frames", 0.0)
    scored = {version.iteration: version.metrics for version in history.scored()}
    seconds: dict[int, float] = {}
    for version in history.everything():
        seconds[version.iteration] = seconds.get(version.iteration, 0.0) + version.seconds
    points, frames, evaluated, worked = {}, 0.0, 0.0, 0.0
    for iteration in sorted(seconds):
        frames, worked = frames + collected.get(iteration, 0.0), worked + seconds[iteration]
        if (told := scored.get(iteration)) is not None:
            evaluated += told.get("frames", 0.0) + told.get("confirmed_frames", 0.0)
            points[iteration] = Point(frames, evaluated, worked, told["score"])
    return points


def is_within(point: Point, limit: str, value: float) -> bool:
    """Tell whether an evaluation came within a limit."""
    return point.frames <= value if limit == "frames" else point.seconds <= 60 * value


def chosen(history: History, limit: str, value: float) -> int | None:
    """Return the iteration whose agent a run would have served when a limit was reached; None where it had none by then."""
    within = [iteration for iteration, point in points_of(history).items() if is_within(point, limit, value)]
    metrics = [version.metrics for version in history.scored() if version.iteration in within]
    place = ranking.best(metrics)
    return None if place is None else within[place]


def read_lines(path: Path, limits: Mapping[str, float], episodes: int) -> Result:
    """Read what another program wrote of a task, a JSON table a line (see docs/study.md).

    Raises:
        StoreCorruptError: a line is none, or something is missing; which line, and what.
    """
    points: list[Point] = []
    finals: dict[str, Final | None] = {}
    made: dict[str, Any] = {}
    for number, line in enumerate(read_regular(path).decode(errors="replace").splitlines(), 1):
        try:
            told = json.loads(line)
            if "made" in told:
                made |= dict(told["made"])
                continue
            where = [float(told[name]) for name in ("frames", "seconds")]
            evaluated = float(told.get("evaluated", 0.0))
            if "limit" not in told:
                points.append(Point(where[0], evaluated, where[1], float(told["score"])))
                continue
            scores = None if told["scores"] is None else [float(score) for score in told["scores"]]
            finals[str(told["limit"])] = None if scores is None else Final(where[0], evaluated, where[1], scores)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreCorruptError(
                f"{path}, line {number}, is no point and no final score of a study: {error!r}"
            ) from None
    for name in limits:
        if name not in finals:
            raise StoreCorruptError(
                f'{path} has no final scores for the limit {name!r}: no line with "limit": "{name}"'
            )
        final = finals[name]
        if final is not None and len(final.scores) != episodes:
            raise StoreCorruptError(
                f"{path} has {len(final.scores)} final scores for the limit {name!r}, not {episodes}"
            )
    return Result(points, {name: finals[name] for name in limits}, made)


def last_of(points: Sequence[Point]) -> str:
    """Return in words how far a task has come."""
    if not points:
        return "no score yet"
    point = points[-1]
    return f"{point.frames:,.0f} frames, {point.seconds / 60:.1f} min, score {point.score:.1f}"
