"""Slurm as a place to perform tasks, by submitit: a job array, in which each task goes on after a time limit or preemption."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

from wmloop.errors import StoreCorruptError, UsageError
from wmloop.store import atomic
from wmloop.store.files import read_regular
from wmloop.store.jsontext import dump_json, parse_json
from wmloop.study.place import LOST, NotNowError
from wmloop.study.process import Process
from wmloop.study.share import Share
from wmloop.study.task import LOG, Task

#: The jobs of tasks by name, in one file: it is written at once, before anything can come between.
_JOBS = "jobs.json"
#: How often a job may reach its time limit; each time it is saved and queued again.
_LIMITS = 1000
#: How long a job that was asked to end waits for the scheduler to say what becomes of it, and how often one is looked at.
_VERDICT_SECONDS, _LOOK_SECONDS = 300.0, 2.0


class Performance:
    """What a job does: perform a task in a process of its own, which saves when the scheduler asks for the machine.

    Slurm announces a time limit by SIGUSR2 and a preemption by SIGTERM, to every process of a job. At SIGUSR2 submitit calls
    `checkpoint` and queues the job again. At SIGTERM the task saves, and what comes next is Slurm's to say: it queues a
    preempted job again, and ends one that was cancelled.
    """

    def __init__(self, folder: Path, share: Share) -> None:
        """Take the folder in which tasks are performed, and what each has of its machine."""
        self._folder, self._share = folder, share
        self._process: Process | None = None

    def __call__(self, command: Sequence[str], log: Path) -> int:
        """Perform a task, and return the exit code of its process."""
        self._process = Process(command, log, self._share, self._folder)
        try:
            code = self._process.wait()
            if _asked_to_end(code):
                time.sleep(_VERDICT_SECONDS)
        finally:  # a KeyboardInterrupt is submitit's way to cancel a job of this machine
            self._process.stop()
        return code

    def checkpoint(self, command: Sequence[str], log: Path) -> Any:
        """Save, and return what goes on with the task; submitit calls this in a handler of signals."""
        if self._process is not None:
            self._process.stop()
            self._process.join()
        return submitit.helpers.DelayedSubmission(Performance(self._folder, self._share), command, log)


def _asked_to_end(code: int) -> bool:
    """Tell whether an exit code is that of a process which was asked to end, and saved, or had nothing yet to save."""
    asked = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    return code in {128 + signum for signum in asked} | {-signum for signum in asked}


class Job:
    """A task as a job."""

    def __init__(self, job: submitit.Job[int]) -> None:
        self._job = job
        self._code: int | None = None
        self._due = 0.0
        self._unwanted = self._cancelled = False

    def code(self) -> int | None:
        """Return the exit code of its process, or LOST where Slurm ended the job; None while it has not ended."""
        if self._code is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + _LOOK_SECONDS
            if self._unwanted and not self._cancelled:
                self._cancel()
            if self._job.done():
                self._code = self._outcome()
        return self._code

    def _outcome(self) -> int:
        if not self._job.paths.result_pickle.exists():
            return LOST
        try:
            return int(self._job.result())
        except Exception:  # submitit's word for whatever went wrong in the job, which is in its log
            return 1

    def is_queued(self) -> bool:
        """Tell whether it is in Slurm's queue."""
        return str(self._job.state).upper().startswith("PENDING")

    def stop(self) -> None:
        """Cancel it: Slurm asks it to end, and it saves. Where scancel fails, it is called again when the code is asked for."""
        self._unwanted = True
        self._cancel()
        self._job.watcher.register_job(self._job.job_id)  # so that its state is asked for soon

    def kill(self) -> None:
        """Leave it to Slurm, which waits no longer than its KillWait; one that was not cancelled yet is now."""
        if isinstance(self._job, submitit.SlurmJob) and not self._cancelled:
            nothing: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.DEVNULL,
                "stderr": subprocess.DEVNULL,
            }
            with contextlib.suppress(OSError):
                subprocess.Popen(self._scancel(), start_new_session=True, **nothing)

    def _cancel(self) -> None:
        if not isinstance(self._job, submitit.SlurmJob):
            self._job.cancel(check=False)
            self._cancelled = True
            return
        # of a session of its own: a second Ctrl-C is not for it
        own: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "start_new_session": True}
        self._cancelled = subprocess.run(self._scancel(), check=False, **own).returncode == 0

    def _scancel(self) -> list[str]:
        return ["scancel", self._job.job_id]


class Slurm:
    """Performs tasks as jobs, all that there are at once; the scheduler has them wait.

    Jobs outlive the process that submitted them: one that is told to go on with the study takes up those which are still there.
    """

    def __init__(
        self, command: Callable[[Task], Sequence[str]], name: str, folder: Path, cores: int, gpus: int,
        options: Mapping[str, str | bool],
    ) -> None:  # fmt: skip
        """Take the command that performs a task, what jobs are called, the folder for submitit's files, and options of sbatch.

        An option is True where it has no value.
        `cluster=local` among these is submitit's own executor on this machine, to try things without Slurm.

        Raises:
            UsageError: there is no Slurm, or no time limit.
        """
        given = dict(options)
        if local := given.get("cluster") == "local":
            del given["cluster"]
        if not isinstance(given.get("time"), str):
            raise UsageError(
                "--on slurm needs the time limit of a job, for example --slurm time=4:00:00. A run that takes longer is saved"
                " and queued again"
            )
        limit = minutes(str(given.pop("time")))
        self._command, self._work, self._folder = command, Performance(Path.cwd(), Share(cores)), folder
        try:
            kind = submitit.LocalExecutor if local else submitit.SlurmExecutor
            self._executor = kind(folder, max_num_timeout=_LIMITS)
        except RuntimeError:
            raise UsageError(
                "there is no srun here: --on slurm works where jobs are submitted from, a login node. `--slurm cluster=local`"
                " tries it on this machine alone, without Slurm"
            ) from None
        if local:
            self._executor.update_parameters(timeout_min=limit, stderr_to_stdout=True)
            return
        # since Slurm 22.05 srun does not take the cores of its job for its own
        self._executor.update_parameters(
            job_name=name, time=limit, cpus_per_task=cores, gpus_per_node=gpus or None, stderr_to_stdout=True,
            additional_parameters={"requeue": True} | given, srun_args=["--cpus-per-task", str(cores)],
        )  # fmt: skip

    def free(self) -> int:
        """Return that the queue takes any number of tasks."""
        return 2**31

    def begin(self, tasks: Sequence[Task]) -> list[Job]:
        """Submit tasks as an array of jobs, but for those whose jobs are still there.

        Raises:
            UsageError: sbatch refuses them.
            NotNowError: squeue does not tell which are still there.
        """
        atomic.make_folder(self._folder)
        jobs = self._left(tasks)
        new = [task for task in tasks if task not in jobs]
        commands, logs = [self._command(task) for task in new], [(task.place / LOG).absolute() for task in new]
        try:
            submitted = self._executor.map_array(self._work, commands, logs) if new else []
        except submitit.core.utils.FailedJobError as error:
            said = " ".join(str(error).split())
            raise UsageError(f"sbatch does not take the jobs: {said[:500]}") from None
        if submitted:
            noted = self._noted() | {task.name: job.job_id for task, job in zip(new, submitted, strict=True)}
            atomic.write_file(self._folder / _JOBS, dump_json(noted, _JOBS))
        jobs |= dict(zip(new, submitted, strict=True))
        return [Job(jobs[task]) for task in tasks]

    def _left(self, tasks: Sequence[Task]) -> dict[Task, submitit.Job[int]]:
        """Return the jobs that an earlier process submitted for tasks, where these go on."""
        every = self._noted() if isinstance(self._executor, submitit.SlurmExecutor) else {}
        noted = {task: every[task.name] for task in tasks if task.name in every}
        there = queued_jobs() if noted else set()
        jobs: dict[Task, Any] = {
            task: submitit.SlurmJob(self._folder, job) for task, job in noted.items() if job in there
        }
        return {task: job for task, job in jobs.items() if not job.paths.result_pickle.exists()}

    def _noted(self) -> dict[str, str]:
        """Return the jobs that were ever submitted for tasks, by their names; none where nobody can read which."""
        path = self._folder / _JOBS
        with contextlib.suppress(StoreCorruptError, AttributeError):
            if path.exists():
                return {str(name): str(job) for name, job in parse_json(read_regular(path), path).items()}
        return {}


def queued_jobs() -> set[str]:
    """Return the jobs of this user that wait or run; what sacct says of a job is late, and squeue knows it at once.

    Raises:
        NotNowError: squeue does not tell.
    """
    words = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
    try:
        told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = " ".join(f"{error} {getattr(error, 'stderr', '')}".split())
        raise NotNowError(
            f"squeue does not say which jobs of this study are still there: {said[:500]}. The same command goes on as soon as"
            " it does"
        ) from None
    return set(told.split())


def minutes(limit: str) -> int:
    """Return a time limit in whole minutes, at least 1, of the forms that sbatch takes: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit)
    if found is None:
        raise UsageError(
            f"--slurm time={limit}: it takes minutes, or hours:minutes:seconds, or days-hours, as sbatch does"
        )
    days, first, second, third = (int(part or 0) for part in found.groups())
    if found[1] is not None or found[4] is not None:
        hours, mins, seconds = first, second, third
    else:
        hours, mins, seconds = 0, first, second
    if not any((days, hours, mins, seconds)):
        raise UsageError(
            f"--slurm time={limit}: to Slurm 0 is no limit at all; give the time of a job, such as time=4:00:00"
        )
    return math.ceil((days * 24 + hours) * 60 + mins + seconds / 60)
