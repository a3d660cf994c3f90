"""Studies and runs on clusters: submitit and Ray as they are installed, Slurm by stand-ins of its commands (fake_slurm)."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests import fake_slurm
from tests.commands import wmloop
from tests.test_interruptions import finish as finish_run
from tests.test_interruptions import hashes
from tests.test_signals import tiny_toml
from tests.test_study import ENVIRONMENT, TWO, Process, finish, study, table, trained, written
from wmloop.errors import UsageError
from wmloop.store import Store

pytestmark = pytest.mark.distributed
ROOT = fake_slurm.Path(__file__).parent.parent
SIX = TWO.replace("[1, 2]", "[1, 2, 3]").replace("--steps 6", "--steps 20")
SLURM = ["--on", "slurm", "--cores", "1", "--slurm", "time=0:30:00"]


@pytest.fixture
def slurm(tmp_path):
    """Return the environment of commands that find Slurm; what they began ends with the test."""
    environment = fake_slurm.install(tmp_path / "cluster")
    yield environment
    fake_slurm.close(environment)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Return the table of a study of two rows by three seeds that was performed here, one after the other."""
    folder = tmp_path_factory.mktemp("six")
    finish(study(written(folder, SIX), folder))
    return table(folder / "two" / "two.csv")


def wait(happened, seconds=600.0):
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def starts(environment):
    return {name: job["starts"] for name, job in fake_slurm.states(environment).items()}


def of_study(file, runs, environment, *words):
    return Process(
        ["study", file, "--runs", runs, "--progress", "plain", *words], ENVIRONMENT | environment, merged=True
    )


# ---- one run as a job


def strikes(environment, said, stages, kills):
    """Reach the time limit, preempt, and reach it again, each time as soon as the run has begun the next of the stages.

    `kills` tells whether a preempted job waits for Slurm to end it; else it queues itself again.
    """
    for number, (what, stage) in enumerate(zip(("limit", "preempt", "limit"), stages, strict=True), 1):
        wait(lambda stage=stage: f"{stage}  started" in said().split("stopped; what was done is saved")[-1])
        fake_slurm.ask(what, "100", environment)
        wait(lambda number=number: said().count("stopped; what was done is saved") == number)
        if what == "preempt" and kills:
            fake_slurm.ask("kill", "100", environment)
        wait(lambda number=number: starts(environment)["100"] > number)


def test_a_job_that_meets_its_time_limit_twice_and_is_preempted_comes_to_the_same_run(slurm, tmp_path):
    settings, log = tiny_toml(tmp_path / "tiny.toml", 1500), tmp_path / "wmloop-100.log"
    finish_run(["start", "tiny", "--config", str(settings)], tmp_path / "whole")
    job = [str(ROOT / "examples/slurm/run.sh"), "tiny", "--config", settings, "--runs", tmp_path / "runs"]
    subprocess.run(["sbatch", *job], env=os.environ | slurm, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    strikes(slurm, lambda: log.read_text() if log.exists() else "", ("/rollout", "/memory", "/memory"), kills=False)
    wait(lambda: not fake_slurm.states(slurm)["100"]["live"])
    ended = fake_slurm.states(slurm)["100"]
    assert (ended["state"], ended["starts"]) == ("COMPLETED", 4), log.read_text()
    assert log.read_text().count("stopped; what was done is saved") == 3
    assert hashes(tmp_path / "runs", "tiny") == hashes(tmp_path / "whole", "tiny")


@pytest.mark.parametrize("path", sorted((ROOT / "examples/slurm").glob("*.sh")), ids=lambda path: path.name)
def test_a_job_file_is_one_that_bash_can_read_and_is_queued_again(path):
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert re.search(r"#SBATCH --requeue --open-mode=append --signal=(B:USR1|TERM)@120\n", path.read_text())
    assert path.read_text().endswith(' && scontrol requeue "$SLURM_JOB_ID"\nexit $code\n')


SAVES = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(1)
    pathlib.Path("saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path("begun").touch()
time.sleep(600)
"""


def test_a_cluster_in_a_job_saves_before_the_limit_and_is_queued_again_and_one_that_is_cancelled_is_not(
    slurm, tmp_path
):
    ray = tmp_path / "cluster" / "bin" / "ray"
    ray.write_text('#!/bin/bash\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    ray.chmod(0o755)
    job = [str(ROOT / "examples/slurm/ray.sh"), sys.executable, "-c", SAVES]
    subprocess.run(["sbatch", *job], env=os.environ | slurm, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    wait((tmp_path / "begun").exists)
    (tmp_path / "begun").unlink()
    fake_slurm.ask("limit", "100", slurm)
    wait((tmp_path / "begun").exists)
    assert (tmp_path / "saved").exists()
    assert starts(slurm)["100"] == 2
    fake_slurm.ask("cancel", "100", slurm)
    wait(lambda: not fake_slurm.states(slurm)["100"]["live"])
    ended = fake_slurm.states(slurm)["100"]
    assert (ended["state"], ended["starts"]) == ("CANCELLED", 2)


def test_an_array_of_seeds_is_a_run_each(slurm, tmp_path):
    settings = tiny_toml(tmp_path / "tiny.toml", 5)
    settings.write_text("\n".join(line for line in settings.read_text().split("\n") if not line.startswith("seed")))
    text = (ROOT / "examples/slurm/seeds.sh").read_text().replace("--array=1-5", "--array=1-2")
    (tmp_path / "seeds.sh").write_text(text)
    job = ["seeds.sh", "tiny", "--config", settings, "--runs", tmp_path / "runs"]
    subprocess.run(["sbatch", *job], env=os.environ | slurm, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    wait(lambda: not any(one["live"] for one in fake_slurm.states(slurm).values()))
    assert {one["state"] for one in fake_slurm.states(slurm).values()} == {"COMPLETED"}
    for seed in (1, 2):
        assert f"seed = {seed}\n" in Store.open(tmp_path / "runs" / f"tiny-{seed}").config_text


# ---- studies by submitit


def need_submitit():
    pytest.importorskip("submitit")


def test_time_limits_are_those_that_sbatch_takes():
    need_submitit()
    from wmloop.study.slurm import minutes

    told = {"90": 90, "90:30": 91, "4:00:00": 240, "0:00:20": 1, "1-0": 1440, "1-2:30": 1590, "0-0:1:1": 2}
    assert {text: minutes(text) for text in told} == told
    for text in ("", "4h", "1:2:3:4", "-3"):
        with pytest.raises(UsageError, match="hours:minutes:seconds"):
            minutes(text)
    for text in ("0", "0-0", "0:00:00"):
        with pytest.raises(UsageError, match="no limit at all"):
            minutes(text)


def test_a_study_by_submitit_on_this_machine_comes_to_the_same_table(six, tmp_path):
    need_submitit()
    file = written(tmp_path, SIX)
    finish(study(file, tmp_path, *SLURM, "--slurm", "cluster=local"))
    assert table(tmp_path / "two" / "two.csv") == six


def test_a_study_is_an_array_of_jobs_which_outlive_who_submitted_them_and_are_taken_up_again(six, slurm, tmp_path):
    need_submitit()
    file = written(tmp_path, SIX)
    process = of_study(file, tmp_path, slurm, *SLURM)
    wait((tmp_path / "two" / "slurm" / "jobs.json").exists)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    (fake_slurm.Path(slurm["FAKE_SLURM"]) / "sacct-is-late").touch()  # as it is of jobs that have just been submitted
    finish(of_study(file, tmp_path, slurm, *SLURM))
    assert table(tmp_path / "two" / "two.csv") == six
    jobs = fake_slurm.states(slurm)
    assert {name: job["starts"] for name, job in jobs.items()} == {f"100_{place}": 1 for place in range(6)}
    assert (tmp_path / "two" / "tasks" / "A-1" / "task.log").read_text().startswith(sys.executable)
    assert "#SBATCH --cpus-per-task=1\n" in next((tmp_path / "two" / "slurm").glob("*_submission.sh")).read_text()


def test_a_task_whose_job_was_killed_is_begun_again(slurm, tmp_path):
    need_submitit()
    file = written(tmp_path, TWO.replace("[1, 2]", "[1]").replace("--steps 6", "--steps 60"))
    process = of_study(file, tmp_path, slurm | {"FAKE_SLURM_GRACE": "0"}, *SLURM)
    wait(lambda: list((tmp_path / "two" / "tasks" / "B-1").glob("scores-*")))
    fake_slurm.ask("cancel", "100_1", slurm)
    finish(process)
    assert len(starts(slurm)) == 3
    assert (tmp_path / "two" / "tasks" / "B-1" / "result.json").exists()


def failing(command, times):
    """Let a command fail so many times before it does what it does."""
    count = command.with_name(f"{command.name}-failed")
    fails = f'if [ "$(wc -c < {count})" -lt {times} ]; then printf x >> {count}; exit 1; fi\n'
    count.touch()
    command.write_text(command.read_text().replace("exec ", f"{fails}exec ", 1))


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(slurm, tmp_path):
    need_submitit()
    file = written(tmp_path, SIX.replace("--steps 20", "--steps 60"))
    failing(tmp_path / "cluster" / "bin" / "scancel", 3)
    process = of_study(file, tmp_path, slurm | {"FAKE_SLURM_GRACE": "5"}, *SLURM)
    wait(lambda: list((tmp_path / "two" / "tasks").glob("B-*/scores-*")))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert f"wmloop study {file} --on slurm --cores 1 --slurm time=0:30:00" in output
    wait(lambda: not any(one["live"] for one in fake_slurm.states(slurm).values()))
    assert "CANCELLED" in {one["state"] for one in fake_slurm.states(slurm).values()}
    finish(of_study(file, tmp_path, slurm, *SLURM))
    tasks = [f"{row}-{seed}" for seed in (1, 2) for row in "AB"]
    assert [task for task in tasks if not (tmp_path / "two" / "tasks" / task / "result.json").exists()] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slurm", "time=1:00:00", "--slurm", "partition=none"], "invalid partition specified: none"),
        ([], "--slurm time=4:00:00"),
    ],
)
def test_what_slurm_does_not_take_is_refused_in_words(words, said, slurm, tmp_path):
    need_submitit()
    process = of_study(written(tmp_path, TWO), tmp_path, slurm, "--on", "slurm", *words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert said in " ".join(output.split())


def test_where_there_is_no_slurm_it_is_said(tmp_path):
    need_submitit()
    process = of_study(written(tmp_path, TWO), tmp_path, {"PATH": "/nonexistent"}, *SLURM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "there is no srun here" in output


def test_a_study_that_trains_comes_to_the_same_hashes_after_time_limits_and_a_preemption(slurm, tmp_path):
    need_submitit()
    finish(study(trained(tmp_path, memory_steps=1500), tmp_path / "whole"))
    process = of_study(tmp_path / "own.toml", tmp_path / "runs", slurm, *SLURM)
    log = tmp_path / "runs" / "own" / "tasks" / "z-1" / "task.log"
    strikes(slurm, lambda: log.read_text() if log.exists() else "", ("/rollout", "/memory", ""), kills=True)
    finish(process)
    assert starts(slurm) == {"100": 4}
    assert table(tmp_path / "runs" / "own" / "own.csv") == table(tmp_path / "whole" / "own" / "own.csv")
    assert hashes(tmp_path / "runs" / "own", "z-1") == hashes(tmp_path / "whole" / "own", "z-1")


def test_where_squeue_does_not_say_which_jobs_are_there_none_is_submitted_again(monkeypatch):
    need_submitit()
    from wmloop.study.slurm import queued_jobs

    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="squeue does not say which jobs of this study are still there"):
        queued_jobs()


# ---- studies on Ray


def test_a_run_needs_one_node_that_has_its_cores_and_its_gpus():
    pytest.importorskip("ray")
    from wmloop.study.ray import require_room

    nodes = [{"CPU": 16.0}, {"CPU": 4.0, "GPU": 2.0}]
    for cores, gpus in ((16, 0), (4, 2), (1, 1)):
        require_room(nodes, cores, gpus)
    for cores, gpus, said in (
        (17, 0, "17 cores for"),
        (8, 1, "8 cores and 1 GPU for"),
        (1, 3, "1 core and 3 GPUs for"),
    ):
        with pytest.raises(UsageError, match=f"no node of the Ray cluster has {said} a run"):
            require_room(nodes, cores, gpus)


def test_a_server_of_the_ray_client_is_no_cluster(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    refused = wmloop("study", written(tmp_path, TWO), "--on", "ray", runs=tmp_path)
    assert refused.exit_code == 2
    assert "a server of the Ray client" in " ".join(refused.stderr.split())


def performing(file):
    """Return the processes that perform tasks of a study, but for those that have begun others."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "--task" in (words := process.cmdline()) and str(file) in words:
                found.append(process)
    return found


def servers_of(process):
    """Return the control services of Ray that a study has begun."""
    with contextlib.suppress(psutil.Error):
        return [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == "gcs_server"]


def test_a_study_on_ray_comes_to_the_same_table_after_kills_of_a_task_its_actor_and_who_began_it(six, tmp_path):
    pytest.importorskip("ray")
    file = written(tmp_path, SIX)
    words = ["--on", "ray", "--cores", "1"]
    process = study(file, tmp_path, *words)
    struck = wait(lambda: performing(file))[0]
    actor = struck.parent()
    assert "ray" in actor.name()
    struck.kill()

    def another_actor():
        for one in performing(file):
            with contextlib.suppress(psutil.Error):
                if (above := one.parent()) not in (None, actor):
                    return above
        return None

    wait(another_actor).kill()
    wait(lambda: len(list((tmp_path / "two" / "tasks").glob("*/result.json"))) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    finish(study(file, tmp_path, *words))
    assert table(tmp_path / "two" / "two.csv") == six
    wait(lambda: not performing(file))


def test_two_studies_on_one_machine_have_a_ray_each(tmp_path):
    pytest.importorskip("ray")
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    text = TWO.replace("[1, 2]", "[1]")
    both = [study(written(folder, text), folder, "--on", "ray", "--cores", "1") for folder in folders]

    def environment(process):
        """Return that of a study's server; a process that has just been begun has none yet."""
        for one in servers_of(process) or []:
            with contextlib.suppress(psutil.Error):
                return one.environ()
        return None

    servers = [wait(lambda process=process: environment(process)) for process in both]
    assert [server["RAY_AUTH_MODE"] for server in servers] == ["token", "token"]  # nobody else is let in
    assert servers[0]["RAY_AUTH_TOKEN"] != servers[1]["RAY_AUTH_TOKEN"]
    for process in both:
        finish(process)
    assert table(folders[0] / "two" / "two.csv") == table(folders[1] / "two" / "two.csv")
