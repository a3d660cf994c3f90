"""What of a run may go when its disk is to hold only so much: pictures and learners first, agents last, figures never."""

from __future__ import annotations

from typing import NamedTuple

from wmloop import ranking
from wmloop.history import History
from wmloop.store import Store, Version
from wmloop.store.jsontext import is_json


class Retention(NamedTuple):
    """What is kept of a run.

    From each of the newest `keep_last` iterations training can go on: all that the next one reads stays whole. Of the
    `keep_best` by merit and of every `keep_every`-th iteration (none if 0) the agents stay, V, M and C together. All JSON,
    and so every figure, always stays.
    """

    keep_last: int
    keep_best: int = 1
    keep_every: int = 0

    def goes(self, history: History, replay: int) -> list[tuple[Version, list[str]]]:
        """Return the files that are not kept, by version, the oldest first. The best agent always stays.

        Nothing goes from a run that has lost a version: what it needs is not known.
        """
        if history.lost() is not None:
            return []
        upcoming = history.next_position()[0]
        last = range(max(history.first, upcoming - max(1, self.keep_last)), upcoming)
        whole = {version.name for iteration in last for version in required_by_next(history, iteration, replay)}
        if not last:  # its first agent is being made, of what another pipeline has collected
            whole = {version.name for version in history.collected()[-replay:]}
        scored = sorted(history.scored(), key=lambda v: (-ranking.merit(v.metrics), v.iteration))
        agents = {*last, *(version.iteration for version in scored[: max(1, self.keep_best)])}
        if self.keep_every:
            agents |= set(range(0, upcoming, self.keep_every))
        gone = []
        for version in history.everything():
            if version.iteration == upcoming or version.name in whole:
                continue
            stage = history.pipeline.row(version.stage)
            kept = stage.agent_files if stage.once or version.iteration in agents else ()
            files = [name for name in version.files if name not in kept and not is_json(name)]
            if files:
                gone.append((version, files))
        return gone


def required_by_next(history: History, iteration: int, replay: int) -> list[Version]:
    """Return the versions that the iteration after the finished `iteration` reads: what training goes on from there needs.

    `replay` is the number of iterations whose rollouts are learnt from, the reading one among them.
    """
    pipeline, collected = history.pipeline, history.collected(iteration + 1)
    repeated = [stage for stage in pipeline.stages if not stage.once]
    own = repeated[0].name in pipeline.collectors  # then the next iteration's own episodes are one of those
    episodes = collected[max(0, len(collected) - (replay - own)) :]
    before = [v for v in history.everything() if v.iteration == iteration or pipeline.row(v.stage).once]
    at = history.newest_accepted(iteration + 1)
    names = {name for stage in repeated for name in stage.carries_accepted}
    accepted = [version for name in sorted(names) if (version := history.version(at, name))]
    return [*episodes, *before, *accepted]


def prune(store: Store, history: History, retention: Retention, replay: int) -> int:
    """Remove what `retention` does not keep, from a run that this process may write; return the bytes freed.

    Raises:
        StorageError: the file system refuses; the rest goes the next time.
    """
    freed = 0
    for version, files in retention.goes(history, replay):
        freed += store.prune(version, files)
        left = store.version(version.iteration, version.stage)
        assert left is not None, f"{version.name} was whole before it was pruned"
        history.add(left)
    return freed
