"""Have the tasks of a study performed, as many at once as their place takes, and tell how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wmloop.errors import StorageError
from wmloop.study.place import LOST, NotNowError, Place, Work
from wmloop.study.program import end_lost
from wmloop.study.task import Task

_LOOK_SECONDS = 0.2
#: Until a place that took no task is asked again.
_PAUSE_SECONDS = 30.0
#: How often a task is begun again whose process was lost: a node that died, the last resort against a full memory.
_AGAIN = 2


class State(NamedTuple):
    """Where a task is: `waiting`, `queued`, `running`, `done`, `failed`; `code` is the exit code of one that failed."""

    status: str
    code: int = 0


class Driver:
    """Have tasks performed in their order. Each is a process, so that it has its own threads and settings, and dies alone."""

    def __init__(self, tasks: Sequence[Task], place: Place) -> None:
        """Take the tasks, and where they are performed."""
        self.tasks, self._place = tasks, place
        self.states = {task: State("waiting" if task.result() is None else "done") for task in tasks}
        self._works: dict[Task, Work] = {}
        self._lost = dict.fromkeys(tasks, 0)

    def run(
        self, should_stop: Callable[[], bool], show: Callable[[], None], ended: Callable[[Task], None],
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        """Do what is not done, until that is all, or somebody stops it; `show` is called now and then, `ended` after each.

        A task that fails leaves the others to be done; but where a disk is full none is begun any more. One whose process
        was lost is begun again, twice at most. Where its place takes no task now, those under way go on, and it is asked again;
        `tell` is told why.
        """
        waiting = [task for task in self.tasks if self.states[task].status == "waiting"]
        asked, full, due, said = False, False, 0.0, ""
        try:
            while self._works or waiting:
                if should_stop() and not asked:
                    asked, waiting = True, []
                    for work in self._works.values():
                        work.stop()
                over = [task for task, work in self._works.items() if work.code() is not None]
                for task in over:
                    state = self._ended(task, should_stop)
                    ended(task)
                    if state == State("waiting") and not should_stop():
                        waiting.insert(0, task)
                    full |= state == State("failed", StorageError.exit_code)
                    if full:
                        waiting = []
                if waiting and (time.monotonic() >= due or not self._works) and (free := self._place.free()) > 0:
                    try:
                        self._begin(waiting[:free])
                        waiting = waiting[free:]
                    except NotNowError as error:
                        if not self._works:
                            raise
                        if str(error) != said:
                            tell(said := str(error))
                        due = time.monotonic() + _PAUSE_SECONDS
                if self._works and not over:
                    for task, work in self._works.items():
                        self.states[task] = State("queued" if work.is_queued() else "running")
                    show()
                    time.sleep(_LOOK_SECONDS)
        except BaseException:
            for work in self._works.values():
                work.stop()
            raise

    def abandon(self) -> None:
        """End what is under way at once: it saves nothing more."""
        for task, work in list(self._works.items()):
            work.kill()
            end_lost(task)

    def _begin(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            task.begin()
        for task, work in zip(tasks, self._place.begin(tasks), strict=True):
            self._works[task] = work
            self.states[task] = State("running")

    def _ended(self, task: Task, should_stop: Callable[[], bool]) -> State:
        """Return, and note, where a task is now whose process has ended."""
        code = self._works.pop(task).code()
        assert code is not None, "it has ended"
        if code == LOST:
            end_lost(task)
        if task.result() is not None:
            state = State("done", code)
        elif should_stop():
            state = State("waiting")
        elif code == LOST and self._lost[task] < _AGAIN:
            self._lost[task] += 1
            state = State("waiting")
        else:
            state = State("failed", code)
        self.states[task] = state
        return state
