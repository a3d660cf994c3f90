"""The lock of a run: one writer, who is named, and who cannot block anybody by dying."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wmloop.errors import RunLockedError, StorageError
from wmloop.store import Store

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from wmloop.errors import RunLockedError
from wmloop.store import Store
store = Store.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    with store.lock():
        print("held", flush=True)
        time.sleep(60)
except RunLockedError as error:
    print(error, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path, "one", "", {})


def contender(store: Store) -> subprocess.Popen[str]:
    """Start a process that will try to lock the run when told to, and holds it until it is killed."""
    command = [sys.executable, "-c", HOLD, str(store.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert answer(process) == "ready"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_at_once_with_the_name_of_the_first(store: Store) -> None:
    second = contender(store)
    try:
        with store.lock():
            start = time.monotonic()
            tell(second)
            message = answer(second)
            assert re.search(
                rf"'one' is being written by process {os.getpid()} on {re.escape(socket.gethostname())}", message
            )
            assert "`wmloop resume one --runs " in message
        start = time.monotonic()
        with store.lock(), pytest.raises(RunLockedError), store.lock():
            pass
        assert time.monotonic() - start < 10
    finally:
        end(second)


def test_a_killed_holder_blocks_nobody(store: Store) -> None:
    holder = contender(store)
    try:
        tell(holder)
        assert answer(holder) == "held"
        with pytest.raises(RunLockedError, match=f"process {holder.pid} on"), store.lock():
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert (store.path / "lock.json").exists()  # the dead holder's note is still there
        start = time.monotonic()
        with store.lock():
            assert time.monotonic() - start < 10
    finally:
        end(holder)


@pytest.mark.parametrize("races", [3, pytest.param(50, marks=pytest.mark.faults)])
def test_of_processes_that_race_exactly_one_wins(store: Store, races: int, figure: Callable[[str, str], None]) -> None:
    slowest = 0.0
    for _ in range(races):
        racers = [contender(store) for _ in range(3)]
        try:
            start = time.monotonic()
            for racer in racers:
                tell(racer)
            answers = [answer(racer) for racer in racers]
            slowest = max(slowest, time.monotonic() - start)
        finally:
            end(*racers)
        assert answers.count("held") == 1
        assert sum("is being written by" in text for text in answers) == 2
    assert slowest < 1.0 or races < 50  # the short form runs beside anything
    figure("writers racing", f"{races} races of 3, one winner each; all answers within {slowest:.2f} s")


def test_the_children_of_a_killed_holder_do_not_keep_the_lock(store: Store) -> None:
    read, write = os.pipe()
    holder = os.fork()
    if holder == 0:
        with store.lock():
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            os.write(write, f"{child}\n".encode())
            time.sleep(30)
        os._exit(0)
    child = int(os.read(read, 20))
    try:
        with pytest.raises(RunLockedError), store.lock():
            pass
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        os.kill(child, 0)  # it lives
        with store.lock():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_the_lock_is_free_again_after_an_error_inside_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock():
        raise ZeroDivisionError
    with store.lock():
        pass
    assert not (store.path / "lock.json").exists()


def test_a_damaged_note_of_the_holder_only_costs_its_name(store: Store) -> None:
    with store.lock():
        (store.path / "lock.json").write_text("{")
        with pytest.raises(RunLockedError, match="being written by another process"), store.lock():
            pass


def test_taking_the_lock_sweeps_away_what_a_crash_left_half_written(store: Store) -> None:
    draft = store.draft(0, "vision")
    draft.save_bytes("whole.bin", b"1")
    draft.snapshot(1, {}, {})
    strays = [draft.path / ".tmp-model.safetensors-00", store.path / ".tmp-lock.json-00"]
    for stray in strays:
        stray.write_bytes(b"half")
    with store.lock():
        assert not any(stray.exists() for stray in strays)
    assert draft.files() == ["whole.bin"]
    assert draft.latest_snapshot() is not None


def test_a_run_that_may_not_be_written_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("wmloop.store.lock.os.open", refuse)
    with pytest.raises(StorageError, match=r"cannot lock .*one: read-only for this user"), store.lock():
        pass
