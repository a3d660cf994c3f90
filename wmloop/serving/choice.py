"""Which agent is served."""

from __future__ import annotations

from wmloop.commands import command
from wmloop.errors import UsageError
from wmloop.history import History
from wmloop.store import Store, Version


def choose(store: Store, iteration: int | None) -> tuple[int, str]:
    """Return the iteration whose agent to serve, and why: `iteration` if given, else the best, else the newest.

    Raises:
        UsageError: that iteration has no controller (those that have one are listed), or none has.
    """
    history = History(store)
    trained = [version.iteration for version in history.all("controller") if _whole(history, version)]
    if not trained:
        raise UsageError(
            f"the run {store.name} has no controller yet: `{command('resume', store.path)}` goes on to train its first"
        )
    if iteration is not None:
        if iteration not in trained:
            there = ", ".join(map(str, trained))
            raise UsageError(f"the run {store.name} has no controller of iteration {iteration}: it has {there}")
        return iteration, "as asked"
    best = history.best_evaluation()
    if best is None:
        return trained[-1], "the newest; none is evaluated yet"
    return best.iteration, f"the best, {best.metrics['score']:.1f} on {store.name}'s own tracks"


def _whole(history: History, controller: Version) -> bool:
    """Return whether an agent is there to drive: pruning may have taken its critic, or all of it."""
    if "actor.safetensors" not in controller.files:
        return False
    parents = [history.version(controller.iteration, stage) for stage in ("vision", "memory")]
    return all(parent is not None and "model.safetensors" in parent.files for parent in parents)
