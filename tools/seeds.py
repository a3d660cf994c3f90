"""Runs of a page of docs/results: each a seed, all of one task and its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wmloop.cli.again import Again, again
from wmloop.commands import command
from wmloop.config import RunConfig, settings, with_settings
from wmloop.errors import UsageError
from wmloop.opening import history_of, stored_config
from wmloop.ranking import confirms
from wmloop.report import Facts
from wmloop.report.facts import Point
from wmloop.store import Store

#: What runs of one page may have of their own: the seed, where they ran, how long at most, and what is kept of them.
_FREE = re.compile(r"seed|device|threads|precision|budget\.(iterations|hours)|store\..*")


class Seed(NamedTuple):
    """One run of a page: its facts, the metrics of its evaluations by iteration, and the commands that repeat it."""

    store: Store
    facts: Facts
    scored: Mapping[int, Mapping[str, float]]
    again: Again

    @classmethod
    def of(cls, path: Path) -> Seed:
        """Read the run in the folder `path`."""
        store = Store.open(path)
        config = _resumed(store, stored_config(store))
        scored = {version.iteration: version.metrics for version in history_of(store, config).scored()}
        return cls(store, Facts.of(store, config), scored, again(store))

    @property
    def number(self) -> int:
        """Return the seed itself."""
        return self.facts.config.seed

    @property
    def best(self) -> Point:
        """Return the evaluation whose agent is served."""
        assert self.facts.best, "there is an evaluation (see require_together)"
        return self.facts.best

    @property
    def reached(self) -> Point | None:
        """Return the first evaluation that confirmed the goal, or None."""
        goal = self.facts.config.budget.goal
        if goal is None:
            return None
        return next((point for point in self.facts.points if confirms(self.scored[point.iteration], goal)), None)


def _resumed(store: Store, config: RunConfig) -> RunConfig:
    """Return a run's settings with the goal that it was last resumed to."""
    for record in store.journal.events()[0]:
        changed = record.get("changed") if record.get("event") == "SessionStarted" else None
        if changed and "budget.goal" in changed:
            config = with_settings(config, {"budget": {"goal": changed["budget.goal"]}})
    return config


def require_together(seeds: Sequence[Seed]) -> None:
    """Refuse runs that are none of one page.

    Raises:
        UsageError: they are of different tasks or settings, or of one seed twice; how one was trained is not recorded; one
            has not been scored on fresh episodes (the command that does is told).
    """
    first, *others = seeds
    own = settings(first.facts.config)
    for other in others:
        told = settings(other.facts.config)
        names = [name for name in own | told if not _FREE.fullmatch(name) and own.get(name) != told.get(name)]
        if "env.id" in names:  # and therefore much else
            names = ["env.id"]
        if names:
            shown = ", ".join(f"{name} ({own.get(name)!r} and {told.get(name)!r})" for name in names)
            raise UsageError(f"a page is of one task and its settings: {first.store.name} and {other.store.name} differ in"
                             f" {shown}")  # fmt: skip
    twice = {seed.number for seed in seeds if sum(other.number == seed.number for other in seeds) > 1}
    if twice:
        raise UsageError(f"a page has one run of each seed: there are several of {', '.join(map(str, sorted(twice)))}")
    for seed in seeds:
        if not seed.again.commands:
            raise UsageError(f"{seed.store.name} cannot be on a page: {' '.join(seed.again.notes)}")
        if not seed.facts.points:
            raise UsageError(f"{seed.store.name} has no evaluation yet: {command('resume', seed.store.path)}")
    unscored = [seed.store.path for seed in seeds if not seed.facts.fresh]
    if unscored:
        lines = [command("eval", path, "--episodes", "100", "--seed", "N") for path in unscored]
        raise UsageError("\n  ".join(["these agents have no score on fresh episodes, which nothing has used (take an N that"
                                      " was not used either):", *lines]))  # fmt: skip
