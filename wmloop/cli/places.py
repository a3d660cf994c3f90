"""Where a study's runs are trained, as the options of its command say."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wmloop.errors import UsageError

if TYPE_CHECKING:
    from wmloop.study.place import Place
    from wmloop.study.task import Task

#: Cores of a run elsewhere, unless somebody says otherwise: preset laptop is made for two.
_CORES = 2
#: The folder of submitit's own files, in that of the study.
_JOBS = "slurm"


def place_of(on: str, cores: int | None, gpus: int, slurm: Sequence[str], name: str, file: Path, runs: Path) -> Place:
    """Return where the tasks of the study `name` are performed.

    Raises:
        UsageError: what it needs is not installed or not there, or an option does not fit.
    """
    from wmloop.study.share import deal
    from wmloop.study.words import counted

    options = _sbatch_options(on, slurm)
    call = [sys.executable, "-m", "wmloop", "study", str(file.absolute()), "--runs", str(runs.absolute()), "--task"]

    def command(task: Task) -> list[str]:
        return [*call, task.name]

    if on == "local":
        from wmloop import machine
        from wmloop.study.process import ThisMachine

        if cores is None and not gpus:
            return ThisMachine(command)
        there, visible = machine.cores(), _gpus() if gpus else []
        each = cores or max(1, there // max(1, len(visible) // gpus))
        shares = deal(machine.affinity(), there, each, visible, gpus)
        if not shares:
            wanted, has = (
                counted(number, "core") + (f" and {counted(cards, 'GPU')}" if gpus else "")
                for number, cards in ((each, gpus), (there, len(visible)))
            )
            raise UsageError(f"each run would need {wanted}; this machine has {has}: give less by --cores and --gpus")
        return ThisMachine(command, shares)
    _require({"ray": "ray", "slurm": "submitit"}[on], on)
    if on == "ray":
        from wmloop.ray.address import cluster_address
        from wmloop.ray.private import SILENT, SOCKET, admitted, private
        from wmloop.scratch import temporary_folder

        address = cluster_address()
        # before Ray is imported, which reads them then
        os.environ.update(SILENT | (admitted() if address else private()))
        from wmloop.study.ray import Cluster

        return Cluster(command, cores or _CORES, gpus, address, temporary_folder(SOCKET) / "ray")
    from wmloop.study.slurm import Slurm

    return Slurm(command, name, (runs / name / _JOBS).absolute(), cores or _CORES, gpus, options)


def words_of_place(on: str, cores: int | None, gpus: int, slurm: Sequence[str]) -> list[str]:
    """Return the command-line options that choose this place; raises UsageError where those of --slurm do not fit."""
    _sbatch_options(on, slurm)
    words = [] if on == "local" else ["--on", on]
    words += [] if cores is None else ["--cores", str(cores)]
    words += ["--gpus", str(gpus)] if gpus else []
    return [*words, *(word for text in slurm for word in ("--slurm", text))]


def _sbatch_options(on: str, slurm: Sequence[str]) -> dict[str, str | bool]:
    if slurm and on != "slurm":
        raise UsageError("--slurm has options of Slurm's jobs, and only --on slurm makes such")
    return dict(sbatch_option(text) for text in slurm)


def _gpus() -> list[str]:
    from wmloop.device import visible_gpus

    return visible_gpus()


#: What a study sets of its jobs.
_OWN = (
    "cpus-per-task", "gpus-per-node", "nodes", "ntasks-per-node", "job-name", "array", "output", "error", "open-mode", "signal",
    "requeue",
)  # fmt: skip


def sbatch_option(text: str) -> tuple[str, str | bool]:
    """Return the name and the value of an option of sbatch, True where it has none.

    Raises:
        UsageError: it is none.
    """
    name, sign, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", name := name.strip().removeprefix("--")):
        raise UsageError(
            f"--slurm {text}: it takes OPTION=VALUE, or an OPTION without one, as sbatch does, for example time=4:00:00"
        )
    if name in _OWN:
        raise UsageError(f"--slurm {name} is the study's own: it sets {', '.join(_OWN)}")
    return name, value.strip() if sign else True


def _require(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"--on {extra} needs {module}: pip install 'wmloop[{extra}]'")
