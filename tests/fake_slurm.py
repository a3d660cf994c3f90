"""Slurm's commands on one machine, for tests: python -m tests.fake_slurm COMMAND ...; its state is in the folder $FAKE_SLURM.

Of Slurm it has what job files and submitit rely on: job arrays, steps, requeueing, states, and which processes get which
signal when. A time limit and a preemption come when a test says so: `limit JOB`, `preempt JOB`.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

COMMANDS = ("sbatch", "srun", "scancel", "scontrol", "sacct", "squeue")
_MARK, _STEP = "FAKE_SLURM_MARK", "FAKE_SLURM_STEP"
_FIRST = 100
#: What becomes of a job that is asked to end, and does not by itself.
_STATES = {"limit": "TIMEOUT", "preempt": "PREEMPTED", "cancel": "CANCELLED", "requeue": "REQUEUED"}


def install(folder):
    """Put the commands, and `wmloop`, into a new folder, and return the environment in which they are found."""
    binaries, state = folder / "bin", folder / "slurm"
    binaries.mkdir(parents=True)
    state.mkdir()
    root = Path(__file__).parent.parent
    for name in (*COMMANDS, "wmloop"):
        call = "wmloop" if name == "wmloop" else f"tests.fake_slurm {name}"
        (binaries / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {call} "$@"\n')
        (binaries / name).chmod(0o755)
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "FAKE_SLURM": str(state), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths), "FAKE_SLURM_GRACE": "600",
    }  # fmt: skip


def ask(what, job, environment):
    """Have something happen to a job: limit, preempt, cancel, requeue; or kill, where one of these has come before."""
    (Path(environment["FAKE_SLURM"]) / f"{job}.{what}").touch()


def states(environment):
    """Return what is known of each job, by the number of an array and its place, or the number of a job."""
    found = (json.loads(path.read_text()) for path in sorted(Path(environment["FAKE_SLURM"]).glob("*.json")))
    return {job["id"]: job for job in found}


def close(environment):
    """End all that runs."""
    (Path(environment["FAKE_SLURM"]) / "closed").touch()
    deadline = time.monotonic() + 20
    while any(job["live"] for job in states(environment).values()) and time.monotonic() < deadline:
        time.sleep(0.05)


def _folder():
    return Path(os.environ["FAKE_SLURM"])


def _directives(text):
    """Return the options of a job file's #SBATCH lines."""
    found = {}
    for line in re.findall(r"^#SBATCH (.*)$", text, re.M):
        for word in shlex.split(line):
            name, _, value = word.partition("=")
            found[name.removeprefix("--")] = value
    return found


def sbatch(words):
    """Submit a job file with its arguments."""
    script, *arguments = words
    text = Path(script).read_text()
    asked = _directives(text)
    if asked.get("partition") == "none":
        print("sbatch: error: invalid partition specified: none", file=sys.stderr)
        return 1
    number = _FIRST
    while True:  # numbers are never given twice
        try:
            (_folder() / f"{number}.script").touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1000
    (_folder() / f"{number}.script").write_text(text)
    first, _, last = asked.get("array", "").partition("%")[0].partition("-")
    places = range(int(first), int(last or first) + 1) if first else [None]
    for count, place in enumerate(places):
        name = str(number) if place is None else f"{number}_{place}"
        job = {
            "id": name,
            "raw": number + count,
            "state": "PENDING",
            "starts": 0,
            "live": True,
            "array": place is not None,
        }
        _write(job)
        subprocess.Popen(
            [sys.executable, "-m", "tests.fake_slurm", "step", str(number), name, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    print(f"Submitted batch job {number}")
    return 0


def _write(job):
    new = _folder() / f".{job['id']}.new"
    new.write_text(json.dumps(job))
    new.replace(_folder() / f"{job['id']}.json")


def step(words):
    """Be what looks after one job, from its first start to its end."""
    number, name, *arguments = words
    job = json.loads((_folder() / f"{name}.json").read_text())
    try:
        while _start(job, _folder() / f"{number}.script", arguments):
            pass
    finally:
        _write(job | {"live": False})
    return 0


def _start(job, script, arguments):
    """Run a job once; return whether it is queued again."""
    asked = _directives(script.read_text())
    place = job["id"].partition("_")[2]
    environment = os.environ | {
        "SLURM_JOB_ID": str(job["raw"]), "SLURM_JOB_NAME": asked.get("job-name", "job"), _MARK: job["id"],
        "SLURM_CPUS_PER_TASK": asked.get("cpus-per-task", "1"), "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "localhost",
        "SLURM_RESTART_COUNT": str(job["starts"]), "SLURM_PROCID": "0", "SLURM_NTASKS": "1",
    }  # fmt: skip
    if job["array"]:
        environment |= {"SLURM_ARRAY_JOB_ID": job["id"].partition("_")[0], "SLURM_ARRAY_TASK_ID": place}
    job |= {"state": "RUNNING", "starts": job["starts"] + 1}
    _write(job)
    to = _named(asked.get("output", "slurm-%j.out"), environment)
    with Path(to).open("ab" if asked.get("open-mode") == "append" else "wb") as out:
        batch = subprocess.Popen(
            ["bash", str(script), *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    state, deadline = None, None
    while batch.poll() is None:
        if (_folder() / "closed").exists():
            deadline, state = 0.0, state or "CANCELLED"
        if (_folder() / f"{job['id']}.kill").exists():
            (_folder() / f"{job['id']}.kill").unlink()
            deadline = 0.0
        for what in _STATES:
            for said in {job["id"], str(job["raw"])}:
                if _is_asked(_folder() / f"{said}.{what}"):
                    deadline = time.monotonic() + float(os.environ["FAKE_SLURM_GRACE"])
                    state = _STATES[what]
                    _announce(what, asked, batch.pid, job["id"])
        if deadline is not None and time.monotonic() >= deadline:
            for process in _members(job["id"], batch.pid, whole=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(0.05)
    for process in _members(job["id"], batch.pid, whole=True):  # what a job leaves is ended with it
        with contextlib.suppress(psutil.Error):
            process.kill()
    asked_again, ended = _again(job), "COMPLETED" if batch.returncode == 0 else "FAILED"
    if state in ("TIMEOUT", "PREEMPTED") and batch.returncode != -signal.SIGKILL:
        state = ended  # it ended by itself before the scheduler ended it
    again = asked_again or state in ("REQUEUED", "PREEMPTED")
    job |= {"state": "PENDING" if again else state or ended, "code": batch.returncode}
    _write(job)
    return again and not (_folder() / "closed").exists()


def _is_asked(path):
    """Take a request, once scontrol has ended, which is a process of the job."""
    if not path.exists() or (path.suffix == ".requeue" and psutil.pid_exists(int(path.read_text()))):
        return False
    path.unlink()
    return True


def _again(job):
    """Tell whether it was queued again in its last moment."""
    found = [path for said in {job["id"], str(job["raw"])} if (path := _folder() / f"{said}.requeue").exists()]
    for path in found:
        path.unlink()
    return bool(found)


def _announce(what, asked, batch, name):
    """Send the signals of a time limit to all processes of the steps, or with `B:` to the batch shell alone.

    Those of an end are sent to both.
    """
    members = _members(name, batch, whole=what in ("cancel", "requeue"))
    if what == "limit":
        shell, word = asked["signal"].startswith("B:"), asked["signal"].removeprefix("B:").partition("@")[0]
        signals, members = [getattr(signal, f"SIG{word}")], [psutil.Process(batch)] if shell else members
    else:
        signals = [signal.SIGCONT, signal.SIGTERM]
    for process in members:
        for signum in signals:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signum)


def _members(name, batch, whole):
    """Return the processes of a job's steps; with `whole` its batch shell and srun, too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(_MARK) == name and (whole or _STEP in environment):
                found.append(process)
    return found


def _named(path, environment):
    array, place = environment.get("SLURM_ARRAY_JOB_ID", ""), environment.get("SLURM_ARRAY_TASK_ID", "")
    said = {"%j": environment["SLURM_JOB_ID"], "%A": array, "%a": place, "%x": environment["SLURM_JOB_NAME"], "%t": "0"}
    for short, word in said.items():
        path = path.replace(short, word)
    return path


def srun(words):
    """Run a command as a step of its job, whose processes are those that signals reach; return its exit code."""
    out = None
    while words and words[0].startswith("-"):
        option, sign, value = words[0].partition("=")
        words = words[1:]
        if option in ("--output", "--error", "--cpus-per-task", "-c") and not sign:
            value, words = words[0], words[1:]
        out = value if option == "--output" else out
    with Path(_named(out, os.environ)).open("ab") if out else contextlib.nullcontext() as file:
        code = subprocess.run(words, env=os.environ | {_STEP: "0"}, stdout=file, stderr=file, check=False).returncode
    return code if code >= 0 else 128 - code


def scancel(words):
    """Cancel jobs, or all of an array."""
    for word in words:
        for name in states(os.environ):
            if name == word or name.startswith(f"{word}_"):
                ask("cancel", name, os.environ)
    return 0


def scontrol(words):
    """Queue a job again, or list a job's nodes."""
    if words[0] == "requeue":
        (_folder() / f"{words[1]}.new").write_text(str(os.getpid()))
        (_folder() / f"{words[1]}.new").replace(_folder() / f"{words[1]}.requeue")
    else:
        print("localhost")
    return 0


def sacct(words):
    """Print the states of jobs, but for those that it does not know yet."""
    asked = {words[place + 1] for place, word in enumerate(words) if word == "-j"}
    print("JobID|State|NodeList")
    for name, job in states(os.environ).items():
        if name.partition("_")[0] in asked and not (_folder() / "sacct-is-late").exists():
            print(f"{name}|{job['state']}|localhost")
    return 0


def squeue(words):
    """Print the jobs that have not ended; the format %i is a job's number alone."""
    for name, job in states(os.environ).items():
        if job["live"]:
            print(name, *([] if "--format=%i" in words else [job["state"]]))
    return 0


if __name__ == "__main__":
    raise SystemExit(globals()[sys.argv[1]](sys.argv[2:]))
