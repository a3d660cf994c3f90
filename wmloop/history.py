"""What a run has done so far, as the loop and its readers ask for it."""

from __future__ import annotations

import math

from wmloop import ranking
from wmloop.pipelines import Pipeline
from wmloop.store import Store, Version
from wmloop.store.version import version_name


class History:
    """The committed versions of a run: one scan of its folder, which is the truth, then what its one writer adds.

    A run of a thousand iterations has five thousand manifests, and the loop asks for some of them at every stage.
    """

    def __init__(self, store: Store, pipeline: Pipeline) -> None:
        """Scan the run of a pipeline."""
        self.store, self.pipeline = store, pipeline
        self._versions: dict[str, dict[int, Version]] = {name: {} for name in pipeline.names}
        for version in store.versions():
            self.add(version)

    def add(self, version: Version) -> None:
        """Take in a version that was committed since, or has lost files to a pruning."""
        self._versions.setdefault(version.stage, {})[version.iteration] = version

    def version(self, iteration: int, stage: str) -> Version | None:
        """Return the version of a stage that an iteration has, or None; of a stage that is done once, that of iteration 0."""
        return self._versions[stage].get(0 if self.pipeline.row(stage).once else iteration)

    def made(self, iteration: int) -> dict[str, Version]:
        """Return the versions that were made in an iteration, by stage, in the order of the table."""
        return {name: versions[iteration] for name, versions in self._versions.items() if iteration in versions}

    def all(self, stage: str, before: float = math.inf) -> list[Version]:
        """Return the versions of a stage by iteration, those before an iteration if one is given."""
        return [version for iteration, version in sorted(self._versions[stage].items()) if iteration < before]

    def collected(self, before: float = math.inf) -> list[Version]:
        """Return the versions that hold real episodes, in the order in which they were made."""
        names = [name for name in self.pipeline.names if name in self.pipeline.collectors]
        return sorted((version for name in names for version in self.all(name, before)), key=lambda v: v.iteration)

    def scored(self, before: float = math.inf) -> list[Version]:
        """Return the evaluations."""
        return self.all(self.pipeline.scored_by, before)

    def everything(self) -> list[Version]:
        """Return all versions by iteration and stage."""
        stages = self._versions.values()
        iterations = sorted({iteration for versions in stages for iteration in versions})
        return [versions[iteration] for iteration in iterations for versions in stages if iteration in versions]

    def worked(self) -> float:
        """Return how many seconds a run has worked, as its budget counts them: what was interrupted included."""
        iteration, place = self.next_position()
        done = sum(version.seconds for version in self.everything())
        return done + self.store.worked(iteration, self.pipeline.names[place])

    def meets(self, goal: float | None) -> bool:
        """Tell whether some evaluation reached a goal and the confirming episodes confirmed it."""
        return goal is not None and any(ranking.confirms(version.metrics, goal) for version in self.scored())

    @property
    def first(self) -> int:
        """Return the iteration of the run's first agent: 0, or later where it began with what another pipeline had learnt.

        Before it such a run has episodes alone.
        """
        stages = self._versions.items()
        episodes = [name for name in self.pipeline.collectors if name != self.pipeline.agent]
        learnt = [iteration for name, made in stages if name not in episodes for iteration in made]
        begun = max((iteration for _, made in stages for iteration in made), default=0)
        return min(learnt, default=begun)

    def next_position(self) -> tuple[int, int]:
        """Return the first (iteration, place in the table) without a version: what is to be done next."""
        iteration = self.first
        while True:
            for place, name in enumerate(self.pipeline.names):
                if self.version(iteration, name) is None:
                    return iteration, place
            iteration += 1

    def lost(self) -> str | None:
        """Return the name of a version that is missing though later iterations are there, or None."""
        iteration, place = self.next_position()
        later = any(version.iteration > iteration for version in self.everything())
        return version_name(iteration, self.pipeline.names[place]) if later else None

    def best_evaluation(self) -> Version | None:
        """Return the evaluation whose agent `play` and `eval` serve (see ranking.merit)."""
        scored = self.scored()
        place = ranking.best([version.metrics for version in scored])
        return None if place is None else scored[place]

    def newest_accepted(self, before: int) -> int:
        """Return the iteration whose agent the training of `before` goes on from (see ranking.newest_accepted)."""
        scored = self.scored(before)
        return scored[ranking.newest_accepted([version.metrics for version in scored])].iteration
