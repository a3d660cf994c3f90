"""What it costs to look: the live view's share of a core at four pictures a second, and the player's pace.

    python benchmarks/watching.py

The view is drawn on a terminal that takes everything and shows nothing; each time all three pictures have changed. The player
plays the demo in the dream, as fast as it goes, on a window that only SDL's memory sees.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from wmloop.config import build_config
from wmloop.device import set_up
from wmloop.display.frames import half_blocks
from wmloop.display.window import Window
from wmloop.envs import RealEnv
from wmloop.events import Metrics, Picture, Progress, StageStarted
from wmloop.history import History
from wmloop.opening import DEMO, stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.player import Dreamt, Real
from wmloop.player.player import compose
from wmloop.serving.agent import Served
from wmloop.serving.choice import choose
from wmloop.store import Store
from wmloop.view.screen import render
from wmloop.view.state import ViewState, reduce

_TIMES = 100


def view(width: int, height: int) -> float:
    """Return the seconds that drawing a screen takes."""
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    picture = _picture()
    state = reduce(
        ViewState(WORLD_MODEL),
        StageStarted(0, "memory", 9, "x"),
        0,
    )
    for i in range(9):
        state = reduce(state, Progress(0, "memory", i, 9, "x", 1.0), 0)
        state = reduce(state, Metrics(0, "memory", {"nll": 9.0 - i, "reward_loss": 1 / (i + 1)}), 0)
    begun = time.process_time()
    for _ in range(_TIMES):
        for kind in WORLD_MODEL.images:
            picture = np.roll(picture, 1, axis=0)
            state = reduce(state, Picture(0, "memory", kind, picture), 0)
        console.print(render(state, width, height, 1.0, half_blocks))
    return (time.process_time() - begun) / _TIMES


def _picture() -> np.ndarray:
    """Return what an agent sees of CarRacing."""
    with contextlib.closing(RealEnv(build_config("laptop").env)) as env:
        env.reset(1)
        for _ in range(20):
            seen = env.step(np.array([0.0, 0.3, 0.0], np.float32))[0]
        return seen


def dream() -> float:
    """Return the dreamt decisions a second that a window shows."""
    store = Store.open(DEMO)
    config = stored_config(store)
    iteration, _ = choose(History(store, WORLD_MODEL), None)
    with contextlib.closing(RealEnv(config.env, render_mode="rgb_array")) as env:
        triple = Served.of(History(store, WORLD_MODEL), iteration)
        agent = triple.agent(config, env.actions, set_up("cpu", 1))
        real = Real(env, agent)
        world = Dreamt(real, 10**9, config.env.action_repeat)
        world.reset(1)
        window = Window(1e9)
        begun, shown = time.perf_counter(), 0
        while time.perf_counter() - begun < 5.0:
            window.show(compose(world.moment.pictures), "caption", ["a line", "another"])
            window.pressed()
            world.step()
            shown += 1
        window.close()
        return shown / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    for width, height in ((80, 24), (120, 40)):
        seconds = view(width, height)
        print(
            f"live view at {width}x{height}: {seconds * 1000:.2f} ms a screen, {4 * seconds:.2%} of a core at 4 a second"
        )
    print(f"player: {dream():.0f} dreamt decisions/s in a window, one thread ({Path(DEMO).name})")


if __name__ == "__main__":
    main()
