"""Environments with the habits of other people's: each class is TinyDrive with one habit, registered by its name."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.tiny_env import MAX_STEPS, SIZE, TinyDrive

STRANGE: dict[str, type[gymnasium.Env[Any, Any]]] = {}


def strange(name: str) -> str:
    """Return the id of an environment of this module."""
    return f"tests.strange_envs:strange/{name}-v0"


class _Strange(TinyDrive):
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            STRANGE[cls.__name__] = cls


# ---- the place of a fault


class Inherits(_Strange):
    """Have a space of its own, and the constructor of another module's class."""

    @property
    def action_space(self) -> Any:  # type: ignore[override]
        return spaces.Text(5)

    @action_space.setter
    def action_space(self, _: Any) -> None:
        pass


class Actless(_Strange):
    """Take no action."""

    def step(self) -> Any:  # type: ignore[override]
        return super().step(np.zeros(2, np.float32))


# ---- actions


class ScalesInPlace(_Strange):
    """Scale the array it is handed, as `action *= 0.5` does."""

    seen: ClassVar[list[np.ndarray]] = []

    def step(self, action: np.ndarray) -> Any:
        ScalesInPlace.seen.append(action.copy())
        action *= 0.5
        return super().step(action)


class Doubles(_Strange):
    """Insist on float64 within bounds that float32 rounds upwards."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Box(-0.1, 0.1, (2,), np.float64)

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action), action
        return super().step(10 * action)


class Wholes(_Strange):
    """Insist on integers."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Box(-1, 1, (2,), np.int64)

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action), action
        return super().step(action)


class _Bounds(_Strange):
    bounds: ClassVar[tuple[Any, Any, Any]]

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        low, high, dtype = self.bounds
        self.action_space = spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


class ZeroWidth(_Bounds):
    bounds = ([-1, 0.5], [1, 0.5], np.float32)


class FloatMax(_Bounds):
    bounds = ([-1, -np.finfo(np.float32).max], [1, np.finfo(np.float32).max], np.float32)


class DoubleMax(_Bounds):
    bounds = ([-1, -np.finfo(np.float64).max], [1, np.finfo(np.float64).max], np.float64)


class HalfOpen(_Bounds):
    bounds = ([-1, -np.inf], [1, 1], np.float32)


class Int64Full(_Bounds):
    bounds = ([-1, np.iinfo(np.int64).min], [1, np.iinfo(np.int64).max], np.int64)


class SameInFloat32(_Bounds):
    bounds = ([-1, 1e8], [1, 1e8 + 1], np.float64)


class FarFromZero(_Bounds):
    """Have 200 units of room where float32 has a step of 128."""

    bounds = ([-1, 1.7e9], [1, 1.7e9 + 200], np.float64)


class Denormal(_Bounds):
    bounds = ([-1, 0], [1, 1e-44], np.float32)


class NoActions(_Bounds):
    bounds = ([], [], np.float32)


class NoActionSpace(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        del self.action_space


# ---- rewards and ends


class _Answers(_Strange):
    """Answer a step as `reward`, `terminations` or `answer` says."""

    reward: Any = None
    ends: Any = None

    def step(self, action: np.ndarray) -> Any:
        seen, reward, terminated, truncated, info = super().step(action)
        reward = reward if self.reward is None else self.reward
        return seen, reward, terminated if self.ends is None else self.ends, truncated, info


class RewardArray(_Answers):
    reward = np.array([0.5])


class RewardScalar(_Answers):
    reward = np.float16(0.5)


class RewardInt(_Answers):
    reward = 1


class RewardBool(_Answers):
    reward = True


class RewardNone(_Strange):
    def step(self, action: np.ndarray) -> Any:
        seen, _, *rest = super().step(action)
        return (seen, None, *rest)


class RewardPair(_Answers):
    reward = np.zeros(2)


class MaskedReward(_Answers):
    reward = np.ma.masked


class RewardText(_Answers):
    reward = "1.0"


class RewardComplex(_Answers):
    reward = 1j


class RewardNan(_Answers):
    reward = float("nan")


class RewardInfinite(_Answers):
    reward = np.float32(np.inf)


class RewardTooLarge(_Answers):
    reward = 1e39


class EndsByNumpy(_Strange):
    def step(self, action: np.ndarray) -> Any:
        seen, reward, terminated, *rest = super().step(action)
        return (seen, reward, np.array([terminated]), *rest)


class EndsByText(_Answers):
    ends = "False"


class EndsByNone(_Strange):
    def step(self, action: np.ndarray) -> Any:
        seen, reward, _, *rest = super().step(action)
        return (seen, reward, None, *rest)


class EndsAtOnce(_Answers):
    ends = True


class OldStep(_Strange):
    """Return (observation, reward, done, info), as gym did."""

    def step(self, action: np.ndarray) -> Any:
        seen, reward, terminated, _, info = super().step(action)
        return seen, reward, terminated, info


class StepNone(_Strange):
    """Return nothing from a step."""

    def step(self, action: np.ndarray) -> Any:
        super().step(action)


class OldReset(_Strange):
    """Return the observation alone, as gym did."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class ResetWithoutSeed(_Strange):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset(seed=0)


# ---- pictures


class _Shows(_Strange):
    """Show pictures made of TinyDrive's by `shown`, as `declared`."""

    declared: spaces.Space[Any] = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.observation_space = self.declared  # type: ignore[assignment]

    def shown(self, picture: np.ndarray) -> Any:
        return picture

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        seen, info = super().reset(seed=seed)
        return self.shown(seen), info

    def step(self, action: np.ndarray) -> Any:
        seen, *rest = super().step(action)
        return (self.shown(seen), *rest)


class Floats(_Shows):
    declared = spaces.Box(0, 1, (SIZE, SIZE, 3), np.float32)

    def shown(self, picture: np.ndarray) -> Any:
        return (picture / 255).astype(np.float32)


class FloatsTo255(_Shows):
    declared = spaces.Box(0, 255, (SIZE, SIZE, 3), np.float64)

    def shown(self, picture: np.ndarray) -> Any:
        return picture.astype(np.float64)


class Int64Pictures(_Shows):
    def shown(self, picture: np.ndarray) -> Any:
        return picture.astype(np.int64)


class Nested(_Shows):
    """Show lists."""

    def shown(self, picture: np.ndarray) -> Any:
        return picture.tolist()


class FloatsBeyond(_Shows):
    """Declare [0, 1] and show 0 to 255."""

    declared = spaces.Box(0, 1, (SIZE, SIZE, 3), np.float32)

    def shown(self, picture: np.ndarray) -> Any:
        return picture.astype(np.float32)


class FloatsUndeclared(_Shows):
    def shown(self, picture: np.ndarray) -> Any:
        return picture / 255


class FractionsOf255(_Shows):
    declared = spaces.Box(0, 255, (SIZE, SIZE, 3), np.float32)

    def shown(self, picture: np.ndarray) -> Any:
        return (picture / 255).astype(np.float32)


class MaskedPictures(_Shows):
    def shown(self, picture: np.ndarray) -> Any:
        return np.ma.masked_array(picture, np.ones_like(picture, np.bool_))


class NanPictures(_Shows):
    declared = spaces.Box(0, 1, (SIZE, SIZE, 3), np.float32)

    def shown(self, picture: np.ndarray) -> Any:
        return np.full(picture.shape, np.nan, np.float32)


class Signed(_Shows):
    declared = spaces.Box(-1, 1, (SIZE, SIZE, 3), np.float32)

    def shown(self, picture: np.ndarray) -> Any:
        return (picture / 127.5 - 1).clip(-1, 1).astype(np.float32)


class Endlessly(_Shows):
    """Show pictures of which nobody knows what is white."""

    declared = spaces.Box(-np.inf, np.inf, (SIZE, SIZE, 3), np.float32)


class Stacked(_Shows):
    declared = spaces.Box(0, 255, (SIZE, SIZE, 4), np.uint8)


class TwoScreens(_Shows):
    declared = spaces.Dict({name: spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8) for name in ("map", "screen")})


class Talks(_Shows):
    declared = spaces.Dict({"screen": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8), "words": spaces.Text(10)})


class TupleObservation(_Shows):
    declared = spaces.Tuple([spaces.Discrete(3)])


class Decides(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Dict({"gas": spaces.Discrete(2)})  # type: ignore[assignment]


class ChannelsFirst(_Shows):
    declared = spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)

    def shown(self, picture: np.ndarray) -> Any:
        return picture.transpose(2, 0, 1)


class WrongSize(_Shows):
    def shown(self, picture: np.ndarray) -> Any:
        return picture[:16]


class ChangingSize(_Shows):
    """Show smaller pictures from the 30th step on."""

    def shown(self, picture: np.ndarray) -> Any:
        return picture if self._steps < 30 else picture[:16]


class Grey(_Shows):
    declared = spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8)

    def shown(self, picture: np.ndarray) -> Any:
        return picture[:, :, :1]


class Nothing(_Shows):
    def shown(self, picture: np.ndarray) -> Any:
        return None


class Black(_Shows):
    def shown(self, picture: np.ndarray) -> Any:
        return np.zeros_like(picture)


class OneBuffer(_Shows):
    """Show the same array every time, drawn anew."""

    def shown(self, picture: np.ndarray) -> Any:
        if not hasattr(self, "_buffer"):
            self._buffer = np.empty_like(picture)
        self._buffer[:] = picture
        return self._buffer


class Flipped(_Shows):
    """Show a view with negative strides that may not be written."""

    def shown(self, picture: np.ndarray) -> Any:
        view = picture[::-1]
        view.flags.writeable = False
        return view


class DarkEnd(_Shows):
    """Have nothing to draw once the episode is over, as ViZDoom; count what is left of the field below."""

    declared = spaces.Dict(
        {
            "screen": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
            "height": spaces.Box(-np.inf, np.inf, (1,), np.float64),
        }
    )

    def shown(self, picture: np.ndarray) -> Any:
        return {"screen": picture * (not self._over), "height": np.array([SIZE - self.y])}


class DarkFor(_Shows):
    """Blink: every other picture is black, also the last before the end."""

    def shown(self, picture: np.ndarray) -> Any:
        return picture * (self._steps % 2)


class NeverDrawn(_Shows):
    """Show where the car is, and draw nothing."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    declared = spaces.Box(0, SIZE, (2,), np.float64)

    def shown(self, picture: np.ndarray) -> Any:
        return np.array([self.x, self.y])

    def render(self) -> Any:
        return None


class NanVector(NeverDrawn):
    """Show NaN from the third step on."""

    def shown(self, picture: np.ndarray) -> Any:
        return np.array([self.x, self.y if self._steps < 3 else np.nan])


class Buttons(_Strange):
    """Take three buttons, each up or down: left, right and lift."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.MultiBinary(3)  # type: ignore[assignment]

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action), action
        left, right, lift = map(float, action)
        return super().step(np.array([right - left, 0.8 * lift], np.float32))


class Numbered(_Strange):
    """Take the actions 3 to 7, and call them by names."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Discrete(5, start=3)  # type: ignore[assignment]

    def get_action_meanings(self) -> list[str]:
        return ["LEFT", "UP", "RIGHT", "NOOP", "FIRE"]

    def step(self, action: np.integer[Any]) -> Any:  # type: ignore[override]
        assert self.action_space.contains(action), action
        steer, lift = ((-1, 0.4), (0, 0.8), (1, 0.4), (0, 0.4), (0, 0.4))[int(action) - 3]
        return super().step(np.array([steer, lift], np.float32))


class DictObservation(_Shows):
    declared = spaces.Dict({"screen": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)})

    def shown(self, picture: np.ndarray) -> Any:
        return {"screen": picture}


# ---- seeds and time


class IgnoresSeed(_Strange):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=int.from_bytes(os.urandom(4), "little"))


class GlobalRandomness(_Strange):
    """Draw what happens from numpy's global generator."""

    def step(self, action: np.ndarray) -> Any:
        self.x += float(np.random.uniform(-0.5, 0.5))
        return super().step(action)


class RandomLater(_Strange):
    """Draw from numpy's global generator from the 20th step of an episode on."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._steps = 0
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> Any:
        self.x, self.y = float(np.clip(self.x, 8, SIZE - 8)), float(np.clip(self.y, 8, SIZE - 8))
        if self._steps > 20:
            self.x += float(np.random.uniform(-4, 4))
        return super().step(np.zeros(2, np.float32))


class DrawsAtBirth(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._gain = float(np.random.uniform(0.1, 1))

    def step(self, action: np.ndarray) -> Any:
        return super().step(action * self._gain)


class CountsItself(_Strange):
    """Let every second copy steer the other way."""

    count: ClassVar[int] = 0

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._sign = 1 - 2 * (CountsItself.count % 2)
        CountsItself.count += 1

    def step(self, action: np.ndarray) -> Any:
        return super().step(self._sign * action)


class ClampsSeed(_Strange):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=min(seed or 0, 2**20))


class OtherActionsLater(_Strange):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.action_space = spaces.Box(-10, 10, (2,), np.float32)
        return super().reset(seed=seed)


class OneEpisode(_Strange):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=7)


class Shares(_Strange):
    """Keep the car's place outside the object, as a simulator with one world does."""

    world: ClassVar[dict[str, float]] = {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        seen, info = super().reset(seed=seed)
        self.world["x"] = self.x
        return seen, info

    def step(self, action: np.ndarray) -> Any:
        self.x = self.world["x"]
        result = super().step(action)
        self.world["x"] = self.x
        return result


class Endless(_Strange):
    """Never end, and have no time limit."""

    def step(self, action: np.ndarray) -> Any:
        self.x, self.y, self._over = float(np.clip(self.x, 2, SIZE - 3)), float(np.clip(self.y, 4, SIZE - 4)), False
        seen, reward, _, truncated, info = super().step(np.zeros(2, np.float32))
        return seen, reward, False, truncated, info


# ---- what a process may do


class Observes(_Strange):
    """Have an attribute that happens to be called `observe`."""

    observe = "a telescope"


class NoRenderMode(_Strange):
    def __init__(self) -> None:
        super().__init__()


class RefusesRenderMode(_Strange):
    """Draw in another render mode alone."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human"]}

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, "human"):
            raise ValueError("unsupported render mode")
        super().__init__(render_mode)


class NeedsArgument(_Strange):
    def __init__(self, width: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode)


class RendersFloats(_Strange):
    def render(self) -> Any:
        return self._picture() / 255


class RendersAlpha(_Strange):
    def render(self) -> Any:
        return np.dstack([self._picture(), np.full((SIZE, SIZE), 255, np.uint8)])


class RendersNot(_Strange):
    def render(self) -> Any:
        raise NotImplementedError


class WrapsItself(_Strange):
    """Have an attribute `env`, as a wrapper has."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.env = self


class RefusesNames(_Strange):
    """Fail with another error than AttributeError where an attribute is missing."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


class RendersNothing(_Strange):
    def render(self) -> Any:
        return None


class Prints(_Strange):
    """Print to both streams, from Python and from a program, with colours and nonsense."""

    def step(self, action: np.ndarray) -> Any:
        print("\x1b[31mstep", self._steps)
        print("a warning", file=sys.stderr)
        if self._steps == 2:
            os.write(1, b"\xff\xfe bytes\r50%\r100%\n")
            subprocess.run([sys.executable, "-c", "print('from a program')"], check=True)
            warnings.warn("mind the gap", stacklevel=1)
        return super().step(action)


class Asks(_Strange):
    """Wait for somebody to type."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        input("ready? ")
        return super().reset(seed=seed)


class Exits(_Strange):
    def step(self, action: np.ndarray) -> Any:
        if self._steps >= 3:
            sys.exit("no more fuel")
        return super().step(action)


class ExitsHard(_Strange):
    def step(self, action: np.ndarray) -> Any:
        os._exit(3)


class ExitsWell(_Strange):
    def step(self, action: np.ndarray) -> Any:
        os._exit(0)


class ClosesAll(_Strange):
    """Close every file, as programs do that become daemons."""

    def step(self, action: np.ndarray) -> Any:
        os.closerange(3, 256)
        return super().step(action)


class FailsWithoutStderr(_Strange):
    def step(self, action: np.ndarray) -> Any:
        sys.stderr.close()
        raise ValueError("the bridge is out")


class FailsNowhere(_Strange):
    """Fail in a folder that is gone."""

    def step(self, action: np.ndarray) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        raise ValueError("the bridge is out")


class FailsElsewhere(_Strange):
    def step(self, action: np.ndarray) -> Any:
        os.chdir("/")
        raise ValueError("the bridge is out")


class FailsInLibrary(_Strange):
    def step(self, action: np.ndarray) -> Any:
        return json.loads("{nope")


class FailsWithTypes(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.sum = 1 + "a"  # type: ignore[operator]


class AlarmsOften(_Strange):
    """Have an alarm that raises, and goes off while nobody asks."""

    def step(self, action: np.ndarray) -> Any:
        def late(signum: int, frame: Any) -> None:
            raise TimeoutError("too slow")

        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(1)
        return super().step(action)


class ExitsAtBirth(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        sys.exit(2)


class Interrupts(_Strange):
    def step(self, action: np.ndarray) -> Any:
        raise KeyboardInterrupt


class FailsToSay(_Strange):
    def step(self, action: np.ndarray) -> Any:
        class SilentError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("not even that")

        raise SilentError


class Fails(_Strange):
    def step(self, action: np.ndarray) -> Any:
        return self._deeper()

    def _deeper(self) -> Any:
        raise ValueError("no map\nof this place " + 1000 * "x")


class FailsLate(_Strange):
    """Fail in its eighth episode, after it was looked at."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episodes += 1
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> Any:
        if self.episodes >= 8:
            raise ValueError("the bridge is out")
        return super().step(action)


class FailsAtBirth(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        raise OSError("no licence")


class MovesAway(_Strange):
    """Change the working folder, and read a file of the one where it was born."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        os.chdir("/")
        return super().reset(seed=seed)


class Handles(_Strange):
    """Take the signals for itself."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda *_: sys.exit(9))
        return super().reset(seed=seed)


class Forks(_Strange):
    """Fork, and let the child come back as if it were the parent."""

    def step(self, action: np.ndarray) -> Any:
        if self._steps == 2:
            os.fork()
        return super().step(action)


class Threads(_Strange):
    """Leave a thread behind that never ends."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        threading.Thread(target=lambda: time.sleep(10_000)).start()


class ChoosesHowToStart(_Strange):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if multiprocessing.get_start_method(allow_none=True) is None:
            multiprocessing.set_start_method("fork")
        with multiprocessing.Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]


class Starts(_Strange):
    """Start programs and processes, write their numbers to `pids`, and end none of them."""

    def __init__(self, render_mode: str | None = None, pids: str = "") -> None:
        super().__init__(render_mode)
        sleep = [sys.executable, "-c", "import time; time.sleep(10_000)"]
        deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(10_000)"]
        started = [subprocess.Popen(sleep), subprocess.Popen(deaf, start_new_session=True)]
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(10_000,))
        child.start()
        # a daemon: its parent ends at once, and it leads a session of its own
        daemon = (
            "import os, time; p = os.fork(); p and (print(p, flush=True), os._exit(0)); os.setsid(); os.dup2(2, 1);"
            " time.sleep(10_000)"
        )
        grandchild = subprocess.run(
            [sys.executable, "-c", daemon], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        numbers = [*(process.pid for process in started), child.pid, int(grandchild)]
        if pids:
            with Path(pids).open("a") as file:
                file.write("".join(f"{number}\n" for number in numbers))


class StopsItsOwn(_Strange):
    """Start a program and a process and end both by SIGTERM, which they do not mind unless it is ignored."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10_000)"])
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(10_000,))
        child.start()
        program.terminate()
        child.terminate()
        assert program.wait(10) == -signal.SIGTERM
        child.join(10)
        assert child.exitcode == -signal.SIGTERM


class Closes(_Strange):
    """Note in the file `path` that it was closed."""

    def __init__(self, render_mode: str | None = None, path: str = "") -> None:
        super().__init__(render_mode)
        self._path = path

    def close(self) -> None:
        if self._path:
            with Path(self._path).open("a") as file:
                file.write("closed\n")


class CloseHangs(_Strange):
    def close(self) -> None:
        time.sleep(10_000)


class CloseFails(_Strange):
    def close(self) -> None:
        raise RuntimeError("cannot close")


class SlowReset(_Strange):
    """Take 0.4 s to begin."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        time.sleep(0.4)
        return super().reset(seed=seed)


class StrangeSpeed(_Strange):
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": "fast"}


for _name, _kind in STRANGE.items():
    if f"strange/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            f"strange/{_name}-v0", entry_point=f"tests.strange_envs:{_name}",
            max_episode_steps=None if _name == "Endless" else MAX_STEPS,
        )  # fmt: skip
