"""Faults of the whole loop, each in a short form here and in its long one by `make faults` (docs/reliability.md)."""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.processes import Process, workers
from tests.test_interruptions import CODES, finish, hashes, launch
from tests.test_loop import configure, perform
from tests.tiny_env import tiny_config
from wmloop import ranking, signals
from wmloop.config import EnvConfig, build_config
from wmloop.config.text import to_toml
from wmloop.envs import EnvPool
from wmloop.errors import EnvironmentFailedError, StorageError
from wmloop.events import VersionCommitted
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store, atomic
from wmloop.store.disk import FileSystem

Figure = Callable[[str, str], None]
STAGES = tuple(stage.name for stage in WORLD_MODEL.stages)
LONG = pytest.mark.faults
#: Runs are compared bit by bit, and another machine may choose another precision.
SMOKE = ["--preset", "smoke", "--threads", "1", "--set", "precision=fp32"]


# ---- signals at moments all over a run


class Struck(NamedTuple):
    """How a process answered a signal: the version it was at, seconds until it said so (SIGINT) and until it was gone."""

    version: str
    answered: float
    gone: float


def strike(process: Process, delay: Callable[[str], float | None], signum: int, twice: bool) -> Struck | None:
    """Send a signal a `delay` after a version begins; a delay of None passes one by. Return None if the run ended first."""
    with process:
        lines: list[str] = []
        wait = None
        for line in process.stdout:
            lines.append(line)
            if "  started" in line and (wait := delay(_at(lines))) is not None:
                break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
            return None
        process.send_signal(signum)
        sent = time.monotonic()
        answered = 0.0
        for line in process.stdout:
            lines.append(line)
            if "saving" in line and "then stopping" in line:
                answered = time.monotonic() - sent
                break
        rest = threading.Thread(target=process.stdout.read)  # or it would wait for a reader
        rest.start()
        if twice and answered:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(signals.SAME_SECONDS)
            process.send_signal(signum)
        process.wait(120)
        gone = time.monotonic() - sent
        rest.join()
    if process.returncode == 0:  # it was about to end anyway
        return None
    assert process.returncode == CODES[signal.Signals(signum)], lines[-3:]
    return Struck(_at(lines), answered, gone)


def _at(lines: list[str]) -> str:
    return [line.split()[1] for line in lines if "  started" in line][-1]


def stage_of(version: str) -> str:
    return version.split("/")[1]


def strike_all(
    begin: list[str],
    runs: Path,
    signums: Sequence[int],
    most: int,
    share: float,
    dice: random.Random,
    twice: bool = False,
    stages: Sequence[str] = STAGES,
) -> list[Struck]:
    """Strike runs `most` times, as often in each of `stages`, at random moments of at most `share` of the stage.

    The signals take turns. After each blow the run is resumed, and no other step is taken. A run that comes to its end
    is compared with the one called `whole`, and another one begins.
    """  # fmt: skip
    lasts = {version.name: version.seconds for version in Store.open(runs / "whole").versions()}
    wanted, struck = hashes(runs, "whole"), []
    left = dict.fromkeys(STAGES, 0) | dict.fromkeys(stages, most // len(stages))

    def delay(version: str) -> float | None:
        return dice.uniform(0, share * lasts[version]) if left[stage_of(version)] > 0 else None

    for number in range(most + 20):
        name, ended = f"torn-{number}", False
        command = ["start", name, *begin]
        while not ended and max(left.values()) > 0:
            found = strike(launch(command, runs), delay, signums[len(struck) % len(signums)], twice)
            ended = found is None
            if found:
                struck.append(found)
                left[stage_of(found.version)] -= 1
            command = ["resume", name]
        finish(command, runs)
        assert hashes(runs, name) == wanted
        if max(left.values()) <= 0:
            return struck
    raise AssertionError(f"some blows never landed: {left}")


def tiny_settings(path: Path, **layers: Any) -> Path:
    layer = tiny_config() | {"budget": {"iterations": 2}, "seed": 3, "store": {"snapshot_seconds": 0.0}} | layers
    layer["memory"] = layer["memory"] | {"initial_steps": 40, "train_steps": 40}
    path.write_text(to_toml(build_config("smoke", layer)))
    return path


def told(struck: list[Struck]) -> str:
    stages = collections.Counter(stage_of(found.version) for found in struck)
    return ", ".join(f"{count} in {stage}" for stage, count in stages.items())


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


@pytest.mark.parametrize("seed", range(5))
@LONG
def test_the_smoke_loop_killed_twenty_times_ends_bit_for_bit_as_the_uninterrupted_one(
    tmp_path: Path, seed: int, figure: Figure
) -> None:
    begin = [*SMOKE, "--seed", str(seed), "--set", "store.snapshot_seconds=1"]
    finish(["start", "whole", *begin], tmp_path)
    struck = strike_all(begin, tmp_path, [signal.SIGKILL], 20, 1.2, random.Random(seed))
    figure(
        "kill -9 of the smoke loop",
        f"seed {seed}: {len(struck)} kills ({told(struck)}), resumed, every file's hash equal",
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder with `whole`, a tiny run of two iterations that nothing struck, and the file of its settings."""
    runs = tmp_path_factory.mktemp("tiny")
    settings = tiny_settings(runs / "tiny.toml")
    finish(["start", "whole", "--config", str(settings)], runs)
    return runs, settings


def test_any_signal_at_random_moments_of_every_stage_loses_nothing(tiny: tuple[Path, Path]) -> None:
    runs, settings = tiny
    signums = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
    struck = strike_all(["--config", str(settings)], runs, signums, len(STAGES), 0.6, random.Random(1))
    assert {stage_of(found.version) for found in struck} >= set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
@LONG
def test_sigterm_at_random_moments_of_every_stage_stops_in_time_and_loses_nothing(
    tmp_path: Path, stage: str, figure: Figure
) -> None:
    begin = [*SMOKE, "--seed", "0"]
    finish(["start", "whole", *begin], tmp_path)
    struck = strike_all(begin, tmp_path, [signal.SIGTERM], 100, 0.6, random.Random(1), stages=[stage])
    assert stage in {stage_of(found.version) for found in struck}
    slowest = p99([found.gone for found in struck])
    figure(
        "SIGTERM", f"{len(struck)} ({told(struck)}); stopped and saved, p99 {slowest:.2f} s; every file's hash equal"
    )
    assert slowest < 10


@LONG
def test_ctrl_c_is_answered_at_once_and_a_later_one_ends_the_process(tmp_path: Path, figure: Figure) -> None:
    begin = [*SMOKE, "--seed", "0"]
    finish(["start", "whole", *begin], tmp_path)
    struck = strike_all(begin, tmp_path, [signal.SIGINT], 40, 0.9, random.Random(2), twice=True)
    answered, gone = max(found.answered for found in struck), max(found.gone for found in struck)
    figure(
        "Ctrl-C",
        f"{len(struck)} ({told(struck)}); answered within {answered:.2f} s, gone within {gone:.2f} s, if need be by"
        f" another one after {signals.SAME_SECONDS:g} s",
    )
    assert 0 < answered < 0.5
    assert gone < signals.SAME_SECONDS + 1.0


# ---- disks


class FullAt(FileSystem):
    """A disk that is full from its write number `at` on."""

    def __init__(self, at: int) -> None:
        self.at, self.writes, self.fired = at, 0, 0

    def write(self, fd: int, data: memoryview) -> int:
        self.writes += 1
        if self.writes > self.at:
            self.fired += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        pass

    def fsync_folder(self, path: Path) -> None:
        pass


def files_of(store: Store) -> dict[str, str]:
    return {f"{v.name}/{name}": record.sha256 for v in store.versions() for name, record in v.files.items()}


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=LONG)])
def test_a_disk_that_fills_up_at_any_write_costs_nothing_that_was_there(
    tmp_path: Path, every: int, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    config = configure("budget.iterations=1", "store.snapshot_seconds=0")
    counting = FullAt(10**9)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "disk", counting)
        whole, _ = perform(tmp_path / "whole", config)
    wanted = files_of(whole)
    points = range(0, counting.writes - 4, every)  # the run itself takes the first writes
    for at in points:
        path, disk = tmp_path / f"{at}", FullAt(0)
        store = Store.create(tmp_path, path.name, to_toml(config), {})
        disk.at = at
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "disk", disk)
            with pytest.raises(StorageError, match="no space left") as caught:
                perform(path, config)
        assert caught.value.exit_code == 74
        assert disk.fired
        there = files_of(store)
        assert there.items() <= wanted.items()
        assert store.verify() == []
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "disk", FullAt(10**9))
            perform(path, config)
        assert files_of(store) == wanted
    figure(
        "disk full at each write", f"{len(points)} writes of a tiny run; older versions whole, resumed, hashes equal"
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a real file system of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(not Path("/proc/mounts").exists(), reason="mounts a tmpfs")
@pytest.mark.parametrize("levels", [2, pytest.param(40, marks=LONG)])
def test_a_real_disk_that_is_full_is_one_line_and_74_and_resume_works_once_there_is_room(
    tmp_path: Path, tiny: tuple[Path, Path], small_disk: Path, levels: int, figure: Figure
) -> None:
    settings = tiny_settings(tmp_path / "tiny.toml", budget={"iterations": 1})
    wanted = {name: sha for name, sha in hashes(tiny[0], "whole").items() if name.startswith("0000/")}
    refused: collections.Counter[str] = collections.Counter()
    for level in range(levels):
        runs = small_disk / f"{level}"
        ballast = small_disk / "ballast"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        ballast.write_bytes(bytes(free - int((level + 0.5) / levels * 28e6)))
        process = launch(["start", "torn", "--config", str(settings)], runs)
        output, _ = process.communicate(timeout=120)
        assert "Traceback" not in output
        refused[f"exit {process.returncode}"] += 1
        ballast.unlink()
        if process.returncode == 0:
            continue  # it fitted
        assert process.returncode == 74, output
        assert "bytes" in output.splitlines()[-1]
        store = runs / "torn"
        if (store / "run.toml").exists():
            assert Store.open(store).verify() == []
            finish(["resume", "torn"], runs)
            assert hashes(runs, "torn") == wanted
        subprocess.run(["rm", "-r", str(runs)], check=True)
    assert refused["exit 74"] > 0
    figure(
        "a full tmpfs", f"{levels} levels of free space: {dict(refused)}; older versions whole, resumed, hashes equal"
    )


# ---- workers


def drive_on(pool: EnvPool, seconds: float) -> None:
    """Drive for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pool.step(np.zeros((4, 2), np.float32))


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=LONG)])
@pytest.mark.parametrize("how", ["killed", "hung"])
def test_a_worker_that_dies_or_hangs_is_named_within_the_timeout(
    times: int, how: str, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: [0, 1])
    config = build_config("smoke", tiny_config()).env
    config = EnvConfig(**{**config.model_dump(), "worker_timeout": 1.0})
    dice, slowest = random.Random(times), 0.0
    for _ in range(times):
        pool = EnvPool(config, 4)
        pool.reset([20, 21, 22, 23])
        for _ in range(dice.randrange(10)):
            pool.step(np.zeros((4, 2), np.float32))
        victim = dice.choice(workers()).pid or 0
        threading.Timer(
            dice.uniform(0, 0.05), os.kill, (victim, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        ).start()
        begun = time.monotonic()
        with pytest.raises(EnvironmentFailedError, match=rf"environment copy \d \(seed 2\d, process {victim}\)"):
            drive_on(pool, 30.0)
        slowest = max(slowest, time.monotonic() - begun)
        pool.close()
        with pytest.raises(ProcessLookupError):
            os.kill(victim, 0)
    assert slowest < 10
    figure(f"an environment worker {how}", f"{times} of {times} named, the slowest after {slowest:.1f} s (timeout 1 s)")


# ---- a long life


def resident() -> float:
    """Return this process' resident memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("iterations", [4, pytest.param(1000, marks=LONG)])
def test_memory_files_and_disk_stay_as_they_are_over_many_iterations(
    tmp_path: Path, iterations: int, figure: Figure
) -> None:
    config = configure(
        f"budget.iterations={iterations}", "store.keep_last=1", "rollout.replay_iterations=3", "rollout.frames=60",
        "env.num_envs=2",
        "vision.finetune_images=16", "vision.initial_images=32", "dream.num_dreams=8", "budget.goal=1e9",
    )  # fmt: skip
    memory, handles, disk = [], [], []
    scored: list[dict[str, float]] = []

    def watch(event: Any) -> None:
        if isinstance(event, VersionCommitted) and event.stage == "evaluate":
            scored.append(event.metrics)
        if isinstance(event, VersionCommitted) and event.stage == "rollout" and scored:
            memory.append(resident())
            handles.append(len(list(Path("/proc/self/fd").iterdir())))
            held: dict[tuple[int, str], int] = collections.Counter()
            for path in (tmp_path / "run" / "iterations").rglob("*.safetensors"):
                held[int(path.parts[-3]), path.parts[-2]] += path.stat().st_size
            # keep_last=1, replay=3: of the iteration before this rollout everything, the rollouts learnt from, two agents
            n = event.iteration
            best, accepted = ranking.best(scored), ranking.newest_accepted(scored)
            kept = {(n - 1, stage.name) for stage in WORLD_MODEL.stages} | {(i, "rollout") for i in range(n - 2, n + 1)}
            kept |= {(best, "vision"), (best, "memory"), (best, "controller"), (accepted, "controller")}
            disk.append(sum(held.values()) / sum(held[version] for version in kept))

    store, _ = perform(tmp_path / "run", config, watch)
    late = iterations // 2
    slope = float(np.polyfit(np.arange(late), memory[-late:], 1)[0])
    figures = sum(p.stat().st_size for p in store.path.rglob("*") if p.is_file() and p.suffix != ".safetensors")
    figure(
        "soak",
        f"{iterations} tiny iterations: memory slope {slope:.3f} MiB an iteration over the second half"
        f" ({memory[0]:.0f} MiB at first, {memory[-1]:.0f} at last), open files {handles[1]} and {handles[-1]},"
        f" weights and frames on the disk at most {max(disk):.3f} times what is to be kept,"
        f" figures kept for ever {figures / iterations / 1000:.1f} kB an iteration",
    )
    assert store.verify() == []
    assert max(handles[1:]) - min(handles[1:]) <= 1
    assert max(disk) < 1.1
    if iterations >= 100:
        assert slope < 0.1
    else:  # the allocator is still growing into its size
        assert memory[-1] - memory[1] < 300
