"""Other disks than this machine's: each does without something, and a run there is whole, or refused in true words."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.test_store_faults import (
    FaultyDisk,
    KilledError,
    RecordingDisk,
    assert_whole,
    first_broken_promise,
    write_version,
)
from wmloop.cli import app
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.errors import DraftUnusableError, RunLockedError, StorageError, StoreCorruptError, UsageError
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store, atomic, check_run_name, latest_run, list_runs, notes, private_folder, take_notes
from wmloop.store import lock as locks
from wmloop.store.disk import FileSystem

ROOT = Path(__file__).parents[1]
UNSUPPORTED = ["EINVAL", "EBADF", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]
FOREIGN = [
    ".DS_Store", "._model.safetensors", ".nfs00000000012", "Thumbs.db", "desktop.ini", "model.safetensors~", "a (1).json",
]  # fmt: skip
FOREIGN_FOLDERS = ["@eaDir", ".AppleDouble", "backup"]


@pytest.fixture(autouse=True)
def nothing_was_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_told", set())
    monkeypatch.setattr(notes, "_waiting", [])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path, "one", to_toml(build_config("smoke", {})), {})
    write_version(store, 0)
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def wmloop(runs: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--runs", str(runs)])


def refusing(number: int) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


# --- a folder that cannot be synced (CIFS, 9p, some FUSE, shared folders of virtual machines)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_disk_that_syncs_no_folder_holds_a_run_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(FileSystem, "fsync_folder", refusing(getattr(errno, name)))
    store = Store.create(tmp_path / "runs", "one", "", {})
    with store.lock():
        assert_whole(write_version(store, 0))
    with store.lock():
        assert_whole(write_version(store, 1))
    assert store.verify() == []
    (said,) = take_notes()
    assert "cannot sync folders to disk" in said
    assert "power cut" in said
    assert take_notes() == []


def test_a_folder_that_the_disk_failed_to_sync_stays_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystem, "fsync_folder", refusing(errno.EIO))
    with pytest.raises(StorageError):
        store.draft(1, "memory").save_bytes("a", b"")
    assert take_notes() == []


# --- no locks (some NFS, some FUSE), and a lock that asks the kernel, not a note

HOLD_WITHOUT_LOCKS = """
import errno, fcntl, sys, time
from pathlib import Path
def refuse(*_):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
from wmloop.errors import RunLockedError
from wmloop.store import Store
try:
    with Store.open(Path(sys.argv[1])).lock():
        print("held", flush=True)
        time.sleep(60)
except RunLockedError as error:
    print(error, flush=True)
"""


@contextlib.contextmanager
def holder_without_locks(store: Store) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", HOLD_WITHOUT_LOCKS, str(store.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["ENOLCK", *UNSUPPORTED])
def test_a_disk_without_locks_holds_a_run_and_it_is_said_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(getattr(errno, name)))
    for iteration in (1, 2):
        with store.lock():
            assert f"process {os.getpid()} on" in (store.holder() or "")
            with pytest.raises(RunLockedError, match=f"process {os.getpid()} on"), store.lock():
                pass
            assert_whole(write_version(store, iteration))
        assert store.holder() is None
    assert not (store.path / "lock.json").exists()
    (said,) = take_notes()
    assert "has no file locks" in said
    assert Store.create(store.path.parent, "two", "", {}).verify() == []


def test_where_there_are_no_locks_a_live_writer_is_refused_and_a_killed_one_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    with holder_without_locks(store) as (process, said):
        assert said == "held"
        assert store.holder() == f"process {process.pid} on {socket.gethostname()}"
        begun = time.monotonic()
        with pytest.raises(RunLockedError, match=f"process {process.pid} on"), store.lock():
            pass
        assert time.monotonic() - begun < 10
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and its number not free yet
        assert store.holder() is None
        with store.lock():
            pass
    with store.lock(), holder_without_locks(store) as (_, said):
        assert f"being written by process {os.getpid()} on" in said


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell when a process began")
def test_where_there_are_no_locks_a_number_that_another_process_has_now_refuses_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    left = {"pid": os.getppid(), "host": socket.gethostname(), "started": "1"}
    (store.path / "lock.json").write_text(json.dumps(left))
    assert store.holder() is None
    with store.lock():
        pass


def test_of_two_that_begin_at_once_without_locks_the_later_note_wins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"pid": os.getppid(), "host": "elsewhere", "started": None}
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    monkeypatch.setattr(locks.time, "sleep", lambda _: (store.path / "lock.json").write_text(json.dumps(other)))
    with pytest.raises(RunLockedError, match=f"process {os.getppid()} on elsewhere"), store.lock():
        pass
    assert json.loads((store.path / "lock.json").read_text()) == other  # it is the other's


def test_a_disk_that_fails_to_lock_for_another_reason_stays_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(StorageError, match=r"cannot lock .*input/output error"), store.lock():
        pass


@pytest.mark.parametrize("pid", [1, os.getpid(), os.getppid()], ids=["first", "own", "parent"])
@pytest.mark.parametrize("host", [socket.gethostname(), "the-name-in-another-network"], ids=["here", "elsewhere"])
def test_a_note_whose_number_a_live_process_has_now_holds_nothing(store: Store, pid: int, host: str) -> None:
    with store.lock():
        pass
    (store.path / "lock.json").write_text(json.dumps({"pid": pid, "host": host}))
    assert store.holder() is None
    result = wmloop(store.path.parent, "watch", "one", "--progress", "plain")
    assert (result.exit_code, "is not being trained at the moment" in result.output) == (0, True)
    assert f"wmloop resume one --runs {store.path.parent}" in result.output


def test_a_held_run_without_a_note_is_held_by_somebody(store: Store) -> None:
    with store.lock():
        pass
    with (store.path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert store.holder() == "another process"
    assert store.holder() is None


def test_a_reader_who_asks_at_the_wrong_moment_refuses_no_writer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.lock():
        pass
    with (store.path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        monkeypatch.setattr(locks.time, "sleep", lambda _: fcntl.flock(file, fcntl.LOCK_UN))
        with store.lock():
            pass


def test_a_lock_on_a_file_that_was_removed_is_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, fired = fcntl.flock, []

    def remove_first(fd: int, operation: int) -> None:
        if not fired:
            fired.append(fd)
            (store.path / "lock").unlink()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with store.lock(), (store.path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert fired


@pytest.fixture
def windows_locks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module of the lock as Windows has it: without fcntl, with exclusive locks that fail with EACCES."""
    flock = fcntl.flock

    def locking(fd: int, mode: int, count: int) -> None:
        assert count == 1
        try:
            flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if mode == 1 else fcntl.LOCK_UN)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=1, LK_UNLCK=0))  # type: ignore[arg-type]
    spec = importlib.util.spec_from_file_location("lock_of_windows", locks.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setitem(sys.modules, "fcntl", None)  # type: ignore[arg-type]
        patch.delattr(os, "register_at_fork")
        spec.loader.exec_module(module)
    return module


def test_the_lock_of_windows_keeps_one_writer_and_names_it(store: Store, windows_locks: ModuleType) -> None:
    run = store.path
    assert windows_locks.holder(run) is None
    with windows_locks.run_lock(run):
        assert f"process {os.getpid()} on" in windows_locks.holder(run)
        assert f"process {os.getpid()} on" in (store.holder() or "")  # as another process sees it
        with pytest.raises(RunLockedError, match=f"process {os.getpid()} on"), windows_locks.run_lock(run):
            pass
    assert windows_locks.holder(run) is None
    with store.lock():
        assert f"process {os.getpid()} on" in windows_locks.holder(run)
        with pytest.raises(RunLockedError), windows_locks.run_lock(run):
            pass
    (run / "lock.json").write_text(json.dumps({"pid": os.getppid(), "host": socket.gethostname()}))
    assert windows_locks.holder(run) is None
    assert windows_locks.claim(run, fresh=True) is None  # an open file would keep its folder from being renamed


# --- a draft that cannot be renamed (overlayfs: it is of a layer below)


class Overlay:
    """Make a disk that renames no draft, as it is of the image's layer."""

    def rename_folder(self, old: Path, new: Path) -> None:
        if old.name.startswith(".draft-"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().rename_folder(old, new)  # type: ignore[misc]


class OverlayDisk(Overlay, FileSystem):
    """The disk of a container."""


class FaultyOverlay(Overlay, FaultyDisk):
    """The disk of a container, one call of which fails."""


class RecordingOverlay(Overlay, RecordingDisk):
    """The disk of a container that notes its calls."""

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.note("remove", path)


def test_a_draft_that_cannot_be_renamed_is_published_as_a_copy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = store.draft(1, "memory")
    draft.snapshot(1, {"w": np.zeros(3)}, {"done": 1})
    (draft.path / ".DS_Store").write_bytes(b"?")
    (draft.path / "@eaDir").mkdir()
    monkeypatch.setattr(atomic, "disk", OverlayDisk())
    with store.lock():
        version = write_version(store, 1)
    assert_whole(version)
    assert store.verify() == []
    assert names(version.path.parent) == ["memory"]


@pytest.mark.parametrize("fault", [KilledError, errno.EIO, errno.ENOSPC], ids=["kill", "EIO", "ENOSPC"])
def test_a_fault_at_any_call_of_such_a_commit_leaves_nothing_half_and_nothing_in_the_way(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: int | type[KilledError]
) -> None:
    at, outcomes = 0, set()
    while True:
        faulty = FaultyOverlay(at, fault)
        with monkeypatch.context() as patch, contextlib.suppress(KilledError, StorageError):
            patch.setattr(atomic, "disk", faulty)
            write_version(store, 1)
        assert store.verify() == []
        found = store.version(1, "memory")
        outcomes.add(found is not None)
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "disk", FaultyOverlay(-1, KilledError))
            with store.lock():
                assert_whole(found or write_version(store, 1))
        assert names(store.path / "iterations" / "0001") == ["memory"]
        shutil.rmtree(store.path / "iterations" / "0001")
        if not faulty.fired:
            break
        at += 1
    assert at > 40
    assert outcomes == {False, True}


def test_a_power_cut_at_any_call_of_such_a_commit_breaks_no_promise_and_every_fsync_is_needed(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, scratch = tmp_path / "before", tmp_path / "scratch"
    shutil.copytree(store.path, before)
    recording = RecordingOverlay(store.path)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "disk", recording)
        write_version(store, 1, recording.acknowledge)
    log = recording.log
    known: dict[Any, str] = {}
    assert first_broken_promise(log, before, scratch, known) == ""
    copying = next(n for n, (call, parts, _) in enumerate(log) if call == "make_folder" and ".tmp-" in parts[-1])
    syncs = [n for n in range(copying, len(log)) if log[n][0].startswith("fsync")]
    assert len(syncs) >= 5
    missed = [log[n][:2] for n in syncs if not first_broken_promise(log[:n] + log[n + 1 :], before, scratch, known)]
    assert missed == []


# --- files of others


@pytest.mark.parametrize("name", [*FOREIGN, *FOREIGN_FOLDERS])
def test_what_others_leave_in_a_draft_or_a_version_ends_no_stage_and_is_no_fault(store: Store, name: str) -> None:
    def leave(folder: Path) -> None:
        if name in FOREIGN_FOLDERS:
            (folder / name).mkdir()
            (folder / name / "file").write_bytes(b"?")
        else:
            (folder / name).write_bytes(b"?")

    draft = store.draft(1, "memory")
    leave(draft.path)
    leave(store.path / "iterations")
    with store.lock():
        assert not draft.files()
        draft.require_space(1)
        version = write_version(store, 1)
    assert_whole(version)  # and has no file more
    assert name not in version.files
    leave(store.version(0, "memory").path)  # type: ignore[union-attr]
    assert store.verify() == []
    assert store.foreign() == [f"0000/memory/{name}", f"0001/memory/{name}"]
    result = wmloop(store.path.parent, "verify", "one")
    assert result.exit_code == 0
    assert f"0000/memory/{name}" in result.stderr
    with store.lock():
        assert_whole(write_version(store, 2))


def test_a_file_that_a_stage_might_have_saved_stays_a_fault(store: Store) -> None:
    (store.path / "iterations/0000/memory/weights.bin").write_bytes(b"?")
    assert [fault.file for fault in store.verify()] == ["weights.bin"]
    assert store.foreign() == []
    assert wmloop(store.path.parent, "verify", "one").exit_code == 65


# --- a disk that does not tell its size (FUSE without statfs)


@pytest.mark.parametrize("tell", [lambda _: shutil._ntuple_diskusage(0, 0, 0), refusing(errno.ENOSYS)])  # type: ignore[attr-defined]
def test_where_the_free_space_is_not_known_the_work_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, tell: Callable[..., Any]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", tell)
    store.draft(1, "memory").require_space(10**15)


# --- names


def test_a_disk_that_takes_no_care_of_case_gives_a_run_the_name_it_has_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store.path.parent
    (root / "ONE").symlink_to(store.path)
    found = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [name for name in found(path) if name != "ONE"])
    assert names(root) == ["one"]
    opened = Store.open(root / "ONE")
    assert (opened.name, opened.path) == ("one", store.path)
    with pytest.raises(UsageError, match=r"there already|already:"):
        Store.create(root, "ONE", "", {})


@pytest.mark.parametrize("name", ["nul", "CON", "aux.", "a.", "a..", "prn.txt", "Com1", "lpt9.2026.run", "AUX.run"])
def test_a_name_that_windows_cannot_make_is_refused_everywhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot name a run: .* on Windows"):
        Store.create(tmp_path / "runs", name, "", {})
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["null", "console", "com", "com10", "a.nul", "_aux", "lpt", "1.2"])
def test_a_name_that_only_looks_like_one_of_these_is_fine(name: str) -> None:
    check_run_name(name)


# --- folders of runs with other things in them


@pytest.fixture
def unreadable(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder beside the run into which this user, who may be root, may not look."""
    folder = store.path.parent / "secret"
    folder.mkdir()
    stat, lstat, opened = os.stat, os.lstat, os.open

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def answer(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str | os.PathLike) and folder in Path(path).parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(path, *args, **kwargs)

        return answer

    for name, call in (("stat", stat), ("lstat", lstat), ("open", opened)):
        monkeypatch.setattr(os, name, guarded(call))
    return folder


def test_a_folder_that_cannot_be_read_is_named_and_all_else_is_listed(store: Store, unreadable: Path) -> None:
    root = store.path.parent
    assert list_runs(root) == ["one", "secret"]
    assert latest_run(root) == "one"
    assert take_notes() == []
    with pytest.raises(UsageError, match="did you mean 'one'"):
        Store.open(root / "onne")
    result = wmloop(root, "runs")
    assert result.exit_code == 0, result.output
    assert "smoke" in result.stdout
    assert f"cannot read {unreadable}: this user may not read it" in result.stdout
    assert [run["run"] for run in json.loads(wmloop(root, "runs", "--json").stdout)["runs"]] == ["one", "secret"]
    assert wmloop(root, "log").exit_code == 0


@pytest.mark.parametrize("header", [b"", b"\xff\xfe", b"[tool]\nname = 'other'\n", b"a=" + b"[" * 5000], ids=range(4))
def test_a_foreign_or_damaged_folder_is_passed_over_and_named(store: Store, header: bytes) -> None:
    root = store.path.parent
    (root / "photos").mkdir()
    (root / "later").mkdir()
    (root / "later" / "run.toml").write_bytes(header)
    os.utime(root / "later" / "run.toml", (2**32, 2**32))
    assert latest_run(root) == "one"
    (said,) = take_notes()
    assert "later" in said
    assert "is skipped" in said
    result = wmloop(root, "runs")
    assert result.exit_code == 0
    assert "smoke" in result.stdout
    assert "later" in result.stdout
    shutil.rmtree(store.path)
    with pytest.raises(StoreCorruptError, match="later"):
        latest_run(root)


def test_an_empty_folder_of_the_name_becomes_the_run(tmp_path: Path, store: Store) -> None:
    (tmp_path / "two").mkdir()
    with pytest.raises(StoreCorruptError, match=rf"it is empty, and `wmloop start two --runs {tmp_path}` begins one"):
        Store.open(tmp_path / "two")
    made = Store.create(tmp_path, "two", "", {})
    assert_whole(write_version(made, 0))


def test_a_folder_or_a_file_with_something_in_it_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"?")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name in ("photos", "file", "link"):
        with pytest.raises(UsageError, match=rf"{name} is there already, and is no run"):
            Store.create(tmp_path, name, "", {})
    assert names(tmp_path) == ["empty", "file", "link", "photos"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_killed_creation_left_is_swept_and_what_somebody_makes_now_is_not(tmp_path: Path) -> None:
    read, write = os.pipe()
    killed = os.fork()
    if killed == 0:
        with private_folder(tmp_path, "a") as folder:
            (folder / "config.toml").write_bytes(b"")
            os.write(write, b"1")
            time.sleep(60)
        os._exit(1)
    os.read(read, 1)
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    (left,) = tmp_path.iterdir()
    foreign = [tmp_path / ".new-photos", tmp_path / ".new-link-00000000", tmp_path / ".new-x-11111111"]
    foreign[0].mkdir()
    foreign[1].symlink_to(foreign[0])
    foreign[2].mkdir()  # a moment old, so maybe somebody is about to claim it
    with private_folder(tmp_path, "b") as made:
        assert not left.exists()
        Store.create(tmp_path, "inner", "", {})  # of this process, which goes on with what it was making
        other = os.fork()
        if other == 0:
            Store.create(tmp_path, "other", "", {})
            os._exit(0)
        os.waitpid(other, 0)
        Store.create(tmp_path, "own", "", {})
        assert made.is_dir()
        assert (tmp_path / "other" / "run.toml").exists()
    assert not made.exists()
    assert all(path.exists() for path in foreign)
    os.utime(foreign[2], (1, 1))
    with Store.create(tmp_path, "later", "", {}).lock():
        assert not foreign[2].exists()
    os.close(read)
    os.close(write)


# --- a draft that cannot be taken up


def loop_stage(store: Store, run: Callable[[Any], dict[str, float]]) -> tuple[Any, list[Any]]:
    """Let the loop perform a stage on the run, and return the version and what was reported."""
    import torch

    from wmloop import loop
    from wmloop.events import VersionCommitted

    said: list[Any] = []
    pipeline = dataclasses.replace(
        WORLD_MODEL, stages=(dataclasses.replace(WORLD_MODEL.row("rollout"), entry=run), *WORLD_MODEL.stages[1:])
    )
    loop.run(
        store, build_config("smoke", {}), pipeline, torch.device("cpu"), said.append,
        lambda: any(isinstance(event, VersionCommitted) for event in said),
    )  # fmt: skip
    return store.version(0, "rollout"), said


def collect(ctx: Any) -> dict[str, float]:
    """Do as the rollout does: a shard and a summary each, unless they are there."""
    for number in range(3):
        if not ctx.draft.has(f"shard-{number}.safetensors"):
            ctx.draft.save_json(f"summary-{number}.json", {"frames": number})
            ctx.draft.save_tensors(f"shard-{number}.safetensors", {"w": np.full(9, number)})
    return {"frames": float(sum(ctx.draft.json(f"summary-{number}.json")["frames"] for number in range(3)))}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("file", ["shard-1.safetensors", "summary-1.json"])
@pytest.mark.parametrize("damage", [truncate, Path.unlink, lambda path: path.write_bytes(b"")], ids=range(3))
def test_a_draft_that_cannot_be_taken_up_is_dropped_once_and_the_work_done_anew(
    store: Store, file: str, damage: Callable[[Path], None]
) -> None:
    draft = store.draft(0, "rollout")
    collect(SimpleNamespace(draft=draft))
    draft.snapshot(1, {"w": np.zeros(3)}, {})
    damage(draft.path / file)
    version, said = loop_stage(store, collect)
    assert [version.tensors(f"shard-{n}.safetensors")["w"][0] for n in range(3)] == [0, 1, 2]
    assert store.verify() == []
    warnings = [event.text for event in said if getattr(event, "level", "") == "warning"]
    if file.startswith("shard") and damage is Path.unlink:  # it was just not there yet
        assert warnings == []
    else:
        (text,) = warnings
        assert file in text
        assert "0000/rollout is discarded, and the stage starts again" in text


def test_a_draft_that_is_of_no_use_again_ends_the_stage(store: Store) -> None:
    def unusable(ctx: Any) -> dict[str, float]:
        raise DraftUnusableError("made with another number of copies")

    with pytest.raises(DraftUnusableError, match="another number"):
        loop_stage(store, unusable)


def test_damage_in_a_committed_version_is_no_reason_to_drop_a_draft(store: Store) -> None:
    shard = store.version(0, "memory").path / "shard.bin"  # type: ignore[union-attr]
    version = store.version(0, "memory")
    assert version is not None
    shard.write_bytes(b"x" * 100)

    def read(ctx: Any) -> dict[str, float]:
        ctx.draft.save_bytes("kept.bin", b"1")
        version.bytes("shard.bin")
        return {}

    with pytest.raises(StoreCorruptError, match=r"shard\.bin is damaged") as caught:
        loop_stage(store, read)
    assert not isinstance(caught.value, DraftUnusableError)
    assert store.draft(0, "rollout").has("kept.bin")


# --- Windows: a virus scanner or an indexer has a file open for a moment


class Scanned(FileSystem):
    """A disk on which every first tries to rename or remove fail, as a scanner has the file."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.refused = refusals, {"replace": 0, "rename_folder": 0, "remove": 0}

    def __getattribute__(self, name: str) -> Any:
        call = super().__getattribute__(name)
        if name not in ("replace", "rename_folder", "remove"):
            return call

        def scanned(*args: Path) -> None:
            if self.refused[name] < self.refusals:
                self.refused[name] += 1
                raise PermissionError(errno.EACCES, "The process cannot access the file: it is being used by another")
            call(*args)

        return scanned


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(atomic, "time", clock)
    return clock


def test_on_windows_a_file_that_is_open_for_a_moment_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    scanned = Scanned(5)
    monkeypatch.setattr(atomic, "disk", scanned)
    assert_whole(write_version(store, 1))
    assert set(scanned.refused.values()) == {5}
    assert 0.5 < clock.now < 3


@pytest.mark.parametrize(("windows", "waits"), [(True, True), (False, False)])
def test_a_file_that_stays_refused_is_an_error_after_some_seconds_on_windows_and_at_once_elsewhere(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace, windows: bool, waits: bool
) -> None:
    monkeypatch.setattr(sys, "platform", "win32" if windows else "linux")
    draft = store.draft(1, "memory")
    monkeypatch.setattr(atomic, "disk", Scanned(10**6))
    with pytest.raises(StorageError, match="cannot write"):
        draft.save_bytes("a.bin", b"1")
    assert (clock.now >= 3) == waits
    before = clock.now
    with contextlib.suppress(StorageError):  # pictures are not worth a wait in the middle of the work
        store.journal.save_pictures({}, {})
    assert clock.now == before


# --- words


def test_advice_can_be_pasted_and_names_no_run_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "my runs"
    monkeypatch.setattr(FileSystem, "make_folder", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"no space left; free space, then try again$"):
        Store.create(root, "one", "", {})
    monkeypatch.undo()
    store = Store.create(root, "one", "", {})
    monkeypatch.setattr(FileSystem, "create", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match=rf"free space, then `wmloop resume one --runs '{root}'`$"):
        store.draft(0, "memory").save_bytes("a", b"")
    monkeypatch.setenv("WMLOOP_RUNS", str(root))
    with pytest.raises(StorageError, match=r"then `wmloop resume one`$"):
        store.draft(0, "memory").save_bytes("a", b"")
