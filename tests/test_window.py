"""The player in a window of a real X display: keys go in by the X server, pictures come out of its memory."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")


class Desktop:
    """A virtual display, what is on it, and a keyboard."""

    def __init__(self, folder):
        self.folder = folder
        command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x800x24", "-fbdir", str(folder), "-nolisten", "tcp"]
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
        time.sleep(0.5)

    def caption(self, window):
        return self.ask("getwindowname", window)


@pytest.fixture
def desktop(tmp_path):
    desktop = Desktop(tmp_path)
    yield desktop
    desktop.server.terminate()
    desktop.server.communicate()


def wait_for(what):
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_keys_drive_the_player_in_a_window_of_a_display(desktop, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "wmloop", "play", "demo", "--in", "dream"],
        cwd=tmp_path, env=desktop.environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        window = desktop.window("wmloop", process)
        wait_for(lambda: desktop.picture().max() > 100)
        first = desktop.picture()
        wait_for(lambda: (desktop.picture() != first).any())  # it moves

        desktop.press(window, "space")
        held, caption = desktop.picture(), desktop.caption(window)
        time.sleep(0.5)
        np.testing.assert_array_equal(desktop.picture(), held)
        desktop.press(window, "period")  # one decision more
        assert desktop.caption(window) != caption
        desktop.press(window, "question")
        assert (desktop.picture() != held).any()
        desktop.press(window, "question", "m")
        wait_for(lambda: "you drive" in desktop.caption(window))
        desktop.press(window, "m", "Tab", "space")
        wait_for(lambda: "reality" in desktop.caption(window))
        desktop.press(window, "v")
        time.sleep(1.0)
        desktop.press(window, "v", "q")
        process.wait(20)
    finally:
        process.kill()
        output, _ = process.communicate()
    assert process.returncode == 0, output
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 1000
    assert video.name in output
