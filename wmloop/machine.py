"""What this machine lets this process have: cores, memory, a processor and its name."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

#: Where the system's own files are.
ROOT = Path("/")


def affinity() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        with contextlib.suppress(OSError):  # a sandbox may refuse to tell
            return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """Return how many cores this process may keep busy: those it may run on, its container's quota, what it was granted."""
    return max(1, math.ceil(min(len(affinity()), quota(), granted())))


#: The environment variables by which a study tells its tasks, and Slurm its jobs, how many cores are theirs.
GRANT, _GRANTS = "WMLOOP_CORES", ("WMLOOP_CORES", "SLURM_CPUS_PER_TASK")


def granted() -> float:
    """Return how many cores whoever began this process has given it, infinity where nobody says.

    Slurm confines a job to its cores on most clusters, but not on all; and some systems keep no process on a core.
    """
    told = (os.environ.get(name, "") for name in _GRANTS)
    return next((int(count) for count in told if count.isdecimal() and int(count)), math.inf)


def quota() -> float:
    """Return how many cores' time the control groups of this process have, infinity where nothing bounds it."""
    return min((group.cores() for group in _groups("cpu")), default=math.inf)


def memory_limit() -> float:
    """Return how many bytes the control groups of this process may take, infinity where that is not less than there are."""
    limit = min((group.memory()[0] for group in _groups("memory")), default=math.inf)
    with contextlib.suppress(psutil.Error, OSError):
        return (
            limit if limit < psutil.virtual_memory().total else math.inf
        )  # version 1 says "no limit" by a huge number
    return limit


def memory_available() -> int | None:
    """Return how many bytes this process could still take, None where the system does not tell.

    Pages of files that were read or written do not count as taken: the kernel drops them where memory is wanted.
    """
    left = [limit - taken for limit, taken in (group.memory() for group in _groups("memory")) if limit < math.inf]
    with contextlib.suppress(psutil.Error, OSError):
        left.append(psutil.virtual_memory().available)
    return max(0, int(min(left))) if left else None


def resident() -> int:
    """Return how many bytes of memory this process has, 0 where the system does not tell."""
    with contextlib.suppress(psutil.Error, OSError):
        return int(psutil.Process().memory_info().rss)
    return 0


def cpu() -> str:
    """Return what its maker calls the processor; on Linux on Arm the numbers of maker and part, for it knows no more."""
    facts = _cpuinfo()
    if name := facts.get("model name"):
        return name
    if "CPU part" in facts:
        return f"{platform.machine()}, implementer {facts.get('CPU implementer', '?')}, part {facts['CPU part']}"
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            if name := subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip():
                return name
    return platform.processor() or platform.machine()


def cpu_model() -> str | None:
    """Return by what x86 processors of one name differ, such as `family 26, model 2`; None where the kernel does not tell."""
    facts = _cpuinfo()
    return f"family {facts['cpu family']}, model {facts['model']}" if {"cpu family", "model"} <= facts.keys() else None


def cpu_maker() -> str:
    """Return who made an x86 processor, as it says itself (GenuineIntel, AuthenticAMD), "" where it does not."""
    return _cpuinfo().get("vendor_id") or platform.processor().rpartition(", ")[2]


def cpu_flags() -> frozenset[str]:
    """Return what the kernel says that the processor can do, by its short names; empty where there is no /proc/cpuinfo."""
    facts = _cpuinfo()
    return frozenset((facts.get("flags") or facts.get("Features", "")).split())


def _cpuinfo() -> dict[str, str]:
    """Return what is said of the first core."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        first = (ROOT / "proc/cpuinfo").read_text().strip().partition("\n\n")[0]
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    return {}


# ---- control groups


class _Group(NamedTuple):
    """A control group of Linux, by its folder: what this process is in, or one around that."""

    folder: Path

    def cores(self) -> float:
        """Return its quota in cores, infinity if it has none."""
        try:
            if (self.folder / "cpu.max").exists():  # version 2
                time, period = self._read("cpu.max").split()
            else:
                time, period = self._read("cpu.cfs_quota_us"), self._read("cpu.cfs_period_us")
            return float(time) / float(period) if time != "max" and float(time) > 0 else math.inf
        except (OSError, ValueError, ZeroDivisionError):  # no such file: this group does not bound it
            return math.inf

    def memory(self) -> tuple[float, float]:
        """Return its limit in bytes, infinity if it has none, and what it has taken that cannot be dropped."""
        try:
            if (self.folder / "memory.max").exists():  # version 2
                limit, taken, prefix = self._read("memory.max"), int(self._read("memory.current")), ""
            else:
                limit, taken = self._read("memory.limit_in_bytes"), int(self._read("memory.usage_in_bytes"))
                prefix = "total_"
            if limit == "max":
                return math.inf, 0
            stat = dict(line.split() for line in self._read("memory.stat").splitlines())
            files = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
            return int(limit), max(0, taken - files)
        except (OSError, ValueError):
            return math.inf, 0

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text().strip()


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of the kernel's, which escapes only blanks and line feeds in names."""
    return path.read_bytes().decode(errors="surrogateescape").split("\n")


def _groups(controller: str) -> Iterator[_Group]:
    """Yield the groups whose limits on `cpu` or `memory` hold for this process, version 1 and 2, innermost first."""
    try:
        own = [line.split(":", 2) for line in _lines(ROOT / "proc/self/cgroup")]
        mounts = [line.partition(" - ") for line in _lines(ROOT / "proc/self/mountinfo")]
    except OSError:
        return
    for left, _, right in mounts:
        if len(left.split(" ")) < 5 or len(right.split(" ")) < 3:
            continue
        top, point = left.split(" ")[3:5]
        kind, *_, options = right.split(" ")
        for _, controllers, path in (words for words in own if len(words) == 3):
            if kind == "cgroup2":
                mine = not controllers
            else:
                mine = kind == "cgroup" and controller in controllers.split(",") and controller in options.split(",")
            if mine:
                folder = mount = ROOT / point.lstrip("/")
                # Where it is not below what is mounted, a namespace hides where: then its own group is what is mounted.
                if path.startswith(top.rstrip("/") + "/") and ".." not in path:
                    folder = mount / path[len(top.rstrip("/")) :].lstrip("/")
                while True:
                    yield _Group(folder)
                    if folder == mount:
                        break
                    folder = folder.parent


def born(pid: int) -> str | float | None:
    """Return when a live process began, which tells it from a later one of its number; None where there is none.

    On Linux in the kernel's ticks, which do not change where somebody sets the clock.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        state, *rest = (ROOT / f"proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if state in ("Z", "X") else rest[18]
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return float(process.create_time())
    return None


def has_group(pid: int) -> bool:
    """Tell whether a process of the group that `pid` leads is alive, or of a system without groups `pid` itself."""
    if not hasattr(os, "getpgid"):
        return born(pid) is not None
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def end_tree(pid: int) -> list[psutil.Process]:
    """Kill a process and all that it has begun, of other sessions, too; return them: they may take a moment to be gone."""
    killed: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        with contextlib.suppress(psutil.Error):
            process.suspend()  # so that it begins no more meanwhile
        killed = [*process.children(recursive=True), process]
    for one in killed:
        with contextlib.suppress(psutil.Error):
            one.kill()
    if hasattr(os, "killpg"):  # and those of its group whose own parents have ended
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    return killed
