"""What every rank but the first does: it performs, with the first, the stages that this announces, as far as they train."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

from wmloop.config.legacy import stored
from wmloop.config.text import from_toml
from wmloop.device import set_up
from wmloop.errors import DivergedError, DraftUnusableError, Interrupted, RankLostError, StorageError, UsageError
from wmloop.history import History
from wmloop.loop import inputs
from wmloop.opening import pipeline_of
from wmloop.pipelines import Pipeline
from wmloop.ranks import Group
from wmloop.store import Draft, Store
from wmloop.training.context import StageContext

#: A network file system may show this node a moment late what another one has written.
PATIENCE_SECONDS = 60.0


def follow(ranks: Group, leave: Callable[[], bool]) -> None:
    """Perform what the first rank announces, until it dismisses this one, or `leave` says so between two pieces of work.

    Raises:
        RankLostError: another rank has ended before its time.
        WmloopError: what is announced cannot be done here.
    """
    for work in ranks.work(leave):
        try:
            _perform(ranks, work)
        except (Interrupted, DivergedError, DraftUnusableError):
            continue  # it was the same for all: the first rank saves, reports it, or begins again
        except RankLostError:
            if ranks.dismissed():  # the first has said why it ended
                return
            raise


class _NoDraft:
    """The draft of a rank that has none: whoever wants it has come to what is the first rank's to do."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Interrupted("what is left of the stage, the first rank does")


def _perform(ranks: Group, work: Mapping[str, Any]) -> None:
    config = stored(from_toml(work["config"], work["run"]))
    pipeline = pipeline_of(config)
    iteration, stage = work["iteration"], pipeline.row(work["stage"])
    history = _as_announced(Path(work["run"]), pipeline, (iteration, pipeline.names.index(stage.name)), ranks)
    if history is None:
        return
    device = set_up(config.device, config.threads, config.precision)
    ranks.prepare(device)
    context = StageContext(
        config, pipeline, iteration, stage.name, stage.unit, device, lambda: history.collected(iteration + 1),
        lambda: history.scored(iteration + 1), cast(Draft, _NoDraft()), lambda event: None, lambda: False, ranks,
    )  # fmt: skip
    needs, carries = inputs(history, stage, iteration)
    stage.run(context, **needs, **carries)


def _as_announced(run: Path, pipeline: Pipeline, position: tuple[int, int], ranks: Group) -> History | None:
    """Return what a run has done, once that is all that the first rank had done when it announced the stage at `position`.

    None where it has committed that stage by now: it needed nobody, as where there is nothing to train.

    Raises:
        StorageError: this node does not come to see it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(UsageError):  # there is no such run yet
            history = History(Store.open(run), pipeline)
            if (now := history.next_position()) >= position:
                return history if now == position else None
        if time.monotonic() > deadline:
            raise StorageError(
                f"rank {ranks.rank} does not find in {run} what the first rank has written there: all ranks need one folder of"
                " runs, which a file system that the nodes share can give them"
            )
        time.sleep(0.5)
