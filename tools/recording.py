"""A recording of the live view as an animation, from a terminal that tmux holds.

    tmux new-session -d -x 100 -y 32 -s rec "wmloop start NAME"
    python tools/recording.py capture rec FOLDER --seconds 2        until the session ends
    python tools/recording.py draw FOLDER live.gif --frames 60

needs tmux, and matplotlib and Pillow for the drawing (pip install -e '.[report]').
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.style import Style

_INK, _PAPER = (210, 214, 220), (22, 24, 29)
_SIZE = 13


def capture(session: str, folder: Path, seconds: float) -> None:
    """Write the pane's text with its colours to a file every so many seconds, until the session ends."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        told = subprocess.run(["tmux", "capture-pane", "-e", "-p", "-t", session], capture_output=True, check=False)
        if told.returncode:
            return
        (folder / f"{number:06d}.ansi").write_bytes(told.stdout)
        number += 1
        time.sleep(seconds)


def draw(folder: Path, target: Path, frames: int, milliseconds: int) -> None:
    """Draw so many of the captured screens, evenly spread, as an animation; the last one stays for a while."""
    files = sorted(folder.glob("*.ansi"))
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, frames).astype(int))]
    pictures = [picture(file.read_text()) for file in chosen]
    size = tuple(max(p.size[axis] for p in pictures) for axis in (0, 1))
    sheets = []
    for one in pictures:
        sheet = Image.new("RGB", size, _PAPER)
        sheet.paste(one)
        sheets.append(sheet.quantize(128, dither=Image.Dither.NONE))
    first, *rest = sheets
    lasts = [milliseconds] * len(rest) + [3000]
    if rest:
        first.save(target, save_all=True, append_images=rest, duration=lasts, loop=0, optimize=True)
    else:
        first.save(target)
    print(f"{target}: {len(sheets)} screens, {target.stat().st_size:,} bytes")


def picture(text: str) -> Image.Image:
    """Return a screen as a picture; half blocks are drawn as what they are, two pixels of a cell."""
    font = ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"), _SIZE)
    wide, high = round(font.getlength("m")), _SIZE + 4
    console = Console(width=400, color_system="truecolor")
    lines = list(AnsiDecoder().decode(text))
    columns = max((line.cell_len for line in lines), default=1)
    sheet = Image.new("RGB", (columns * wide, len(lines) * high), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        at = 0
        for segment in line.render(console):
            ink, paper = _colours(segment.style or Style())
            for letter in segment.text.rstrip("\n"):
                left, top = at * wide, row * high
                pen.rectangle((left, top, left + wide - 1, top + high - 1), paper)
                if letter == "▀":
                    pen.rectangle((left, top, left + wide - 1, top + high // 2 - 1), ink)
                elif letter != " ":
                    pen.text((left, top + 1), letter, ink, font)
                at += 1
    return sheet


def _colours(style: Style) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    ink = tuple(style.color.get_truecolor()) if style.color and not style.color.is_default else _INK
    paper = (
        tuple(style.bgcolor.get_truecolor(foreground=False))
        if style.bgcolor and not style.bgcolor.is_default
        else _PAPER
    )
    if style.dim:
        ink = tuple((a + b) // 2 for a, b in zip(ink, paper, strict=True))
    return ink, paper


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("capture")
    one.add_argument("session")
    one.add_argument("folder", type=Path)
    one.add_argument("--seconds", type=float, default=2.0)
    two = commands.add_parser("draw")
    two.add_argument("folder", type=Path)
    two.add_argument("target", type=Path)
    two.add_argument("--frames", type=int, default=60)
    two.add_argument("--milliseconds", type=int, default=250)
    options = parser.parse_args()
    if options.command == "capture":
        capture(options.session, options.folder, options.seconds)
    else:
        draw(options.folder, options.target, options.frames, options.milliseconds)
