"""What work tells the outside. A stage reports events and never prints; a Reporter is any callable."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

import numpy as np

from wmloop.legacy import metrics_now


@dataclass(frozen=True)
class RunStarted:
    """Announce that a run starts, or goes on (`resumed`) at `iteration`.

    `iterations`, `hours` and `goal` are the limits of this call; None: none.
    """

    run: str
    iteration: int
    iterations: int
    goal: float | None
    device: str
    resumed: bool
    hours: float | None = None


@dataclass(frozen=True)
class StageStarted:
    """Announce a stage; `total` counts the units its Progress events will reach.

    The stage evaluate sends it a second time where it goes on to the confirming episodes.
    """

    iteration: int
    stage: str
    total: int
    unit: str


@dataclass(frozen=True)
class Progress:
    """Tell how far the running stage is: `done` of `total` units, and units per second since it began or resumed."""

    iteration: int
    stage: str
    done: int
    total: int
    unit: str
    rate: float


@dataclass(frozen=True)
class Metrics:
    """Carry scalars of the running stage, named without the stage (`recon_loss`, `score`, ...)."""

    iteration: int
    stage: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Picture:
    """Carry images for people: `kind` is `real`, `reconstruction` or `dream`; `image` is (H, W, 3) uint8."""

    iteration: int
    stage: str
    kind: str
    image: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Track:
    """Carry what was observed and done in an episode so far, or in a dream, for people: `kind` is `real` or `dream`.

    `vectors` (T+1, n) float32 are the vectors that were observed, n = 0 where only pictures are, and `actions` (T, ...) what
    was done after each of the first T, in the environment's units: integers (T,) where they are discrete.
    """

    iteration: int
    stage: str
    kind: str
    vectors: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Output:
    """Carry a line that an environment printed, for the run's `environment.log`."""

    iteration: int
    stage: str
    line: str


@dataclass(frozen=True)
class VersionCommitted:
    """Announce that a stage is finished and its output, a version, is stored: its metrics, size in bytes, seconds of work."""

    iteration: int
    stage: str
    metrics: Mapping[str, float]
    num_bytes: int
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """Announce that a stage in training saved its state.

    An interruption loses nothing before step `done`, which counts the stage's own steps, not the units of Progress.
    """

    iteration: int
    stage: str
    done: int


@dataclass(frozen=True)
class Resources:
    """Tell what there is: bytes that this process has in memory, and bytes free on the run's disk; 0 where unknown."""

    memory_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Message:
    """Say one line to people; `level` is `info` or `warning`."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class RunFinished:
    """Announce the end of the loop: `reason` is `goal`, `iterations`, `hours`, `limits` (those of a study) or `interrupted`.

    The best iteration has the highest mean score less one standard error; `best_score` is its mean over the held-out episodes.
    """

    run: str
    reason: str
    best_iteration: int | None
    best_score: float | None


Event = (
    RunStarted
    | StageStarted
    | Progress
    | Metrics
    | Picture
    | Track
    | Output
    | VersionCommitted
    | Snapshot
    | Resources
    | Message
    | RunFinished
)
Reporter = Callable[[Event], None]


#: What is shown and not logged.
_UNLOGGED = (Picture, Track, Output)


def to_record(event: Event) -> dict[str, Any] | None:
    """Return the event as a JSON-ready dict with its `event` name; None of pictures, tracks and output: they are not logged."""
    if isinstance(event, _UNLOGGED):
        return None
    return {"event": type(event).__name__, **asdict(event)}


_BY_NAME = {kind.__name__: kind for kind in get_args(Event) if kind not in _UNLOGGED}


def from_record(record: Mapping[str, Any]) -> Event | None:
    """Return the event that `to_record` made a record of, or None where it is none that this program knows.

    Numbers that were not finite have become None on the way, and are NaN again.
    """
    kind = _BY_NAME.get(str(record.get("event")))
    if kind is None:
        return None
    values = {}
    for part in fields(kind):
        if part.name not in record:
            continue
        value = _read(record[part.name], str(part.type))
        if value is _NOTHING:
            return None
        values[part.name] = value
    try:
        event: Event = kind(**values)
    except TypeError:  # a field is missing: an older or a newer program's
        return None
    return event


_NOTHING = object()


def _read(value: Any, kind: str) -> Any:
    """Return a JSON value as a field of a kind, or _NOTHING where it is of another."""
    if kind.endswith(" | None"):
        return None if value is None else _read(value, kind.removesuffix(" | None"))
    match kind:
        case "float":
            return math.nan if value is None else value if _number(value) else _NOTHING
        case "int":
            return value if _number(value) and not isinstance(value, float) else _NOTHING
        case "str":
            return _shown(value) if isinstance(value, str) else _NOTHING
        case "bool":
            return value if isinstance(value, bool) else _NOTHING
    if not isinstance(value, Mapping) or not all(part is None or _number(part) for part in value.values()):
        return _NOTHING
    return metrics_now({name: math.nan if part is None else part for name, part in value.items()})


#: They turn the direction in which what follows is written.
_DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _shown(text: str) -> str:
    """Return a text without what would be a command to a terminal: a log may come from somebody else."""
    return "".join("\ufffd" if _commands(mark) else mark for mark in text)


def _commands(mark: str) -> bool:
    """Tell whether a character is a control, turns the direction of writing, or is half of one."""
    return mark not in "\n\t" and (unicodedata.category(mark) in ("Cc", "Cs") or mark in _DIRECTIONS)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
