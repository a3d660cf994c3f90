"""The player as a person meets it: keys typed on a display or a terminal, pictures read off it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from tests.processes import ROOT, Process


class Desktop:
    """A virtual display, what is on it, and a keyboard."""

    def __init__(self, folder):
        self.folder = folder
        # without -noreset it begins anew whenever its last client leaves, and refuses who comes meanwhile
        command = [
            "Xvfb",
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x800x24",
            "-fbdir",
            str(folder),
            "-nolisten",
            "tcp",
            "-noreset",
        ]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        display = f":{self.server.stdout.readline().strip()}"
        self.environment = os.environ | {
            "DISPLAY": display,
            "SDL_VIDEODRIVER": "x11",
            "SDL_VIDEO_X11_WMCLASS": "wmloop",
        }

    def picture(self):
        """Return the screen (800, 1280, 3) uint8, out of the dump that the server keeps in a file (format XWD, 7)."""
        data = (self.folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack(">25I", data[:100])
        size, height, row, colours = header[0], header[5], header[12], header[19]
        pixels = np.frombuffer(data, np.uint8, height * row, size + 12 * colours)
        return pixels.reshape(height, -1, 4)[:, :, 2::-1]

    def stands(self):
        """Tell whether nothing moves for half a second."""
        before = self.picture()
        time.sleep(0.5)
        return (self.picture() == before).all()

    def ask(self, *arguments):
        done = subprocess.run(["xdotool", *arguments], env=self.environment, capture_output=True, text=True)
        return done.stdout.strip()

    def window(self, kind, process):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            if found := self.ask("search", "--onlyvisible", "--class", kind):
                return found.split()[0]
            time.sleep(0.1)
        raise AssertionError(f"no window of {kind}")

    def press(self, window, *keys):
        self.ask("windowfocus", "--sync", window)
        for key in keys:
            self.ask("key", key)
        time.sleep(0.3)

    def caption(self, window):
        return self.ask("getwindowname", window)


@pytest.fixture
def desktop(tmp_path):
    desktop = Desktop(tmp_path)
    yield desktop
    desktop.server.terminate()
    desktop.server.communicate()


def wait_for(what):
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
def test_keys_drive_the_player_in_a_window_of_a_display(desktop, tmp_path):
    environment = desktop.environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = Process(["play", "demo", "--in", "dream"], environment, merged=True, folder=tmp_path)
    try:
        window = desktop.window("wmloop", process)
        wait_for(lambda: desktop.picture().max() > 100)
        first = desktop.picture()
        wait_for(lambda: (desktop.picture() != first).any())  # it moves

        desktop.press(window, "space")
        wait_for(lambda: desktop.stands())
        held, caption = desktop.picture(), desktop.caption(window)
        desktop.press(window, "period")  # one decision more
        wait_for(lambda: desktop.caption(window) != caption and (desktop.picture() != held).any())
        wait_for(lambda: desktop.stands())
        moved = desktop.picture()
        desktop.press(window, "question")
        wait_for(lambda: (desktop.picture() != moved).any())
        shown = desktop.picture()
        desktop.press(window, "m")  # a person drives
        wait_for(lambda: (desktop.picture() != shown).any())
        desktop.press(window, "question", "m", "Tab", "space")
        wait_for(lambda: "environment" in desktop.caption(window))
        desktop.press(window, "v")
        time.sleep(1.0)
        desktop.press(window, "v", "q")
        process.wait(20)
    finally:
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == 0, output
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 1000
    assert video.name in output


class Screen:
    """A process on a terminal of 80x24, and the last whole frame that it drew there."""

    def __init__(self, command, folder):
        self.person, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment | {"COLORTERM": "truecolor"}, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.bytes = b""

    @property
    def text(self):
        return self.bytes.decode(errors="replace")

    def read(self):
        """Take in what was drawn until now; False once the process has let go of the terminal."""
        while select.select([self.person], [], [], 0.05)[0]:
            try:
                data = os.read(self.person, 1 << 16)
            except OSError:
                return False
            if not data:
                return False
            self.bytes += data
        return True

    def frame(self):
        self.read()
        frames = self.text.split("\x1b[H")
        return frames[-2] if len(frames) > 2 else ""

    def type(self, keys):
        os.write(self.person, keys.encode())


def test_keys_drive_the_player_in_a_terminal(tmp_path):
    screen = Screen([sys.executable, "-m", "wmloop", "play", "demo", "--in", "dream", "--render", "terminal"], tmp_path)

    def shows(words):
        wait_for(lambda: words in screen.frame())

    try:
        wait_for(lambda: "▀" in screen.frame())
        first = screen.frame()
        assert len(set(re.findall(r"[34]8;2;\d+;\d+;\d+", first))) > 5  # colours of a road and its grass
        wait_for(lambda: screen.frame() != first)  # it moves
        screen.type(" ")
        shows("paused")
        held = screen.frame()
        time.sleep(0.5)
        assert screen.frame() == held
        screen.type(".")
        wait_for(lambda: screen.frame() != held)
        screen.type("?")
        shows("quit")
        screen.type("?m")
        shows("your action")
        screen.type("T")
        shows("temperature 1.15")
        screen.type("\t ")
        shows("environment")
        screen.type("q")
        wait_for(lambda: not screen.read())
        assert screen.process.wait(20) == 0
    finally:
        screen.process.kill()
        screen.process.wait()
        with contextlib.suppress(OSError):
            os.close(screen.person)
    assert "\x1b[?1049l" in screen.text[-2000:]  # the terminal is as it was
