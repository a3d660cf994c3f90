"""The live view on a terminal: the pure picture of `screen.render`, drawn four times a second on the other screen."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO, cast

import numpy as np
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from wmloop import streams
from wmloop.display.frames import half_blocks, terminal_colours
from wmloop.events import Event, Message, RunFinished
from wmloop.view.lines import note
from wmloop.view.screen import render
from wmloop.view.state import ViewState, reduce
from wmloop.view.summary import summary

_PRINTED_ROWS = 20
_STOP: Any = getattr(signal, "SIGTSTP", None)  # Ctrl-Z, where there is such a thing


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


class _Screen(io.TextIOBase):
    """Stand in for a terminal that may go away while it is drawn on: from then on nothing is drawn."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()

    def write(self, text: str) -> int:
        try:
            self._terminal.write(text)
            self._terminal.flush()
        except BlockingIOError:  # it takes no more at the moment
            pass
        except (OSError, ValueError):
            streams.discard(self._terminal)
        return len(text)


class LiveView:
    """Show a run on the terminal's other screen until `close`; drawing happens in a thread of its own.

    Events only replace the state; what is drawn is decided when it is drawn. What anybody prints to stderr meanwhile
    (a library's warning) becomes a note, because it would be painted over within a quarter of a second. While the
    process is stopped (Ctrl-Z) or in the background, the terminal is the shell's.
    """

    def __init__(self, state: ViewState, hint: str) -> None:
        self._state, self._notice, self._hint = state, "", hint
        self._ended = False
        self._screen = _Screen(sys.stdout)
        self._console = Console(file=cast(TextIO, self._screen))
        self._colours = terminal_colours(None if self._console.no_color else self._console.color_system)
        self._painted: dict[tuple[int, int, int], tuple[np.ndarray, list[str]]] = {}
        self._live: Live | None = None
        self._stoppable = _STOP is not None and signal.getsignal(_STOP) is signal.SIG_DFL
        self._errors = _Errors(lambda line: self._take(Message(line, "warning")))
        self._redirection = contextlib.redirect_stderr(self._errors)
        self._redirection.__enter__()
        self._show()

    def report(self, event: Event) -> None:
        """Take in an event; nothing is drawn here."""
        self._ended |= isinstance(event, RunFinished)
        self._take(event)
        self._show()

    def notice(self, text: str) -> None:
        """Show `text` at once instead of messages, from now on; any thread may call this."""
        self._notice = text
        if live := self._live:
            live.refresh()
        else:
            note(text)

    def close(self) -> None:
        """Give the terminal back as it was; what was printed to stderr meanwhile is printed there now."""
        self._hide()
        self._redirection.__exit__(None, None, None)
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("".join(f"{line}\n" for line in self._errors.lines))
            sys.stderr.flush()
        if self._ended:
            self._screen.write("".join(f"{line}\n" for line in summary(self._state, time.monotonic())))

    def abandon(self) -> None:
        """Give the terminal back without waiting for anything: the process ends now."""
        if self._live:
            with contextlib.suppress(OSError):
                os.write(1, b"\x1b[?1049l\x1b[?25h")

    def _take(self, event: Event) -> None:
        self._state = reduce(self._state, event, time.monotonic())

    def _show(self) -> None:
        """Begin to draw, or go on, unless a shell has put this process into the background."""
        if self._live is not None or not streams.in_foreground(sys.stdout):
            return
        self._live = Live(
            console=self._console, get_renderable=self._draw, screen=True, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        with self._changing_hands(self._pause):
            self._live.start()

    def _hide(self) -> None:
        live, self._live = self._live, None
        if live:
            with self._changing_hands(signal.SIG_DFL):
                live.stop()

    @contextlib.contextmanager
    def _changing_hands(self, handler: Any) -> Iterator[None]:
        """Let a Ctrl-Z wait while the terminal is taken or given back, and then be answered by `handler`, as later ones."""
        if self._stoppable:
            waiting: list[int] = []
            signal.signal(_STOP, lambda signum, frame: waiting.append(signum))
        yield
        if self._stoppable:
            signal.signal(_STOP, handler)
            if waiting:
                signal.raise_signal(_STOP)

    def _pause(self, signum: int, frame: FrameType | None) -> None:
        """Give the terminal back and stop, as a handler of Ctrl-Z; go on when a shell says so."""
        self._hide()
        signal.raise_signal(signum)  # by now what it usually does; nothing where no shell could let the process go on
        self._show()

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
            kept = list(self._painted.items())[-2 * len(self._state.pipeline.images) :]
            self._painted = dict(kept) | {key: (image, half_blocks(image, rows, columns, self._colours))}
        return self._painted[key][1]


def print_screen(state: ViewState) -> None:
    """Print the view of `state` once, without pictures, and leave it there."""
    console = Console(file=sys.stdout)
    console.print(render(state, console.width, _PRINTED_ROWS, time.monotonic()), end="")
