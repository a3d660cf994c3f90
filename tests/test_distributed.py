"""Ranks that torchrun begins: what they learn, how a run of theirs is interrupted, and how one that dies ends all.

python -m pytest -m distributed -n 0
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks import ranks
from tests.processes import await_snapshot
from tests.test_loop import hashes
from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.store import Store

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parent.parent
STAGES = ("vision", "memory", "controller")
#: So long may a command of these tests take on a machine that is busy with other work.
LIMIT = 900


class Torchrun:
    """A command of wmloop that torchrun runs in two processes; it reads the events that the first reports."""

    def __init__(self, *arguments: object, restarts: int = 0) -> None:
        own = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "WMLOOP_RUNS")}
        many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}"]
        self._process = subprocess.Popen(
            [sys.executable, *many, "-m", "wmloop", *map(str, arguments), "--progress", "json"],
            cwd=ROOT, env=own | {"PYTHONPATH": str(ROOT)}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._said: list[str] = []
        self._listener = threading.Thread(target=lambda: self._said.extend(self._process.stderr or []), daemon=True)
        self._listener.start()
        self._timer = threading.Timer(LIMIT, self._process.kill)
        self._timer.start()

    def events(self) -> Iterator[dict[str, object]]:
        """Yield events as they are reported."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                yield json.loads(line)

    def until(self, run: Path, stage: str) -> None:
        """Wait until this command is inside a stage."""
        await_snapshot(self._process, run, stage)

    def rank(self, rank: int) -> psutil.Process:
        """Return the process of a rank."""
        every = psutil.Process(self._process.pid).children(recursive=True)
        return next(p for p in every if p.environ().get("RANK") == str(rank) and "wmloop" in p.cmdline())

    def stop(self, signum: int) -> None:
        """Send a signal to torchrun, which passes it on."""
        self._process.send_signal(signum)

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and all that was said on stderr."""
        for _ in self.events():
            pass
        code = self._process.wait()
        self._timer.cancel()
        self._listener.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        return code, "".join(self._said)


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    layer = tiny_config() | {"budget": {"iterations": 1}, "seed": 7, "threads": 1}
    layer["vision"] = layer["vision"] | {"initial_images": 1500}
    layer["memory"] = layer["memory"] | {"initial_steps": 300}
    layer["controller"] = layer["controller"] | {"initial_updates": 80}
    layer["store"] = {"snapshot_seconds": 0.0}
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(to_toml(build_config("smoke", layer)))
    return path


@pytest.fixture(scope="module")
def whole(settings_file, tmp_path_factory):
    """Return two runs of the same settings that two ranks each made at the same time on this machine."""
    runs = tmp_path_factory.mktemp("whole")
    both = [Torchrun("start", name, "--config", settings_file, "--runs", runs) for name in ("one", "other")]
    for code, said in [run.ended() for run in both]:
        assert code == 0, said
    return [Store.open(runs / name) for name in ("one", "other")]


def test_two_runs_of_two_ranks_on_one_machine_do_not_meet_and_are_the_same_bit_for_bit(whole):
    assert [version.stage for version in whole[0].versions()] == ["rollout", *STAGES, "evaluate"]
    assert hashes(whole[0]) == hashes(whole[1])
    assert whole[0].facts["ranks"] == 2


def test_a_run_that_is_interrupted_and_loses_ranks_is_bit_for_bit_the_one_that_is_not(settings_file, whole, tmp_path):
    run = Torchrun("start", "run", "--config", settings_file, "--runs", tmp_path)
    for stage, rank, signum in (
        ("vision", None, signal.SIGTERM),
        ("memory", 1, signal.SIGKILL),
        ("controller", None, signal.SIGINT),
        ("controller", 0, signal.SIGKILL),
    ):
        run.until(tmp_path / "run", stage)
        if rank is None:
            run.stop(signum)  # torchrun passes it on
        else:
            run.rank(rank).send_signal(signum)
        code, said = run.ended()
        assert code != 0
        if rank is None:
            assert "what was done is saved" in said
            assert "Traceback" not in said.partition("torch/distributed")[0]
            draft = tmp_path / "run" / "iterations" / "0000" / f".draft-{stage}"
            assert list(draft.glob("snapshot-*")), f"{stage} was stopped inside"
        elif rank:
            assert "error: rank 0 of 2 has lost another rank, and one that ends, ends all" in said
            assert "-m wmloop resume run" in said
        else:  # torchrun may end the other before it has found out
            assert "error: rank 1 of 2 has lost another rank" in said or "(SIGKILL) received" in said
        assert Store.open(tmp_path / "run").holder() is None
        run = Torchrun("resume", "run", "--runs", tmp_path)
    code, said = run.ended()
    assert code == 0, said
    assert hashes(Store.open(tmp_path / "run")) == hashes(whole[0])


def test_torchrun_begins_the_ranks_again_where_it_is_asked_to(settings_file, whole, tmp_path):
    begin = ("start", "run", "--or-resume", "--config", settings_file, "--runs", tmp_path)
    run = Torchrun(*begin, restarts=1)
    run.until(tmp_path / "run", "memory")
    run.rank(1).kill()
    code, said = run.ended()
    assert "has lost another rank" in said
    assert code == 0, said
    assert hashes(Store.open(tmp_path / "run")) == hashes(whole[0])


@pytest.fixture(scope="module")
def learnt(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learnt")
    return {size: ranks.launched(whole[0].path, 100, size, folder) for size in (1, 2, 4)}


@pytest.mark.parametrize("size", [2, 4])
def test_first_gradients_are_those_of_one_process_and_losses_of_a_hundred_steps_within_a_hundredth(size, learnt):
    rows = ranks.compared(learnt[1], learnt[size])
    assert [row["stage"] for row in rows] == list(STAGES)
    for row in rows:
        assert row["gradient"] < 1e-5, row
        assert row["losses"] < 0.01, row


def test_a_fault_of_the_first_rank_is_told_once_and_ends_all(tmp_path):
    code, said = Torchrun("resume", "nothing", "--runs", tmp_path).ended()
    assert code != 0
    assert said.count("error: ") == 1
    assert "there are no runs" in said or "no run" in said
