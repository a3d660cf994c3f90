"""What all tests share."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import settings

from tests.tiny_env import tiny_config
from wmloop.store.disk import FileSystem

# A machine that is busy with other work is no reason to fail: nothing is timed but answers to signals and to locks.
settings.register_profile("wmloop", deadline=None)
settings.load_profile("wmloop")

#: The files that take longest, longest first: of two workers none is left alone with one of them at the end.
LONGEST = (
    "docs", "evolution", "cli", "faults", "study", "places", "tasks", "alignment", "outside", "vanilla_ppo", "metrics",
    "strange_envs", "again", "ppo_features", "signals", "report", "retention", "dream_env", "loop", "ablations",
    "playing", "cma", "spaces", "gpu", "ends", "api", "engines", "ray", "divergence", "envs", "ppo", "grammar", "statistics",
)  # fmt: skip
_FIGURES = pytest.StashKey[list[tuple[str, str]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, each as it is."""
    names = [f"test_{name}" for name in LONGEST]
    items.sort(key=lambda item: names.index(item.path.stem) if item.path.stem in names else len(names))


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    precision = torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)  # the other way to say so imports torch's compiler
        torch.set_float32_matmul_precision(precision)
        torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Put back what `device.set_up` changes in the process: the next test may be any other. torch draws the same each time."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed writes down for other devices from where it was called
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    with _as_it_was():
        yield


@pytest.fixture(autouse=True, scope="module")
def no_power_cuts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait for no disk but in the tests of the store itself: what a process has written outlives it, however it is killed."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.path.stem.startswith(("test_store", "test_filesystems")):
            patch.setattr(FileSystem, "fsync", lambda disk, fd: None)
            patch.setattr(FileSystem, "fsync_folder", lambda disk, path: None)
        yield


class Made(NamedTuple):
    """A folder with the run `tiny`, which nobody writes to, and the exit code and words of the command that made it."""

    runs: Path
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of pytest-xdist have in common."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "common"
    folder.mkdir(exist_ok=True)
    return folder


def _once(folder: Path, make: Callable[[Path], Any]) -> Any:
    """Return what `make(folder)` returns, which the first worker calls: the others wait for it and read what it made."""
    result = folder.with_suffix(".pickle")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed in the middle of it
            folder.mkdir()
            made = pickle.dumps(make(folder))
            result.write_bytes(made)
    return pickle.loads(result.read_bytes())


@pytest.fixture(scope="session")
def tiny_toml(common: Path) -> Path:
    """Return a settings file of a small run: one iteration, a second of M at least."""
    from wmloop.config import build_config
    from wmloop.config.text import to_toml

    def make(folder: Path) -> Path:
        layer = tiny_config() | {"budget": {"iterations": 1}, "seed": 7}
        layer["vision"] = layer["vision"] | {"initial_images": 320, "finetune_images": 64}
        layer["memory"] = layer["memory"] | {"initial_steps": 400}
        path = folder / "tiny.toml"
        path.write_text(to_toml(build_config("smoke", layer)))
        return path

    return _once(common / "settings", make)


@pytest.fixture(scope="session")
def finished(tiny_toml: Path, common: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a finished run of one iteration; TensorBoard followed it, where there is one."""
    track = ["--track"] * bool(importlib.util.find_spec("tensorboard"))
    command = ("start", "tiny", "--config", tiny_toml, "--progress", "plain", *track)
    return _own(_once(common / "finished", lambda runs: _make(runs, *command)), tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def twice(finished: Made, common: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return the finished run after another iteration."""

    def make(runs: Path) -> Made:
        shutil.copytree(common / "finished" / "tiny", runs / "tiny")
        return _make(runs, "resume", "--iterations", "2", "--progress", "json")  # no name: the latest run

    return _own(_once(common / "twice", make), tmp_path_factory.mktemp("twice"))


@pytest.fixture(scope="session")
def whole(common: Path) -> tuple[Any, str, list[Any]]:
    """Return a run of two iterations that the loop performed in a test's process, how it ended and all that it reported."""
    from tests.test_loop import configure, perform
    from wmloop.store import Store

    def make(folder: Path) -> tuple[str, list[Any]]:
        events: list[Any] = []
        with _as_it_was():
            return perform(folder / "run", configure(), events.append)[1], events

    reason, events = _once(common / "whole", make)
    return Store.open(common / "whole" / "run"), reason, events


def _own(made: Made, runs: Path) -> Made:
    """Return the same in a folder of this worker's: commands that only look leave evaluations there."""
    shutil.copytree(made.runs, runs, dirs_exist_ok=True)
    return Made(runs, made.exit_code, *(words.replace(str(made.runs), str(runs)) for words in made[2:]))


def _make(runs: Path, *arguments: object) -> Made:
    from tests.commands import wmloop

    with pytest.MonkeyPatch.context() as patch, _as_it_was():
        patch.delenv("WMLOOP_RUNS", raising=False)
        made = wmloop(*arguments, runs=runs)
    assert made.exit_code == 0, made.output
    return Made(runs, made.exit_code, made.stdout, made.stderr)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return a function that notes what a test of a fault found, (fault, what was found), for docs/reliability.md."""
    return lambda fault, found: request.config.stash.setdefault(_FIGURES, []).append((fault, found))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was noted, if the long forms of the tests were asked for."""
    figures = terminalreporter.config.stash.get(_FIGURES, [])
    if figures and "faults" in terminalreporter.config.option.markexpr.replace("not faults", ""):
        terminalreporter.section("what the tests of faults found")
        for fault, found in figures:
            terminalreporter.write_line(f"{fault}: {found}")
