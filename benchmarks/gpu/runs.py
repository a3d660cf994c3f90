"""What whole runs show on the device: that a resumed one is the uninterrupted one, and the minutes to the goal."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.given import Given, Line
from tools.identical import differences, versions
from wmloop import loop, ranking
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.device import resolve_precision, set_up
from wmloop.events import Event, StageStarted
from wmloop.history import History
from wmloop.opening import stored_config
from wmloop.pipelines import get
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store

#: All stages in some seconds, with trainings long enough to be left in their midst.
_SHORT = {
    "env": {"episode_frames": 160, "num_envs": 8},
    "rollout": {"prefill": ((16, 30),), "frames": 640},
    "vision": {"initial_images": 1280, "finetune_images": 640},
    "memory": {"initial_steps": 40, "train_steps": 20},
    "dream": {"num_dreams": 64},
    "controller": {"initial_updates": 12, "updates": 8, "minibatch_size": 256},
    "evaluate": {"episodes": 2, "confirm_episodes": 2},
    "store": {"snapshot_seconds": 0.0},
    "budget": {"iterations": 1, "goal": None},
}  # fmt: skip
_TINY = {
    "env": {"episode_frames": 40, "num_envs": 2},
    "rollout": {"prefill": ((4, 10),), "frames": 80},
    "vision": {"initial_images": 96, "finetune_images": 48, "batch_size": 16},
    "memory": {"hidden_size": 32, "sequence_length": 8, "batch_size": 8, "initial_steps": 10, "train_steps": 5},
    "dream": {"num_dreams": 16, "horizon": 5},
    "controller": {"initial_updates": 6, "updates": 6, "minibatch_size": 40},
}
_LEARNERS = ("vision", "memory", "controller")
#: Steps after which a training is left.
_LEFT_AFTER = 4
#: What a run that is asked to stop may take to save itself, in seconds.
_SAVING = 25.0
_GOAL = 900.0


def short_settings(given: Given) -> dict[str, Any]:
    """Return settings, over those of preset smoke, of a run that takes some seconds."""
    tiny = _TINY if given.tiny else {}
    return {group: {**values, **tiny.get(group, {})} for group, values in _SHORT.items()}


def identity(given: Given) -> Iterator[Line]:
    """Compare a run with the same run again, and with itself left once inside each training of V, M and C and gone on with."""
    yield from _identity(given, "as a run has them")


def deterministic(given: Given) -> Iterator[Line]:
    """Compare the same runs where torch and cuDNN take deterministic kernels, as far as they have them."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    yield from _identity(given, "deterministic")


def _identity(given: Given, kernels: str) -> Iterator[Line]:
    asked = [{"kernels": kernels, "run": name} for name in ("whole", "again", "left and resumed")]
    whole: dict[str, Any] = {}
    folder = given.folder / f"identity-{kernels.replace(' ', '-')}"
    shutil.rmtree(folder, ignore_errors=True)

    def measure(line: Line) -> Line:
        left = _train(given, folder, line["run"].replace(" ", "-"), leave=line["run"] == "left and resumed")
        made = dict(versions(folder / line["run"].replace(" ", "-")))
        if not whole:
            whole.update(made)
            return {"things": len(made)}
        wrong = differences(made, whole)
        return {"things": len(made), "equal": not wrong, "first difference": wrong[0] if wrong else "", "left": left}

    yield from given.lines(asked, measure)


def _train(given: Given, folder: Path, name: str, leave: bool) -> int:
    """Train a short run; with `leave` it is stopped inside each of the first trainings; return how often it was."""
    precision = resolve_precision("auto", given.device.type)
    where = {"seed": 3, "device": given.device.type, "threads": given.threads, "precision": precision}
    config = build_config("smoke", short_settings(given), where)
    device = set_up(given.device.type, config.threads, precision)
    store = Store.create(folder, name, to_toml(config), {})
    leaving = _Leaving() if leave else None
    report, should_stop = (leaving, leaving.due) if leaving else (_silent, _never)
    with store.lock():
        while loop.run(store, config, WORLD_MODEL, device, report, should_stop) != "iterations":
            pass  # it was left, and goes on
    return len(leaving.left) if leaving else 0


def _silent(event: Event) -> None:
    pass


def _never() -> bool:
    return False


class _Leaving:
    """Ask a run to stop once inside each training of its first iteration, some steps after it began."""

    def __init__(self) -> None:
        self.left: set[str] = set()
        self._stage, self._asked = "", 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._stage, self._asked = event.stage, 0

    def due(self) -> bool:
        if self._stage not in _LEARNERS or self._stage in self.left:
            return False
        self._asked += 1
        if self._asked < _LEFT_AFTER:
            return False
        self.left.add(self._stage)
        return True


def training(given: Given) -> Iterator[Line]:
    """Train preset `gpu` with each seed until its goal is confirmed or time is up; the same command again goes on with it."""
    waiting = list(given.seeds)

    def measure(line: Line) -> Line:
        seconds = (given.left - _SAVING) / len(waiting)
        waiting.remove(line["seed"])
        name = f"gpu-seed-{line['seed']}"
        if seconds > 0:
            _start(given, name, line["seed"], seconds)
        return progress(given.folder, name)

    yield from given.lines([{"seed": seed} for seed in given.seeds], measure)


def _start(given: Given, name: str, seed: int, seconds: float) -> None:
    """Begin a run, or go on with it, by the command that users have; after so many seconds it is asked to stop."""
    command = [sys.executable, "-m", "wmloop", "start", name, "--or-resume", "--runs", str(given.folder), "--seed", str(seed),
               "--device", given.device.type, "--threads", str(given.threads), "--progress", "none",
               "--preset", "smoke" if given.tiny else "gpu"]  # fmt: skip
    if given.tiny:
        given.folder.mkdir(parents=True, exist_ok=True)
        settings = given.folder / "tiny.toml"
        settings.write_text(to_toml(build_config("smoke", short_settings(given))))
        command += ["--config", str(settings)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = _wait(process, seconds)
        finally:
            process.kill()
    if process.returncode not in (0, 130):
        raise RuntimeError(f"`{' '.join(command[2:])}` ended with {process.returncode}: {told.strip()[-500:]}")


def _wait(process: subprocess.Popen[str], seconds: float) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=seconds)[1]
    process.send_signal(signal.SIGINT)  # it saves itself
    return process.communicate(timeout=_SAVING)[1]


def progress(folder: Path, name: str) -> Line:
    """Return how far a run has come: minutes of work to the first score of 900, and to the confirmed goal."""
    store = Store.open(folder / name)
    config = stored_config(store)
    history = History(store, get(config.pipeline))
    spent, scores = 0.0, list[float]()
    first: Line = {"minutes to 900": None, "minutes to the goal": None}
    for version in history.everything():
        spent += version.seconds
        if version.stage != history.pipeline.scored_by:
            continue
        scores.append(version.metrics["score"])
        goal = config.budget.goal
        reached = scores[-1] >= _GOAL, goal is not None and ranking.confirms(version.metrics, goal)
        for what, there in zip(first, reached, strict=True):
            if there and first[what] is None:
                first[what] = spent / 60
    return {
        **first, "goal": config.budget.goal, "iterations": len(scores), "scores": scores, "minutes": spent / 60,
        "precision": config.precision, "preset": config.preset,
    }  # fmt: skip
