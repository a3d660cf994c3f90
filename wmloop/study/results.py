"""What a task came to: its learning curve, and the scores of the agent that it had at each limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wmloop import ranking
from wmloop.errors import StoreCorruptError, nearest
from wmloop.history import History
from wmloop.store.files import read_regular
from wmloop.store.jsontext import finite


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

    def told(self, name: str, kind: type) -> list[Any]:
        """Return what `made` says of a thing, such as the `cores`, each answer once: it may change when a run is continued."""
        later = self.made.get("sessions")
        sessions = [self.made, *(later if isinstance(later, list) else [])]
        said = [one.get(name) for one in sessions if isinstance(one, dict)]
        return list(dict.fromkeys(one for one in said if type(one) is kind))

    @property
    def record(self) -> dict[str, Any]:
        """Return it as it is stored."""
        finals = {name: final and final._asdict() for name, final in self.finals.items()}
        return {"points": [point._asdict() for point in self.points], "finals": finals, "made": self.made}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Result:
        """Return what was stored.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: that is no record of a result.
        """
        finals = {name: final and _final(**final) for name, final in record["finals"].items()}
        return cls([_point(**point) for point in record["points"]], finals, dict(record["made"]))

    def require_whole(self, limits: Mapping[str, float], episodes: int, path: Path) -> None:
        """Refuse what the file `path` says where it has not the scores of so many episodes for each limit.

        Raises:
            StoreCorruptError: it has not.
        """
        for name in limits:
            if name not in self.finals:
                raise StoreCorruptError(
                    f'{path} has no final scores for the limit {name!r}: no line with "limit": "{name}"'
                )
            final = self.finals[name]
            if final is not None and len(final.scores) != episodes:
                raise StoreCorruptError(
                    f"{path} has {len(final.scores)} final scores for the limit {name!r}, not {episodes}"
                )


def _finite(value: Any) -> float:
    if (number := finite(value)) is None:
        raise ValueError(f"{value!r} is no finite number")
    return number


def _amount(name: str, value: Any) -> float:
    if (number := _finite(value)) < 0:
        raise ValueError(f"{name} is {value}, below 0")
    return number


def _used(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return what was used so far of what `figures` tell: frames, those of evaluations, seconds."""
    return {name: _amount(name, figures[name]) for name in ("frames", "evaluated", "seconds")}


def _point(**figures: Any) -> Point:
    return Point(**{name: _finite(value) for name, value in figures.items()} | _used(figures))


def _final(scores: Any, **figures: Any) -> Final:
    if not isinstance(scores, list):
        raise TypeError("the scores are no list")
    told = {name: None if value is None else _finite(value) for name, value in figures.items()} | _used(figures)
    return Final(scores=[_finite(score) for score in scores], **told)  # type: ignore[arg-type]


#: What of `made` the page tells, and what it has to be.
_MADE: dict[str, tuple[type, str]] = {
    "cores": (int, "a whole number"),
    **dict.fromkeys(("cpu", "cpu_model", "gpu", "git"), (str, "a text")),
}  # fmt: skip


def _made(told: Any) -> dict[str, Any]:
    made = dict(told)
    json.dumps(made, allow_nan=False, ensure_ascii=False).encode()  # it is stored and shown so
    for name, (kind, words) in _MADE.items():
        if made.get(name) is not None and type(made[name]) is not kind:
            raise ValueError(f"{name!r} of 'made' has to be {words}")
    return made


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


def is_within(point: Point | Final, limit: str, value: float) -> bool:
    """Tell whether an evaluation came within a limit."""
    return point.frames <= value if limit == "frames" else point.seconds <= 60 * value


def chosen(history: History, limit: str, value: float) -> int | None:
    """Return the iteration whose agent a run would have served when a limit was reached; None where it had none by then."""
    within = [iteration for iteration, point in points_of(history).items() if is_within(point, limit, value)]
    metrics = [version.metrics for version in history.scored() if version.iteration in within]
    place = ranking.best(metrics)
    return None if place is None else within[place]


def _words(error: Exception) -> str:
    """Return what is wrong with a line, not in Python's words."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, json.JSONDecodeError | RecursionError):
        return f"it is no JSON object ({error})"
    return str(error)


def read_lines(path: Path, limits: Mapping[str, float], episodes: int) -> Result:
    """Read what another program wrote of a task, a JSON table a line (see docs/study.md).

    Raises:
        StoreCorruptError: a line is none, or something is missing; which line, and what.
    """
    points: list[Point] = []
    finals: dict[str, Final | None] = {}
    made: dict[str, Any] = {}
    lines = read_regular(path).decode(errors="replace").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            if "made" in told:
                if len(told) > 1:
                    raise ValueError("'made' stands on a line of its own")
                made |= _made(told["made"])
                continue
            where = {name: told[name] for name in ("frames", "seconds")} | {"evaluated": told.get("evaluated", 0.0)}
            own = ("limit", "scores") if "limit" in told else ("score",)
            if other := [name for name in told if name not in (*where, *own)]:
                raise ValueError(f"unknown key {other[0]!r}{nearest(other[0], (*where, *own))}")
            if "limit" not in told:
                points.append(_point(**where, score=told["score"]))
                for name in where if points[1:] else ():
                    if getattr(points[-1], name) < getattr(points[-2], name):
                        raise ValueError(f"its {name!r} is less than that of the point before")
            else:
                name, scores = told["limit"], told["scores"]
                if name in finals:
                    raise ValueError(f"a second line for the limit {name!r}")
                final = finals[name] = None if scores is None else _final(scores, **where)
                if final is not None and name in limits and not is_within(final, name, limits[name]):
                    raise ValueError(f"its agent is not one of the limit {name!r}, which is {limits[name]:g}")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise StoreCorruptError(
                f"{path}, line {number}, is no point and no final score of a study: {_words(error)}"
            ) from None
    result = Result(points, finals, made)
    result.require_whole(limits, episodes, path)
    return result._replace(finals={name: finals[name] for name in limits})
