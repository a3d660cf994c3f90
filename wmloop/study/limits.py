"""When a run of a study ends: once all of its limits are used up."""

from __future__ import annotations

import time
from collections.abc import Mapping

from wmloop.events import Event, VersionCommitted
from wmloop.history import History
from wmloop.study.results import points_of


class UsedUp:
    """Tell whether nothing that a run still does can count: each limit is reached by an evaluation, or behind it.

    It follows the run's events. Minutes are those of finished stages and of the stage that works, as points_of counts them.
    """

    def __init__(self, limits: Mapping[str, float], history: History, seconds: float) -> None:
        """Take the limits, and a run that has worked for so many seconds."""
        self._limits, self._pipeline = limits, history.pipeline
        self._frames = sum(version.metrics.get("frames", 0.0) for version in history.collected())
        self._scored = max((point.frames for point in points_of(history).values()), default=0.0)
        self._worked = sum(version.seconds for version in history.everything())
        self._begun = time.monotonic() - seconds

    def report(self, event: Event) -> None:
        """Take in an event."""
        if not isinstance(event, VersionCommitted):
            return
        self._worked += event.seconds
        self._begun = time.monotonic() - self._worked
        if event.stage in self._pipeline.collectors:
            self._frames += event.metrics.get("frames", 0.0)
        if event.stage == self._pipeline.scored_by:
            self._scored = self._frames

    def __call__(self) -> bool:
        """Tell whether every limit is used up."""
        frames, minutes = self._limits.get("frames"), self._limits.get("minutes")
        return (frames is None or self._scored >= frames or self._frames > frames) and (
            minutes is None or (time.monotonic() - self._begun) / 60 >= minutes
        )
