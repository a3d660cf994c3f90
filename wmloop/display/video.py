"""A video file."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wmloop.display.frames import fit, within
from wmloop.display.keys import Controls
from wmloop.display.lettering import with_lines
from wmloop.errors import StorageError, UsageError

#: File names a video may end with, and for each its encoders, the best first, and its pixel format.
_FORMATS = {".mp4": (("libx264", "libopenh264", "mpeg4"), "yuv420p"), ".gif": (("gif",), "pal8")}
#: Pictures a second that a format has at most: a GIF counts hundredths, and browsers slow down what is faster.
_FASTEST = {"yuv420p": 100, "pal8": 50}
_SLOWEST = 0.1
#: A picture's sides in a video: encoders take no less, players no more.
_LEAST, _LARGEST = 16, 4096
#: Where an encoder does not choose by itself how good pictures are to be.
_BITS_A_SECOND = 4_000_000


class Video:
    """A file, .mp4 or .gif, `path`; nobody can press a key here.

    What the file held stays until the first picture comes. Of more pictures a second than the format has, some are left
    out.

    Raises:
        UsageError: it is no such file, or there is nothing here to write it with.
        StorageError: the file system refuses, now or, from `show` and `close`, later.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._av, self._codec = require_video(path)
        self.path, self._pixels = path, _FORMATS[path.suffix.lower()][1]
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

    def hand(self) -> Controls:
        """Return a hand at rest."""
        return Controls()

    def close(self) -> None:
        """Write what is left and close the file; one that is new and got no picture is taken away."""
        with self._refusals(), contextlib.ExitStack() as stack:
            stack.callback(self._leave)
            container, self._container = self._container, None  # once only, also where it fails
            if container is None:
                return
            self._new = False
            stack.callback(container.close)
            if self._graph is not None:
                self._graph.push(None)
                self._drain(container)
            container.mux(self._stream.encode())

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

    def _drain(self, container: Any) -> None:
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return
            container.mux(self._stream.encode(frame))


def require_video(path: Path) -> tuple[Any, str]:
    """Return what writes the video `path`: PyAV and the name of an encoder.

    Raises:
        UsageError: it is no video's name, or there is nothing here to write it with or no folder to write it in.
        StorageError: the file system refuses.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"cannot render to {str(path)!r}: a video's name ends in .mp4 or .gif")
    _look(path)
    try:
        import av
    except ModuleNotFoundError as error:
        raise UsageError("writing a video needs PyAV: pip install 'wmloop[video]'") from error
    return av, _encoder(av, path, _FORMATS[path.suffix.lower()][0])


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


def _look(path: Path) -> None:
    """Refuse what no video can be: raises UsageError, or StorageError where the file system refuses to say."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"cannot render to {str(path)!r}: it is {'a folder' if path.is_dir() else 'no file'}")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {str(path.parent)!r} for {path.name}")
    except OSError as error:
        raise _refused(path, error) from error


def _open(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file for writing without taking away what it holds; return whether it is new, too."""
    try:
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
