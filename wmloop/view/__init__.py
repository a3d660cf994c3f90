"""What people see of a run. Take it away and no result changes."""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import Protocol

from wmloop import streams
from wmloop.events import Event, Picture, RunFinished, Track
from wmloop.view.lines import LineView, json_line, timed
from wmloop.view.state import ViewState, reduce
from wmloop.view.summary import summary

__all__ = ["View", "ViewState", "open_view", "show_ended"]


class View(Protocol):
    """Shows a run to somebody: takes events and never stands in their way."""

    def report(self, event: Event) -> None:
        """Take in an event."""

    def notice(self, text: str) -> None:
        """Show one line at once; any thread may call this."""

    def close(self) -> None:
        """Stop showing and give the terminal back."""

    def abandon(self) -> None:
        """Give the terminal back without waiting for anything: the process ends now."""


class PlainView(LineView):
    """Write one line an event, and the run's summary after its end."""

    def __init__(self, state: ViewState) -> None:
        super().__init__(sys.stdout, functools.partial(timed, state.pipeline), 10.0)
        self._state = state

    def report(self, event: Event) -> None:
        """Write `event` unless it is one too many."""
        super().report(event)
        if not isinstance(event, Picture | Track):
            self._state = reduce(self._state, event, time.monotonic())
        if isinstance(event, RunFinished):
            self.write("\n".join(summary(self._state, time.monotonic())))


def open_view(style: str, state: ViewState, hint: str = "Ctrl-C saves and stops") -> View:
    """Return the view `rich`, `plain`, `json` or `none`; `rich` and `auto` are plain where no terminal can show more.

    Nor can it for a process that begins in the background, as under `timeout`: only the foreground may draw on it.

    `state` is what the live view starts from, `hint` what it says where there is nothing else to say.
    """
    if style in ("auto", "rich") and can_show_live() and streams.in_foreground(sys.stdout):
        from wmloop.view.live import LiveView  # Rich loads only where it draws

        return LiveView(state, hint)
    if style == "json":
        return LineView(sys.stdout, json_line, 1.0)
    if style == "none":
        return LineView(None, json_line, 1.0)
    return PlainView(state)


def show_ended(state: ViewState, style: str = "auto") -> None:
    """Print the last screen of a run that nobody trains now, or, as `plain` or on what is no terminal, its summary."""
    if style != "plain" and can_show_live():
        from wmloop.view.live import print_screen

        print_screen(state)
    else:
        print("\n".join(summary(state, time.monotonic())))


def can_show_live() -> bool:
    """Tell whether stdout is a terminal with a cursor that can show block characters."""
    if sys.stdout is None:
        return False
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown") and encoding == "utf8"
