"""Where moving pictures are shown: a window, the terminal, a video file. Each loads its library only when it opens."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from wmloop.errors import StorageError, UsageError
from wmloop.view.frames import Colours, fit, half_blocks, size_within, within
from wmloop.view.keys import DIRECTIONS, Hand, spell, steered
from wmloop.view.lettering import lettered, with_lines

#: File names a video may end with, and for each its encoders, the best first, and its pixel format.
_FORMATS = {".mp4": (("libx264", "libopenh264", "mpeg4"), "yuv420p"), ".gif": (("gif",), "pal8")}
#: Pictures a second that a format has at most: a GIF counts hundredths, and browsers slow down what is faster.
_FASTEST = {"yuv420p": 100, "pal8": 50}
_SLOWEST = 0.1
#: A picture's sides in a video: encoders take no less, players no more.
_LEAST, _LARGEST = 16, 4096
#: Where an encoder does not choose by itself how good pictures are to be.
_BITS_A_SECOND = 4_000_000
_CHOICES = "`--render terminal` shows it here, `--render drive.mp4` writes a video"
#: Terminals repeat a held key after about half a second, and then often.
_HELD_SECONDS = 0.5
#: A window's room for pictures, and below them for text, unless the first picture is larger.
_ROOM, _TEXT = (800, 400), 60
#: A game pad's stick rests a little beside its middle.
_DEAD = 0.08


class ClosedError(Exception):
    """Tell that the person watching closed the window."""


class Showing(Protocol):
    """Shows pictures (H, W, 3) uint8 of one size, each with a caption and lines below it, at a pace."""

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Show one; returns when the next is due."""

    def pressed(self) -> list[str]:
        """Return the names of the keys pressed since the last call (see view.keys).

        Raises:
            ClosedError: the person closed it.
        """

    def hand(self) -> Hand:
        """Return where the keys that are held, or a game pad, steer."""

    def close(self) -> None:
        """Stop showing; a file is finished."""


def open_showing(render: str, fps: float) -> Showing:
    """Return the place that `render` names: `window`, `terminal`, or a file's name.

    Raises:
        UsageError: it cannot be had here; the message says what can.
    """
    if render == "window":
        return Window(fps)
    if render == "terminal":
        return Terminal(fps)
    return Video(Path(os.path.expanduser(render)), fps)  # noqa: PTH111 - it leaves a home that is not there as it is


class Window:
    """A window of the desktop. It keeps its size, whatever is shown, but for the person who pulls at it."""

    def __init__(self, fps: float) -> None:
        anywhere = sys.platform in ("win32", "darwin") or os.environ.get("SDL_VIDEODRIVER")
        if not (anywhere or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UsageError(f"there is no display for a window: {_CHOICES}")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame: Any = pygame
        try:
            pygame.display.init()
        except pygame.error as error:
            raise UsageError(f"no window can be opened ({error}): {_CHOICES}") from error
        pygame.joystick.init()
        self._pads = [pygame.joystick.Joystick(i) for i in range(pygame.joystick.get_count())]
        self._clock = pygame.time.Clock()
        self._fps = fps
        self._screen: Any = None
        self._held: set[str] = set()

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Draw it as large as it fits above its lines."""
        pygame = self._pygame
        if self._screen is None:  # a window of another size would be another window, without the keyboard
            size = max(_ROOM[0], picture.shape[1]), max(_ROOM[1], picture.shape[0]) + _TEXT
            self._screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        width, height = self._screen.get_size()
        text = lettered(lines, width)
        room = max(1, height - len(text))
        scale = min(width / picture.shape[1], room / picture.shape[0])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        self._screen.fill((0, 0, 0))
        drawn = pygame.transform.scale(self._surface(picture), size)
        self._screen.blit(drawn, ((width - size[0]) // 2, (room - size[1]) // 2))
        if lines:
            self._screen.blit(self._surface(text), (0, room))
        pygame.display.set_caption(caption)
        pygame.display.flip()
        self._clock.tick(self._fps)

    def _surface(self, picture: np.ndarray) -> Any:
        size = picture.shape[1], picture.shape[0]
        return self._pygame.image.frombuffer(np.ascontiguousarray(picture).tobytes(), size, "RGB")

    def pressed(self) -> list[str]:
        """Return what was pressed; a held key counts once."""
        pygame, pressed = self._pygame, []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise ClosedError
            if event.type not in (pygame.KEYDOWN, pygame.KEYUP):
                continue
            name = pygame.key.name(event.key)
            if event.type == pygame.KEYUP:
                self._held.discard(name)
                continue
            self._held.add(name)
            typed = getattr(event, "unicode", "")
            pressed.append(
                name if name in ("space", "tab", "escape") or not typed.isprintable() or not typed else typed
            )
        return pressed

    def hand(self) -> Hand:
        """Return where arrows, letters or the first game pad steer: its left stick, and its two triggers."""
        by_keys = steered({DIRECTIONS[name] for name in self._held if name in DIRECTIONS})
        if self._pads and self._pads[0].get_numaxes() >= 6 and by_keys == Hand():
            axes = [self._pads[0].get_axis(i) for i in (0, 5, 2)]
            return Hand(axes[0] if abs(axes[0]) > _DEAD else 0.0, (axes[1] + 1) / 2, (axes[2] + 1) / 2)
        return by_keys

    def close(self) -> None:
        """Close it."""
        self._pygame.display.quit()


class Terminal:
    """The terminal's other screen, two pixels a character."""

    def __init__(self, fps: float) -> None:
        if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
            raise UsageError(
                "stdout is not a terminal that can show pictures: `--render drive.mp4` writes a video (see `wmloop doctor`)"
            )
        self._seconds, self._due = 1 / fps, time.monotonic()
        self._colours = _colours()
        self._typed = _Typed()
        self._seen: dict[str, float] = {}
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Draw it as large as it fits."""
        columns, rows = os.get_terminal_size()
        below = [caption, *lines][: max(1, rows - 4)]
        height, width = size_within(picture, rows - len(below), columns)
        drawn = half_blocks(picture, height // 2, width, self._colours)
        text = "".join(f"{line}\x1b[K\r\n" for line in drawn)
        words = "\r\n".join(f"{line[: columns - 1]}\x1b[K" for line in below)
        sys.stdout.write(f"\x1b[H{text}{words}\x1b[J")
        sys.stdout.flush()
        self._due = max(self._due + self._seconds, time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))

    def pressed(self) -> list[str]:
        """Return what was typed."""
        pressed = spell(self._typed.read())
        now = time.monotonic()
        self._seen.update((DIRECTIONS[key], now) for key in pressed if key in DIRECTIONS)
        return pressed

    def hand(self) -> Hand:
        """Return where keys steer; a terminal tells no key's release, so each counts as held for a while."""
        now = time.monotonic()
        return steered({name for name, at in self._seen.items() if now - at < _HELD_SECONDS})

    def close(self) -> None:
        """Give the terminal back."""
        self._typed.close()
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()


class _Typed:
    """What is typed on stdin, key by key and unechoed, where that is a terminal of a system that has termios."""

    def __init__(self) -> None:
        self._before: Any = None
        if sys.stdin is None or sys.stdin.closed:
            return
        with contextlib.suppress(ImportError, OSError, ValueError):  # a stand-in for stdin may have no descriptor
            import termios
            import tty

            self._fd = sys.stdin.fileno()
            if os.isatty(self._fd):
                with contextlib.suppress(termios.error):
                    self._before = termios.tcgetattr(self._fd)
                    tty.setcbreak(self._fd)

    def read(self) -> str:
        """Return what was typed since the last call."""
        text = b""
        while self._before is not None and select.select([self._fd], [], [], 0)[0]:
            more = os.read(self._fd, 1024)
            if not more:
                break
            text += more
        return text.decode(errors="ignore")

    def close(self) -> None:
        """Let the terminal behave as before."""
        if self._before is not None:
            import termios

            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


class Video:
    """A file, .mp4 or .gif, `path`; nobody can press a key here.

    What the file held stays until the first picture comes. Of more pictures a second than the format has, some are left
    out.

    Raises:
        UsageError: it is no such file, or there is nothing here to write it with.
        StorageError: the file system refuses, now or, from `show` and `close`, later.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in _FORMATS:
            raise UsageError(
                f"cannot render to {str(path)!r}: it is window, terminal, or a file ending in .mp4 or .gif"
            )
        self.path = path
        encoders, self._pixels = _FORMATS[path.suffix.lower()]
        try:
            import av
        except ModuleNotFoundError as error:
            raise UsageError("writing a video needs PyAV: pip install 'wmloop[video]'") from error
        self._av: Any = av
        self._codec = _encoder(av, path, encoders)
        self._every = max(1, math.ceil(fps / _FASTEST[self._pixels]))
        self._rate = Fraction(max(fps / self._every, _SLOWEST)).limit_denominator(500)
        self._seen = self._count = 0
        self._file, self._new = _open(path)
        self._container: Any = None
        self._stream: Any = None
        self._graph: Any = None

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Add a frame; the caption is not in it. A GIF, which stores pictures badly, is half as large, without lines."""
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        if self._pixels == "pal8":
            picture = fit(picture, max(1, picture.shape[0] // 2), max(1, picture.shape[1] // 2))
        else:
            picture = with_lines(picture, lines[:2])  # of one height throughout
        with self._refusals():
            if self._stream is None:
                self._begin(*(min(max(side // 2 * 2, _LEAST), _LARGEST) for side in picture.shape[:2]))
            height, width = self._stream.height, self._stream.width
            if (picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2) != (height, width):
                picture = within(picture, height, width)
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = self._count, 1 / self._rate
            self._count += 1
            if self._graph is None:
                self._container.mux(self._stream.encode(frame))
            else:
                self._graph.push(frame)

    def _begin(self, height: int, width: int) -> None:
        self._file.truncate(0)
        # an open file, so that no name is taken for a protocol or a pattern
        self._container = self._av.open(self._file, "w", format=self.path.suffix.lower()[1:])
        self._stream = self._container.add_stream(self._codec, rate=self._rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, self._pixels
        if self._codec not in ("libx264", "gif"):
            self._stream.bit_rate = _BITS_A_SECOND
        if self._pixels == "pal8":
            self._graph = _palette(self._av, width, height, self._rate)

    def pressed(self) -> list[str]:
        """Return nothing."""
        return []

    def hand(self) -> Hand:
        """Return a hand at rest."""
        return Hand()

    def close(self) -> None:
        """Write what is left and close the file; one that is new and got no picture is taken away."""
        with self._refusals(), contextlib.ExitStack() as stack:
            stack.callback(self._leave)
            if self._container is None:
                return
            stack.callback(self._container.close)
            if self._graph is not None:
                self._graph.push(None)
                self._drain()
            self._container.mux(self._stream.encode())

    def _leave(self) -> None:
        self._file.close()
        if self._new and self._container is None:
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _refused(self.path, error) from error

    def _drain(self) -> None:
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return
            self._container.mux(self._stream.encode(frame))


def _encoder(av: Any, path: Path, names: Sequence[str]) -> str:
    """Return the first of the encoders that this PyAV has; raises UsageError where it has none."""
    for name in names:
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            return str(av.codec.Codec(name, "w").name)
    other = ".gif" if path.suffix.lower() == ".mp4" else ".mp4"
    raise UsageError(
        f"this PyAV ({av.__version__}) has no encoder for {path.suffix} ({', '.join(names)}): a file ending in {other} may do,"
        " or another PyAV (pip install --force-reinstall av)"
    )


def _open(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file for writing without taking away what it holds; return whether it is new, too."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"cannot render to {str(path)!r}: it is {'a folder' if path.is_dir() else 'no file'}")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {str(path.parent)!r} for {path.name}")
        new = not path.exists()
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(path, flags, 0o666), "wb"), new
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write the video {path}: {error.strerror or error}; choose another place for it")


def _palette(av: Any, width: int, height: int, rate: Fraction) -> Any:
    """Return a filter that finds the 256 colours that suit all frames best, which then come out in them."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=1 / rate)
    split, make, sink = (graph.add(name) for name in ("split", "palettegen", "buffersink"))
    use = graph.add("paletteuse", "dither=none")  # dots would make the file four times as large
    source.link_to(split)
    split.link_to(make, 0, 0)
    split.link_to(use, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph


def _colours() -> Colours:
    if os.environ.get("NO_COLOR"):
        return "none"
    return "truecolor" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"
