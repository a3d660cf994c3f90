"""Which agent is served."""

from __future__ import annotations

from wmloop.commands import command
from wmloop.errors import UsageError
from wmloop.history import History


def choose(history: History, iteration: int | None) -> tuple[int, str]:
    """Return the iteration whose agent to serve, and why: `iteration` if given, else the best, else the newest.

    Raises:
        UsageError: that iteration has no agent (those that have one are listed), or none has.
    """
    store, agent = history.store, history.pipeline.agent
    trained = [version.iteration for version in history.all(agent) if _whole(history, version.iteration)]
    if not trained:
        raise UsageError(
            f"the run {store.name} has no agent yet: `{command('resume', store.path)}` trains its first, or says which budget"
            " is used up"
        )
    if iteration is not None:
        if iteration not in trained:
            there = ", ".join(map(str, trained))
            lost = history.version(iteration, agent) is not None
            raise UsageError(
                f"the agent of iteration {iteration} of the run {store.name} was pruned: there are those of {there}"
                if lost
                else f"the run {store.name} has no agent of iteration {iteration}: there are those of {there}"
            )
        return iteration, "as asked"
    best = history.best_evaluation()
    if best is None:
        return trained[-1], "the newest: none is evaluated yet"
    confirming = best.metrics.get("confirmed_score")
    if confirming is not None:
        return best.iteration, f"the best: score {confirming:.1f} on confirming episodes"
    return best.iteration, f"the best: score {best.metrics['score']:.1f} on held-out episodes"


def _whole(history: History, iteration: int) -> bool:
    """Return whether an agent is there to act: pruning may have taken its learner, or all of it."""
    parts = [(history.version(iteration, part.name), part.agent_files) for part in history.pipeline.parts]
    return all(version is not None and set(files) <= version.files.keys() for version, files in parts)
