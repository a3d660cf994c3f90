"""The live view on a terminal: the pure picture of `screen.render`, drawn four times a second on the other screen."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from wmloop.events import Event, Message, RunFinished
from wmloop.view.frames import half_blocks, terminal_colours
from wmloop.view.lines import plain
from wmloop.view.screen import PICTURES, render
from wmloop.view.state import ViewState, reduce


class _Errors(io.TextIOBase):
    """Stand in for stderr: keep whole lines and tell each."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.lines: deque[str] = deque(maxlen=100)
        self._tell, self._rest = tell, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self.lines.extend(lines)
        for line in lines:
            if line[:1].strip():  # an indented line is more of the last one
                self._tell(line)
        return len(text)


class LiveView:
    """Show a run on the terminal's other screen until `close`; drawing happens in a thread of its own.

    Events only replace the state; what is drawn is decided when it is drawn. What anybody prints to stderr meanwhile
    (a library's warning) becomes a note, because it would be painted over within a quarter of a second.
    """

    def __init__(self, state: ViewState, hint: str) -> None:
        self._state, self._notice, self._hint = state, "", hint
        self._end: RunFinished | None = None
        self._console = Console()
        self._colours = terminal_colours(None if self._console.no_color else self._console.color_system)
        self._painted: dict[tuple[int, int, int], tuple[np.ndarray, list[str]]] = {}
        self._live = Live(
            console=self._console, get_renderable=self._draw, screen=True, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._errors = _Errors(lambda line: self.report(Message(line, "warning")))
        self._redirection = contextlib.redirect_stderr(self._errors)
        self._redirection.__enter__()
        self._live.start()

    def report(self, event: Event) -> None:
        """Take in an event; nothing is drawn here."""
        if isinstance(event, RunFinished):
            self._end = event
        self._state = reduce(self._state, event, time.monotonic())

    def notice(self, text: str) -> None:
        """Show `text` at once instead of messages, from now on; any thread may call this."""
        self._notice = text
        self._live.refresh()

    def close(self) -> None:
        """Give the terminal back as it was; what was printed to stderr meanwhile is printed there now."""
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._live.stop()
        self._redirection.__exit__(None, None, None)
        with contextlib.suppress(OSError):
            sys.stderr.write("".join(f"{line}\n" for line in self._errors.lines))
            if self._end is not None:
                print(plain(self._end))

    def abandon(self) -> None:
        """Give the terminal back without waiting for anything: the process ends now."""
        os.write(1, b"\x1b[?1049l\x1b[?25h")

    def _draw(self) -> RenderableType:
        width, height = self._console.size
        paint = None if self._colours == "none" else self._paint
        try:
            return render(self._state, width, height, time.monotonic(), paint, self._notice, self._hint)
        except Exception as error:  # a fault in here must not end the drawing, much less the run
            return Text(f"the view failed with {error!r}; the run goes on")

    def _paint(self, image: np.ndarray, rows: int, columns: int) -> list[str]:
        key = (id(image), rows, columns)
        if key not in self._painted:
            kept = list(self._painted.items())[-2 * len(PICTURES) :]
            self._painted = dict(kept) | {key: (image, half_blocks(image, rows, columns, self._colours))}
        return self._painted[key][1]
