"""One process at work on a run: its view, its log, and how it stops."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import typer

from wmloop.cli.exits import say
from wmloop.cli.opening import commits
from wmloop.config import RunConfig, settings, with_settings
from wmloop.errors import EnvironmentFailedError, StorageError
from wmloop.events import Event, Picture, Reporter, Resources, StageStarted
from wmloop.store import Store
from wmloop.view import View, ViewState, open_view
from wmloop.view.lines import Throttle, stamped
from wmloop.view.state import recall

_LOG_SECONDS = 5.0
_RESOURCES_SECONDS = 5.0
_PICTURES_SECONDS = 1.0
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stop:
    """Turn the first Ctrl-C or SIGTERM into a wish, which `stop()` tells, and the second into an end.

    Signals are read by a thread, from the pipe that Python writes them to as they arrive. So they are answered at once,
    even while the main thread is deep inside a long computation.
    """

    def __init__(self, first: Callable[[int], None], second: Callable[[int], None]) -> None:
        """Call `first(signum)` at the first signal, from another thread; at the second `second(signum)`, then exit."""
        self.signum: int | None = None
        self._first, self._second = first, second
        self._asked = threading.Event()

    def __call__(self) -> bool:
        """Tell whether the run is to stop."""
        return self.signum is not None

    def within(self, seconds: float) -> bool:
        """Tell whether the run is to stop, if need be after waiting for a signal that is under way."""
        return self._asked.wait(seconds)

    def __enter__(self) -> Stop:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {signum: signal.signal(signum, _do_nothing) for signum in _SIGNALS}
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._old.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._writer.close()
        self._thread.join()
        self._reader.close()

    def _listen(self) -> None:
        while data := self._reader.recv(64):
            for signum in data:
                if signum not in _SIGNALS:
                    continue
                again, self.signum = self.signum is not None, self.signum or signum
                self._asked.set()
                with contextlib.suppress(Exception):  # whatever ails the view, the wish counts
                    (self._second if again else self._first)(signum)
                if again:
                    os._exit(128 + signum)


class Session:
    """Work on a run with a view, its log and signals."""

    def __init__(
        self, store: Store, stored: RunConfig, config: RunConfig, progress: str, root: Path, track: bool = False
    ) -> None:
        """Take the run, its own settings `stored`, those it goes by now, the folder of runs `root`, and whether to `track`."""
        self._store, self._stored, self._config, self._root = store, stored, config, root
        self._again = resume_command(store, stored, config, root) + (" --track" if track else "")
        self._progress = progress
        self._throttle = Throttle(_LOG_SECONDS)
        self._place = "the run"
        self._view: View | None = None
        self._track = track
        self._followers: list[Reporter] = []
        self._measured = -_RESOURCES_SECONDS
        self._pictures: dict[str, np.ndarray] = {}
        self._saved = -_PICTURES_SECONDS

    def run(self) -> None:
        """Run the loop to one of its ends and say which.

        Raises:
            typer.Exit: it was stopped, with 130 or 143.
            WmloopError: as the loop does.
        """
        from wmloop import loop, pipelines
        from wmloop.device import set_up

        device = set_up(self._config.device, self._config.threads, self._config.precision)
        state = ViewState(stages=tuple(stage.name for stage in pipelines.WORLD_MODEL))
        with self._store.lock(), contextlib.ExitStack() as stack:
            self._view = open_view(self._progress, recall(state, commits(self._store), time.monotonic()))
            stack.callback(self._view.close)
            self._follow(stack)
            stack.callback(self._save_pictures)
            stop = stack.enter_context(Stop(self._stopping, self._leaving))
            try:
                reason = loop.run(self._store, self._config, device, self._report, stop)
            except EnvironmentFailedError:
                if not stop.within(0.3):  # a SIGTERM to the whole process group ends the workers too, and maybe first
                    raise
                reason = "interrupted"
            except Exception as error:
                error.add_note(f"All that was saved is safe: `{self._again}` goes on from there.")
                raise
        if reason == "interrupted":
            say(f"stopped; what was done is saved. Go on with\n  {self._again}")
            raise typer.Exit(128 + (stop.signum or signal.SIGINT))
        say(f"watch it: wmloop play {self._store.name}; score it on fresh tracks: wmloop eval {self._store.name};"
            f" go further: {self._further(reason)}")  # fmt: skip

    def _further(self, reason: str) -> str:
        """Return the command that goes on with a run that ended for `reason`: with more of what was spent."""
        budget = self._config.budget
        more = {
            "iterations": 2 * budget.iterations,
            "hours": 2 * (budget.hours or 1),
            "goal": budget.goal + 10,
        }
        larger = with_settings(self._config, {"budget": {reason: more[reason]}})
        return resume_command(self._store, self._stored, larger, self._root)

    def _follow(self, stack: contextlib.ExitStack) -> None:
        """Let tables follow the run's events, and TensorBoard where it is asked for."""
        from wmloop.tracking import MetricsTable, TensorBoard

        table = MetricsTable(self._store)
        table.write()
        self._followers = [table.report]
        if self._track:
            board = TensorBoard(self._store)
            stack.callback(board.close)
            self._followers.append(board.report)

    def _report(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._place = f"{event.stage} of iteration {event.iteration}"
        if self._throttle.passes(event, time.monotonic()):
            self._store.append_event(stamped(event))
        assert self._view is not None
        self._view.report(event)
        if not isinstance(event, Resources) and time.monotonic() >= self._measured + _RESOURCES_SECONDS:
            self._measured = time.monotonic()
            self._report(resources(self._store.path))
        if isinstance(event, Picture):
            self._pictures[event.kind] = event.image
            if time.monotonic() >= self._saved + _PICTURES_SECONDS:
                self._save_pictures()
        for follow in self._followers:
            follow(event)

    def _save_pictures(self) -> None:
        """Save the latest pictures for `wmloop watch`; a disk that refuses stops no run for it."""
        self._saved = time.monotonic()
        if self._pictures:
            with contextlib.suppress(StorageError):
                self._store.save_pictures(self._pictures)

    def _stopping(self, signum: int) -> None:
        assert self._view is not None
        again = "Ctrl-C again" if signum == signal.SIGINT else "once more"
        self._view.notice(
            f"{_SIGNALS[signal.Signals(signum)]}: saving {self._place}, then stopping ({again}: exit now)"
        )

    def _leaving(self, signum: int) -> None:
        assert self._view is not None
        self._view.abandon()
        text = f"exiting now; what was not saved yet will be done again. Go on with\n  {self._again}\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode(errors="replace"))


def resources(run: Path) -> Resources:
    """Return what there is of memory and disk; 0 where the system does not tell."""
    memory = free = 0
    with contextlib.suppress(OSError, ValueError):
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(run).free
    return Resources(memory, free)


def resume_command(store: Store, stored: RunConfig, config: RunConfig, root: Path) -> str:
    """Return the command that goes on with this run as it is going: with its folder and what was changed."""
    words = ["wmloop", "resume", store.name]
    if root != Path(os.environ.get("WMLOOP_RUNS", "runs")):
        words += ["--runs", str(root)]
    old, new = settings(stored.budget), settings(config.budget)
    for name in new:
        if new[name] != old[name]:
            words += [f"--{name}", str(new[name])] if new[name] is not None else ["--set", f"budget.{name}=none"]
    old, new = settings(stored.store, "store."), settings(config.store, "store.")
    for name in new:
        if new[name] != old[name]:
            words += ["--set", f"{name}={'none' if new[name] is None else new[name]}"]
    return shlex.join(words)


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """Keep Python from raising: the thread of Stop reads the signal."""
