"""Where a study's tasks are performed: shares of a machine, several at once, and what is done when one is lost or stopped."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import wmloop
from tests.test_study import TWO, finish, strike, study, table, two, written  # noqa: F401 - `two` is a fixture
from wmloop import machine
from wmloop.cli.places import sbatch_option
from wmloop.errors import Interrupted, StorageError
from wmloop.study.driver import Driver, State
from wmloop.study.file import read_study
from wmloop.study.place import LOST, NotNowError
from wmloop.study.process import Process, ThisMachine
from wmloop.study.program import perform
from wmloop.study.results import Result
from wmloop.study.share import Share, deal
from wmloop.study.task import tasks

# ---- shares


@given(
    st.sets(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 12), st.integers(0, 8), st.integers(0, 3),
    st.integers(1, 40),
)  # fmt: skip
def test_shares_are_equal_and_disjoint_and_as_many_as_there_can_be(cores, each, gpus, gpus_each, quota):
    cores, names = sorted(cores), [f"GPU-{place}" for place in range(gpus)]
    count = min(len(cores), quota)
    shares = deal(cores, count, each, names, gpus_each)
    assert all(share.size == each for share in shares)
    dealt = [core for share in shares for core in share.cores]
    assert len(dealt) == len(set(dealt))
    assert set(dealt) <= set(cores)
    assert all(len(share.cores) == (each if count == len(cores) else 0) for share in shares)
    given_out = [name for share in shares for name in share.gpus or ()]
    assert len(given_out) == len(set(given_out)) == len(shares) * gpus_each
    one_more = each * (len(shares) + 1) <= count and gpus_each * (len(shares) + 1) <= gpus
    assert not one_more
    assert len(shares) * each <= count


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system keeps no process on a core")
def test_a_process_is_kept_on_its_share_and_knows_it_and_whoever_began_it_is_not(tmp_path):
    before = os.sched_getaffinity(0)
    share = Share(1, (min(before),), ("GPU-7",))
    code = "import os; from wmloop import machine; e = os.environ;" \
           "print(sorted(os.sched_getaffinity(0)), machine.cores(), e['CUDA_VISIBLE_DEVICES'])"  # fmt: skip
    assert Process([sys.executable, "-c", code], tmp_path / "log", share).wait() == 0
    assert (tmp_path / "log").read_text() == f"[{min(before)}] 1 GPU-7\n"
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("told", "cores"),
    [({"WMLOOP_CORES": "1"}, 1), ({"SLURM_CPUS_PER_TASK": "1"}, 1), ({"WMLOOP_CORES": "", "SLURM_CPUS_PER_TASK": "0"}, None),
     ({"WMLOOP_CORES": "2", "SLURM_CPUS_PER_TASK": "1"}, 2), ({"WMLOOP_CORES": "1000000"}, None)],
)  # fmt: skip
def test_a_process_keeps_no_more_cores_busy_than_it_was_granted(told, cores, monkeypatch):
    for name in ("WMLOOP_CORES", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    there = machine.cores()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert machine.cores() == min(there, cores or there)


# ---- the driver


class Work:
    """A task that ends when the test says so."""

    def __init__(self, task):
        self.task, self.ended, self.asked = task, None, []

    def code(self):
        return self.ended

    def is_queued(self):
        return False

    def stop(self):
        self.asked.append("stop")
        self.ended = 143

    def kill(self):
        self.asked.append("kill")


class Somewhere:
    """A place for so many tasks at once; `codes` are how the attempts of a task end, the last one for ever."""

    def __init__(self, places, codes):
        self.places, self.codes, self.begun = places, codes, []

    def free(self):
        return self.places - sum(work.ended is None for work in self.begun)

    def begin(self, tasks):
        new = [Work(task) for task in tasks]
        self.begun += new
        return new

    def end_one(self):
        """End the oldest that is under way."""
        work = next(work for work in self.begun if work.ended is None)
        attempts = sum(other.task is work.task for other in self.begun)
        codes = self.codes.get(work.task.name, [0])
        work.ended = codes[min(attempts, len(codes)) - 1]
        if work.ended == 0:
            work.task.finish(Result([], {"frames": None, "minutes": None}, {}))


@pytest.fixture
def four(tmp_path, monkeypatch):
    monkeypatch.setattr("wmloop.study.driver.time.sleep", lambda seconds: None)
    return tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")


def drive(every, place, stop_at=None):
    """Have tasks performed; each look ends one, and at look `stop_at` somebody stops it all. Return the driver and the ends."""
    looks, ends, driver = [], [], Driver(every, place)

    def show():
        looks.append(sum(state.status == "running" for state in driver.states.values()))
        if stop_at is None or len(looks) < stop_at:
            place.end_one()

    place.told = []
    should_stop = lambda: stop_at is not None and len(looks) >= stop_at  # noqa: E731
    driver.run(should_stop, show, lambda task: ends.append(task.name), place.told.append)
    return driver, ends, looks


@pytest.mark.parametrize("places", [1, 2, 3, 9])
def test_tasks_are_begun_in_their_order_as_many_at_once_as_there_is_room_for(four, places):
    place = Somewhere(places, {})
    driver, ends, looks = drive(four, place)
    assert [work.task for work in place.begun] == four
    assert ends == [task.name for task in four]
    assert max(looks) == min(places, 4)
    assert set(driver.states.values()) == {State("done")}
    assert drive(four, again := Somewhere(places, {}))[0].states == driver.states
    assert again.begun == []


def test_a_task_whose_process_was_lost_is_begun_again_and_given_up_in_the_end(four):
    place = Somewhere(2, {"A-1": [LOST, LOST, 0], "B-2": [LOST]})
    driver, _, _ = drive(four, place)
    names = [work.task.name for work in place.begun]
    assert (names.count("A-1"), names.count("B-2"), names.count("A-2")) == (3, 3, 1)
    assert {task.name: driver.states[task] for task in four} == {
        "A-1": State("done"), "B-1": State("done"), "A-2": State("done"), "B-2": State("failed", LOST),
    }  # fmt: skip


def test_a_study_whose_task_is_lost_three_times_ends_as_shells_tell_of_a_kill(tmp_path, monkeypatch):
    class Lossy(Somewhere):
        def begin(self, tasks):
            new = super().begin(tasks)
            for work in new:
                work.ended = LOST
            return new

    monkeypatch.setattr(sys.modules["wmloop.cli.study"], "place_of", lambda *_: Lossy(9, {}))
    told = wmloop("study", written(tmp_path, TWO), "--progress", "none", runs=tmp_path)
    assert told.exit_code == 137, told.output
    assert "A-1 ended with exit code 137" in " ".join(told.stderr.split())


def test_where_its_place_takes_no_task_now_those_under_way_go_on_and_it_is_asked_again(four, monkeypatch):
    clock = itertools.count(0.0, 10.0)
    monkeypatch.setattr("wmloop.study.driver.time.monotonic", lambda: next(clock))

    class Refusing(Somewhere):
        refusals = 1

        def begin(self, tasks):
            if self.begun and self.refusals:
                self.refusals -= 1
                raise NotNowError("the scheduler does not answer")
            return super().begin(tasks)

    with pytest.raises(NotNowError, match="does not answer"):  # where none is under way
        drive(four, Refusing(1, {"A-1": [LOST, 0]}))

    place = Refusing(2, {"A-1": [LOST, 0]})
    driver, _, _ = drive(four, place)
    assert place.refusals == 0
    assert place.told == ["the scheduler does not answer"]
    assert set(driver.states.values()) == {State("done")}
    assert [work.asked for work in place.begun] == [[]] * 5


def test_one_that_fails_leaves_the_others_but_none_is_begun_where_the_disk_is_full(four):
    driver, _, _ = drive(four, Somewhere(1, {"A-1": [4]}))
    assert [driver.states[task].status for task in four] == ["failed", "done", "done", "done"]
    place = Somewhere(1, {"A-1": [StorageError.exit_code]})
    driver, _, _ = drive([four[0]], place)
    assert driver.states[four[0]] == State("failed", 74)


def test_where_the_disk_is_full_none_is_begun_any_more(four):
    driver, _, _ = drive(four, Somewhere(2, {"B-1": [StorageError.exit_code]}))
    assert [driver.states[task].status for task in four] == ["done", "failed", "done", "waiting"]


def test_a_task_whose_result_is_there_fails_nothing_though_its_disk_did_not_confirm_that(four):
    class Unsure(Somewhere):
        def end_one(self):
            super().end_one()
            for work in self.begun:
                if work.ended == 0 and work.task.name == "A-1":
                    work.ended = StorageError.exit_code

    driver, _, _ = drive(four, Unsure(1, {}))
    assert [driver.states[task].status for task in four] == ["done"] * 4


def test_one_that_was_lost_is_not_begun_again_where_the_disk_is_full(four):
    driver, _, _ = drive(four, Somewhere(2, {"A-1": [StorageError.exit_code], "B-1": [LOST]}))
    assert [driver.states[task].status for task in four] == ["failed", "waiting", "waiting", "waiting"]


def test_who_stops_it_stops_all_that_is_under_way_once_and_begins_no_more(four):
    place = Somewhere(2, {})
    driver, _, _ = drive(four, place, stop_at=2)
    assert [work.asked for work in place.begun] == [[], ["stop"], ["stop"]]
    assert [driver.states[task].status for task in four] == ["done", "waiting", "waiting", "waiting"]


def test_what_is_under_way_is_asked_to_save_where_a_fault_ends_the_driver(four):
    place = Somewhere(2, {})

    def fault():
        raise StorageError("full")

    with pytest.raises(StorageError):
        Driver(four, place).run(lambda: False, fault, lambda task: None)
    assert [work.asked for work in place.begun] == [["stop"], ["stop"]]


def test_this_machine_has_room_again_as_soon_as_a_process_has_ended(tmp_path):
    (tmp_path / "tasks").mkdir()
    every = tasks(read_study(written(tmp_path, TWO)), tmp_path / "two")
    for task in every:
        task.begin()
    here = ThisMachine(lambda task: [sys.executable, "-c", "input()"], [Share(1), Share(1)])
    first, second = here.begin(every[:2])
    assert (here.free(), here.begin(every[2:])) == (0, [])
    second.stop()
    assert second.wait() == -signal.SIGTERM
    assert here.free() == 1
    (third,) = here.begin(every[2:])
    assert here.free() == 0
    for process in (first, third):
        process.kill()
        assert process.wait() == LOST
    assert here.free() == 2


def asleep(pid):
    """Tell whether a process is there that has not ended."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait(happened, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def test_a_program_in_a_shell_has_the_time_to_save_and_is_not_left_behind(tmp_path):
    saves = "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), open(sys.argv[1], 'w')," \
            " sys.exit(0))); open(sys.argv[2], 'w').write(str(os.getpgrp())); time.sleep(60)"  # fmt: skip
    saved, began = tmp_path / "saved", tmp_path / "began"
    (tmp_path / "run.sh").write_text(f'"{sys.executable}" -c "{saves}" "{saved}" "{began}" &\nwait\n')
    row = f'[[row]]\nname = "A"\ncommand = "sh {tmp_path}/run.sh {{to}}"\n'
    text = f'name = "two"\nseeds = [1]\nframes = 1\nepisodes = 1\n{row}'
    (task,) = tasks(read_study(written(tmp_path, text)), tmp_path / "two")
    task.begin()
    with pytest.raises(Interrupted):
        perform(task, began.exists)
    assert saved.exists()
    assert not machine.has_group(int(began.read_text()))
    assert not (task.place / "program.json").exists(), "its number may be another's by the next attempt"


def test_what_a_program_leaves_behind_when_it_ends_is_ended_too(tmp_path):
    began = tmp_path / "began"
    stays = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    (tmp_path / "run.sh").write_text(
        f'"{sys.executable}" -c "{stays}" "{began}" &\nwhile [ ! -s "{began}" ]; do sleep 0.05; done\nexit 3\n'
    )
    row = f'[[row]]\nname = "A"\ncommand = "sh {tmp_path}/run.sh {{to}}"\n'
    text = f'name = "two"\nseeds = [1]\nframes = 1\nepisodes = 1\n{row}'
    (task,) = tasks(read_study(written(tmp_path, text)), tmp_path / "two")
    task.begin()
    with pytest.raises(Exception, match="exit code 3"):
        perform(task, lambda: False)
    assert not asleep(int(began.read_text()))


def test_who_ends_a_process_at_once_ends_what_it_has_begun_in_sessions_of_their_own_too(tmp_path):
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True);" \
           "print(p.pid, flush=True); p.wait()"  # fmt: skip
    process = Process([sys.executable, "-c", code, STUBBORN], tmp_path / "log")
    wait(lambda: (tmp_path / "log").read_text().endswith("\n"))
    begun = int((tmp_path / "log").read_text())
    assert asleep(begun)
    process.kill()
    assert process.wait() == LOST
    wait(lambda: not asleep(begun))


def test_the_program_of_a_task_whose_process_was_lost_is_ended_also_where_the_task_is_given_up(four):
    program = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True)
    task = four[0]
    task.begin()
    note = {"pid": program.pid, "born": machine.born(program.pid)}
    (task.place / "program.json").write_text(json.dumps(note))
    drive([task], Somewhere(1, {task.name: [LOST]}))
    assert program.wait(20) == LOST


# ---- the command


@pytest.fixture
def one_core_each():
    if machine.cores() < 2:
        pytest.skip("there is one core")


@pytest.mark.usefixtures("one_core_each")
def test_several_at_once_come_to_the_same_table_also_after_kills(two, tmp_path):  # noqa: F811
    folder, _, _ = two
    file = written(tmp_path, TWO)
    words = ["--cores", "1"]

    def programs():
        return set((tmp_path / "two" / "tasks").glob("*/scores-*"))

    for whom in ("study", "task"):
        before = programs()
        assert strike(file, tmp_path, whom, lambda before=before: programs() - before, *words)
    finish(study(file, tmp_path, *words))
    assert table(tmp_path / "two" / "two.csv") == table(folder / "two.csv")


@pytest.mark.usefixtures("one_core_each")
def test_ctrl_c_stops_all_that_is_under_way(two, tmp_path):  # noqa: F811
    folder, _, _ = two
    file = written(tmp_path, TWO)
    process = study(file, tmp_path, "--cores", "1")
    seen = set()
    for line in process.stdout:
        seen |= set(re.findall(r"[AB]-[12]", line))
        if len(seen) == 2:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"wmloop study {file} --cores 1 --runs {tmp_path}" in output
    finish(study(file, tmp_path))
    assert table(tmp_path / "two" / "two.csv") == table(folder / "two.csv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cores", "100000"], "each run would need 100000 cores; this machine has"),
        (["--gpus", "64"], "and 64 GPUs"),
        (["--slurm", "time=5"], "only --on slurm"),
        (["--gpus", "100000", "--cores", "1"], "each run would need 1 core and 100000 GPUs; this machine has"),
        (["--on", "slurm", "--slurm", "=5"], "OPTION=VALUE"),
        (["--on", "slurm", "--slurm", "requeue"], "--slurm requeue is the study's own"),
    ],
)
def test_a_place_that_cannot_be_had_is_refused_before_anything_is_begun(words, said, tmp_path):
    refused = wmloop("study", written(tmp_path, TWO), *words, runs=tmp_path)
    assert refused.exit_code == 2, refused.output
    assert said in " ".join(refused.stderr.split())
    assert not (tmp_path / "two").exists()


def test_an_option_of_sbatch_may_have_no_value():
    assert dict(map(sbatch_option, ("exclusive", "time=5", "--mem=8G", "nice="))) == {
        "exclusive": True, "time": "5", "mem": "8G", "nice": "",
    }  # fmt: skip


def test_the_page_names_the_options_that_decide_how_long_its_minutes_are(tmp_path):
    file = written(tmp_path, TWO)
    assert wmloop("study", file, "--page-only", "--cores", "3", runs=tmp_path).exit_code == 0
    assert f"wmloop study {file} --cores 3 --runs {tmp_path}\n" in (tmp_path / "two" / "two.md").read_text()


def test_a_place_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("wmloop.cli.places.importlib.util.find_spec", lambda name: None)
    for on, package in (("ray", "ray"), ("slurm", "submitit")):
        refused = wmloop("study", written(tmp_path, TWO), "--on", on, runs=tmp_path)
        assert refused.exit_code == 2
        assert f"--on {on} needs {package}: pip install 'wmloop[{on}]'" in " ".join(refused.stderr.split())
