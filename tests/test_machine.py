"""What a machine lets a process have, where something is bounded, missing or full."""

import collections
import contextlib
import errno
import importlib.metadata
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from wmloop import doctor, machine, scratch
from wmloop.errors import StorageError

MB = 1 << 20
Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the root of a machine with 64 cores, 64 GiB and nothing in /proc."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "affinity", lambda: list(range(64)))
    memory = collections.namedtuple("Memory", "total available")(64 << 30, 48 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    return tmp_path


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(text) + "\n")


def version_2(root, own="/", top="/"):
    write(root, {
        "proc/self/cgroup": f"0::{own}",
        "proc/self/mountinfo": f"22 1 0:20 / /proc rw - proc proc rw\n30 23 0:26 {top} /sys/fs/cgroup ro - cgroup2 cgroup rw",
    })  # fmt: skip
    return root / "sys/fs/cgroup"


def version_1(root, own="/", top="/"):
    mounts = [
        f"{i} 23 0:2{i} {top} /sys/fs/cgroup/{kind} ro - cgroup cgroup rw,{kind}"
        for i, kind in enumerate(("cpu,cpuacct", "memory"))
    ]
    write(root, {
        "proc/self/cgroup": f"5:cpu,cpuacct:{own}\n4:memory:{own}\n1:name=systemd:/elsewhere",
        "proc/self/mountinfo": "\n".join(mounts),
    })  # fmt: skip
    return root / "sys/fs/cgroup"


# ---- cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("9900000 100000", 64),
     ("nonsense", 64), ("", 64), ("100000 0", 64)],
)  # fmt: skip
def test_a_containers_quota_bounds_the_cores(root, limit, cores):
    write(version_2(root), {"cpu.max": limit})
    assert machine.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [(250_000, 3), (-1, 64), (0, 64)])
@pytest.mark.parametrize(("own", "top"), [("/", "/"), ("/docker/1f", "/docker/1f"), ("/docker/1f", "/other")])
def test_so_does_that_of_the_first_version_whatever_its_namespace_shows(root, quota, cores, own, top):
    group = version_1(root, own, top) / "cpu,cpuacct"
    write(group, {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": 100_000})
    assert machine.cores() == cores


@pytest.mark.parametrize("strictest", ["", "a", "a/b", "a/b/c"])
def test_the_strictest_of_all_groups_around_counts(root, strictest):
    mount = version_2(root, "/a/b/c")
    for name in ("", "a", "a/b", "a/b/c"):
        write(mount / name, {"cpu.max": "300000 100000" if name == strictest else "800000 100000"})
    write(mount / "a/b/c/below", {"cpu.max": "100000 100000"})
    write(mount / "beside", {"cpu.max": "100000 100000"})
    assert machine.cores() == 3


def test_a_group_is_never_sought_outside_of_what_is_mounted(root):
    mount = version_2(root, "/../../outside")
    write(mount, {"cpu.max": "400000 100000"})
    write(mount.parent.parent / "outside", {"cpu.max": "100000 100000"})
    assert machine.cores() == 4


def test_without_proc_or_affinity_all_cores_are_there(root, monkeypatch):
    assert machine.cores() == 64
    assert machine.quota() == math.inf
    monkeypatch.undo()
    monkeypatch.setattr(machine, "ROOT", root)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for said, cores in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda said=said: said)
        assert machine.affinity() == list(range(cores))
        assert machine.cores() == cores


def test_fewer_cores_than_the_quota_are_those_there_are(root, monkeypatch):
    write(version_2(root), {"cpu.max": "800000 100000"})
    monkeypatch.setattr(machine, "affinity", lambda: [3, 5])
    assert machine.cores() == 2


# ---- memory


def test_memory_is_what_the_container_has_left_and_cached_files_do_not_count_as_taken(root):
    write(version_2(root), {
        "memory.max": 400 * MB, "memory.current": 390 * MB,
        "memory.stat": f"anon {100 * MB}\nactive_file {90 * MB}\ninactive_file {200 * MB}",
    })  # fmt: skip
    assert machine.memory_limit() == 400 * MB
    assert machine.memory_available() == 300 * MB


def test_so_it_is_in_the_first_version_where_a_huge_number_is_no_limit(root):
    group = version_1(root, "/a") / "memory"
    stat = f"active_file 0\ntotal_active_file {10 * MB}\ntotal_inactive_file {20 * MB}"
    write(group, {"memory.limit_in_bytes": 2**63 - 4096, "memory.usage_in_bytes": MB, "memory.stat": stat})
    assert machine.memory_limit() == math.inf
    assert machine.memory_available() == 48 << 30
    write(group / "a", {
        "memory.limit_in_bytes": 500 * MB, "memory.usage_in_bytes": 130 * MB, "memory.stat": stat,
    })  # fmt: skip
    assert machine.memory_limit() == 500 * MB
    assert machine.memory_available() == 400 * MB


def test_a_roomy_container_on_a_full_machine_has_what_the_machine_has(root):
    write(version_2(root), {"memory.max": 60 << 30, "memory.current": MB, "memory.stat": ""})
    assert machine.memory_available() == 48 << 30


def test_a_container_over_its_limit_has_nothing_left(root):
    write(version_2(root), {"memory.max": MB, "memory.current": 2 * MB, "memory.stat": ""})
    assert machine.memory_available() == 0


def test_where_the_system_does_not_tell_it_is_not_known(root, monkeypatch):
    def refuse(*_):
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    assert machine.memory_available() == 48 << 30
    assert machine.resident() > MB
    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    monkeypatch.setattr(psutil, "Process", refuse)
    assert machine.memory_available() is None
    assert machine.memory_limit() == math.inf
    assert machine.resident() == 0


# ---- the processor

X86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9B14\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\nprocessor\t: 1"


@pytest.mark.parametrize(
    ("text", "name", "maker", "flag"),
    [(X86, "AMD EPYC 9B14", "AuthenticAMD", "avx512_bf16"), (ARM, "aarch64, implementer 0x41, part 0xd4f", "", "bf16")],
)
def test_the_processor_is_named_as_the_kernel_knows_it(root, monkeypatch, text, name, maker, flag):
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    write(root, {"proc/cpuinfo": text})
    assert (machine.cpu(), machine.cpu_maker()) == (name, maker)
    assert flag in machine.cpu_flags()


def test_without_cpuinfo_the_system_is_asked(root, monkeypatch):
    monkeypatch.setattr(machine.platform, "processor", lambda: "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD")
    assert machine.cpu().startswith("AMD64 Family 25")
    assert machine.cpu_maker() == "AuthenticAMD"
    assert machine.cpu_flags() == frozenset()
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    assert (machine.cpu(), machine.cpu_maker()) == ("arm64", "")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "Apple M2\n"))
    assert machine.cpu() == "Apple M2"


# ---- the folder for sockets


@pytest.fixture
def places(monkeypatch):
    """Return a function that leaves only some places for the folder, `said` being what TMPDIR says."""
    short = Path(tempfile.mkdtemp(dir="/tmp", prefix="wm"))

    def leave(said, *usual):
        monkeypatch.setenv("TMPDIR", str(said))
        for name in ("TEMP", "TMP", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(scratch, "temporary_places", lambda: [Path(said), *usual])

    leave.short = short
    yield leave
    shutil.rmtree(short)


made = scratch.temporary_folder.__wrapped__  # each call another folder


def test_the_folder_is_where_the_user_says_and_holds_the_longest_socket_of_multiprocessing(places):
    places(places.short)
    folder = made()
    assert folder.parent == places.short
    assert folder.name.startswith(f"wmloop-{os.getpid()}-")
    assert list(folder.iterdir()) == []
    assert stat_mode(folder) == 0o700
    assert made() != folder
    inner = folder / "pymp-abcdefgh"
    inner.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(inner / "listener-abcdefgh"))


def stat_mode(folder):
    return folder.stat().st_mode & 0o777


def test_macos_own_temporary_folder_is_short_enough(places):
    own = len("/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T") + len("99998") - len(str(os.getpid()))
    longer = 0 if sys.platform == "darwin" else 108 - 104  # bytes that a socket's name may have
    folder = places.short / ("x" * (own + longer - len(f"{places.short}/")))
    folder.mkdir()
    assert scratch.temporary_fault(folder) == ""
    (longest := places.short / ("x" * 90)).mkdir()
    assert scratch.temporary_fault(longest) == "has too long a path for sockets"


def test_a_place_where_longer_sockets_have_no_room_is_passed_over(places):
    longer = places.short / ("x" * (70 - len(f"{places.short}/wmloop-{os.getpid()}-1234/")))
    longer.mkdir()
    places(longer, places.short)
    assert made().parent == longer
    assert made("ray/" + "s" * 40).parent == places.short


def test_the_usual_places_come_after_what_the_user_says_and_the_current_folder_last(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", "relative")
    monkeypatch.setenv("TEMP", "/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.delenv("TMP", raising=False)
    assert scratch.temporary_places() == [
        tmp_path / "relative", Path("/tmp"), Path("/var/tmp"), Path("/run/user/1000"), Path("/dev/shm"), tmp_path,
    ]  # fmt: skip
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("TMPDIR", "/x")
    assert scratch.temporary_places()[0] == Path("/x")


def refusing(monkeypatch, place, fault):
    """Let `place` be one of the things that TMPDIR was seen to be, and return what is said of it."""
    usage, mkdir, bind = shutil.disk_usage, Path.mkdir, socket.socket.bind
    if fault == "missing":
        place.rmdir()
        return "No such file or directory"
    if fault == "full":
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path: Usage(1 << 30, 1 << 30, 4096) if path == place else usage(path)
        )
        return "No space left on device"
    if fault == "read-only":

        def refuse(path, mode=0o777, *rest):
            if path.parent == place:
                raise OSError(30, "Read-only file system", str(path))
            mkdir(path, mode, *rest)

        monkeypatch.setattr(Path, "mkdir", refuse)
        return "Read-only file system"

    class NoSockets(socket.socket):
        def bind(self, address):
            if Path(address).is_relative_to(place):
                raise OSError(1, "Operation not permitted")
            bind(self, address)

    monkeypatch.setattr(socket, "socket", NoSockets)
    return "Operation not permitted"


@pytest.mark.parametrize("fault", ["missing", "full", "read-only", "no sockets"])
def test_where_it_cannot_be_the_next_place_is_taken_and_without_any_it_is_said(places, monkeypatch, fault):
    bad, good = places.short / "bad", places.short / "good"
    bad.mkdir()
    good.mkdir()
    places(bad, good)
    said = refusing(monkeypatch, bad, fault)
    assert made().parent == good
    assert said in scratch.temporary_fault(bad)
    assert not bad.exists() or list(bad.iterdir()) == []
    places(bad)
    with pytest.raises(StorageError, match=rf"{bad} .*{said}.*set TMPDIR") as refused:
        made()
    assert "\n" not in str(refused.value)


def test_a_name_too_long_for_a_socket_is_passed_over(places):
    long = places.short / ("x" * 80)
    long.mkdir()
    places(long, places.short)
    assert made().parent == places.short
    assert scratch.temporary_fault(long) == "has too long a path for sockets"
    assert list(long.iterdir()) == []


def test_a_disk_that_does_not_know_its_size_is_tried(places, monkeypatch):
    places(places.short)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    assert made().parent == places.short


def test_without_locks_on_files_there_is_a_folder_and_nobody_sweeps(places, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    places(places.short)
    dead = places.short / "wmloop-1-0000"
    dead.mkdir()
    monkeypatch.setattr(scratch.fcntl, "flock", refuse)
    folder = made()
    assert folder.exists()
    assert dead.exists()
    monkeypatch.setattr(scratch, "fcntl", None)  # Windows
    assert made().exists()
    assert dead.exists()


def test_a_name_that_somebody_has_is_not_taken(places, monkeypatch):
    places(places.short)
    tokens = iter(["aaaa", "bbbb"])
    monkeypatch.setattr(scratch.secrets, "token_hex", lambda size: next(tokens))
    (places.short / f"wmloop-{os.getpid()}-aaaa").mkdir()
    assert made().name.endswith("bbbb")


CHILD = """
import sys, multiprocessing.util
from wmloop import machine, scratch
import tempfile
folder = scratch.temporary_folder()
tempfile.tempdir = str(folder)
(folder / "something").touch()
assert multiprocessing.util.get_temp_dir().startswith(str(folder))
print(folder, flush=True)
sys.stdin.readline()
"""


def child(place):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )  # fmt: skip
    return process, Path(process.stdout.readline().strip())


def test_folders_of_dead_processes_are_swept_and_those_of_live_ones_and_foreign_ones_are_not(places):
    places(places.short)
    with contextlib.ExitStack() as stack:
        (killed, left), (living, kept) = [child(places.short) for _ in range(2)]
        stack.enter_context(killed)
        stack.enter_context(living)
        for process in (killed, living):
            stack.callback(process.kill)
        foreign = [places.short / name for name in ("wmloop-notes", "wmloop-1-0000x", "pymp-abcdefgh")]
        for folder in foreign:
            folder.mkdir()
        target = places.short / "target"
        target.mkdir()
        (places.short / "wmloop-2-0000").symlink_to(target)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "something").exists()
        made()
        assert not left.exists()
        assert (kept / "something").exists()
        assert all(folder.exists() for folder in [*foreign, target])
        # the living one ends by itself and leaves nothing, without a word
        assert living.communicate("\n")[1] == ""
        assert living.returncode == 0
        assert not kept.exists()


# ---- what the doctor says of it


def test_the_doctor_tells_the_quota_and_the_limit_of_a_container(root, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 1.0, 1.0))
    write(version_2(root), {
        "cpu.max": "200000 100000", "memory.max": 3 << 30, "memory.current": 2 << 30, "memory.stat": "",
    })  # fmt: skip
    threads, memory = doctor.LOOKS["threads"](root), doctor.LOOKS["memory"](root)
    assert threads.verdict == "good"
    assert "training uses 2 of 2 cores (2 of 64 cores: the quota of this container is 2)" in threads.found
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert "1 of 1 cores (1 of 64 cores: this process was granted 1, by" in doctor.LOOKS["threads"](root).found
    assert memory.verdict == "note"
    assert "1.1 GB free of the 3.2 GB that this container may use" in memory.found


def test_the_doctor_says_where_sockets_are_and_what_is_wrong_with_tmpdir(places, monkeypatch):
    missing = places.short / "missing"
    places(missing, places.short)
    monkeypatch.setattr(scratch, "temporary_folder", made)
    finding = doctor.LOOKS["scratch"](Path())
    assert finding.verdict == "note"
    assert f"in {places.short}, because TMPDIR {missing} cannot be used (No such file" in finding.found
    places(places.short)
    assert doctor.LOOKS["scratch"](Path()).verdict == "good"
    places(missing)
    finding = doctor.LOOKS["scratch"](Path())
    assert finding.verdict == "bad"
    assert "set TMPDIR" in finding.advice


def without(monkeypatch, *names, **there):
    version = importlib.metadata.version

    def found(name):
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return there.get(name) or version(name)

    monkeypatch.setattr(importlib.metadata, "version", found)


def test_either_pygame_will_do_and_none_is_bad(monkeypatch):
    from wmloop.envs import versions

    without(monkeypatch, "pygame-ce", pygame="2.6.1")
    finding = doctor.LOOKS["packages"](Path())
    assert finding.verdict == "good"
    assert "pygame 2.6.1" in finding.found
    assert versions()["pygame"] == "2.6.1"
    assert "pygame-ce" not in versions()
    without(monkeypatch, "pygame-ce", "pygame", "box2d", **{"box2d-py": "2.3.5"})
    finding = doctor.LOOKS["packages"](Path())
    assert (finding.verdict, finding.found) == ("bad", "missing: pygame-ce")
    assert versions()["pygame-ce"] == "missing"
    assert versions()["box2d-py"] == "2.3.5"


def test_two_packages_that_write_the_same_files_are_told(monkeypatch):
    without(monkeypatch, **{"pygame-ce": "2.5.8", "pygame": "2.6.1", "box2d": "2.3.10"})
    finding = doctor.LOOKS["packages"](Path())
    assert finding.verdict == "note"
    assert (
        finding.advice
        == "pygame-ce and pygame have the same files: pip uninstall pygame-ce pygame, then pip install pygame-ce"
    )


def test_a_gymnasium_whose_pictures_are_not_proven_is_said_to_be_slow(monkeypatch):
    from wmloop.envs.carracing import PROVEN_VERSIONS

    without(monkeypatch, gymnasium="1.2.3")
    finding = doctor.LOOKS["environment"](Path())
    assert finding.verdict == "note"
    assert f"pip install gymnasium=={PROVEN_VERSIONS[-1]}" in finding.advice
    monkeypatch.undo()
    without(monkeypatch, gymnasium=PROVEN_VERSIONS[-1])
    assert doctor.LOOKS["environment"](Path()).verdict == "good"


@pytest.mark.parametrize(
    ("wanted", "there", "verdict"),
    [(">=3.11,<3.14", (3, 11, 0), "good"), (">=3.11,<3.14", (3, 14, 0), "bad"), (">=3.11,<3.14", (3, 10, 9), "bad"),
     (">=3.11,<3.15", (3, 14, 2), "good"), (">=3.12", (3, 30, 0), "good"), ("<3.15,>= 3.11", (3, 13, 9), "good")],
)  # fmt: skip
def test_the_pythons_that_do_are_those_the_package_declares(monkeypatch, wanted, there, verdict):
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": wanted})
    monkeypatch.setattr(sys, "version_info", (*there, "final", 0))
    finding = doctor.LOOKS["python"](Path())
    assert finding.verdict == verdict
    assert finding.advice == ("" if verdict == "good" else f"wmloop needs Python {wanted}")


def test_a_wmloop_that_is_not_installed_is_worth_a_note(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    assert doctor.LOOKS["python"](Path()).verdict == "note"


def test_cores_are_counted_where_a_sandbox_does_not_tell_which_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> set[int]:
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert machine.affinity() == [0, 1, 2]


@pytest.mark.parametrize("name", ["m\x0cy", "m\x1cy", "m\u2028y", "m\udcffy", "my\n"])
def test_a_mount_of_any_name_hides_no_quota(root, name):
    folder = version_2(root)
    write(folder, {"cpu.max": "200000 100000"})
    mountinfo = root / "proc/self/mountinfo"
    odd = f"99 1 0:99 / /{name} rw - tmpfs t rw\n".encode(errors="surrogateescape")
    mountinfo.write_bytes(odd + mountinfo.read_bytes())
    assert machine.cores() == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel shows no files of processes")
def test_a_process_is_known_again_also_where_somebody_sets_the_clock(monkeypatch):
    before = machine.born(os.getpid())
    assert before is not None
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 1.0)
    assert machine.born(os.getpid()) == before
    assert machine.born(2**22 + 1) is None


def test_where_the_kernel_shows_no_files_of_processes_they_are_asked_for_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    assert machine.born(os.getpid()) == psutil.Process().create_time()
    assert machine.born(2**22 + 1) is None
