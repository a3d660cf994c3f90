"""Signals and streams as shells, `timeout`, containers and terminals that go away really send and leave them."""

import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

from tests.test_interruptions import launch
from tests.tiny_env import tiny_config
from wmloop import signals
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.store import Store

ROOT = Path(__file__).parent.parent
WMLOOP = [sys.executable, "-m", "wmloop"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "WMLOOP_RUNS")} | {
    "OMP_NUM_THREADS": "1",
    "TERM": "xterm-256color",
    "PYTHONUTF8": "1",
}


def tiny_toml(path, first_steps):
    """Write the settings of a run of one iteration, in which M learns for so many steps, and return their file."""
    settings = tiny_config() | {"budget": {"iterations": 1}, "seed": 7}
    settings["memory"] = settings["memory"] | {"initial_steps": first_steps}
    path.write_text(to_toml(build_config("smoke", settings)))
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Return the folder of a run that was stopped while M learnt, the exit code and what was printed.

    The signal came to the process group, and again to the process: as from `timeout`, or Ctrl-C under `make`.
    """
    runs = tmp_path_factory.mktemp("stopped")
    process = launch(["start", "tiny", "--config", str(tiny_toml(runs / "tiny.toml", 20_000))], runs)
    for line in process.stdout:
        if "0000/memory  started" in line:
            break
    os.killpg(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    return runs, process.returncode, output


# ---- requests


def test_a_request_that_comes_as_several_signals_is_one_and_all_is_saved(stopped):
    runs, code, output = stopped
    assert code == 143, output
    assert output.count("SIGTERM: saving memory of iteration 0, then stopping") == 1
    assert "0000/memory  snapshot at" in output
    assert f"wmloop resume tiny --runs {runs}  # continue\n" in output
    assert Store.open(runs / "tiny").verify() == []


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGUSR1, 128 + signal.SIGUSR1), (signal.SIGUSR2, 128 + signal.SIGUSR2)]
)
def test_a_time_limit_announced_to_every_process_of_a_job_saves(tmp_path, signum, code):
    process = launch(["start", "tiny", "--config", str(tiny_toml(tmp_path / "tiny.toml", 20_000))], tmp_path)
    for line in process.stdout:
        if "0000/memory  started" in line:
            break
    whole = psutil.Process(process.pid)
    for one in [*whole.children(recursive=True), whole]:  # as Slurm does, the workers first
        one.send_signal(signum)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert "0000/memory  snapshot at" in output
    assert Store.open(tmp_path / "tiny").verify() == []


def test_an_announcement_makes_a_request_but_never_insists_on_one(monkeypatch):
    request, now = signals.Request(), time.monotonic()
    assert request.first(signal.SIGUSR2)
    assert not request.first(signal.SIGTERM)
    monkeypatch.setattr("wmloop.signals.time.monotonic", lambda: now + 100)
    told = {one: request.insisted(one) for one in signals.NAMES}
    assert told == {one: one not in (signal.SIGUSR1, signal.SIGUSR2) for one in signals.NAMES}


STUBBORN = """
import sys, time, hashlib
from wmloop import signals
from wmloop.cli.session import Stop
signals.SAME_SECONDS = 1.0
with Stop(lambda signum: print("first", signum, flush=True), lambda signum: print("later", signum, flush=True)) as stop:
    print("ready", "torch" in sys.modules, flush=True)
    {work}
"""


@contextlib.contextmanager
def ended(process):
    """End a process that would wait or work for ever, also where the test fails."""
    try:
        yield
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("ignored", "number", "work"),
    [
        (signal.SIGHUP, signal.SIGINT, "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)"),  # nohup, and deep in C
        (signal.SIGPIPE, signal.SIGHUP, "time.sleep(60)"),
    ],
)
def test_signals_soon_after_the_first_belong_to_it_and_a_later_one_ends_at_once(ignored, number, work):
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(work=work)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(ignored, signal.SIG_IGN),
    )  # fmt: skip
    with process, ended(process):
        assert process.stdout.readline() == "ready False\n"
        process.send_signal(ignored)
        process.send_signal(number)
        assert process.stdout.readline() == f"first {int(number)}\n"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        time.sleep(max(0.0, begun + 1.6 - time.monotonic()))
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        assert process.wait(20) == 128 + signal.SIGTERM
        assert time.monotonic() - sent < 10
        assert process.stdout.read() == f"later {int(signal.SIGTERM)}\n"


LOADING = """
import os, signal, sys
module, number = sys.argv.pop(1), int(sys.argv.pop(1))
class Signal:
    def find_spec(self, name, *_):
        if name == module:
            print("process", os.getpid(), flush=True)
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Signal())
from wmloop.__main__ import main
main()
"""
FIRST = ["unshare", "--pid", "--fork", "--kill-child"]  # with a number of its own, as the first process of a container


@pytest.mark.parametrize(
    ("module", "number", "before"),
    [
        ("typer", signal.SIGINT, []),
        ("pydantic", signal.SIGHUP, []),
        ("torch.nn", signal.SIGTERM, []),
        ("torch.nn", signal.SIGTERM, FIRST),
        ("wmloop.loop", signal.SIGTERM, []),  # by then there is a run, and it is locked
    ],
)
def test_a_signal_that_comes_while_modules_load_ends_the_process_and_leaves_nothing(tmp_path, module, number, before):
    if before and (
        not shutil.which("unshare") or subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("only root may make a process the first one")
    settings, temporary = tiny_toml(tmp_path / "tiny.toml", 20_000), tmp_path / "temporary"
    temporary.mkdir()
    words = ["start", "tiny", "--config", str(settings), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(
        [*before, sys.executable, "-c", LOADING, module, str(int(number)), *words], capture_output=True, text=True,
        cwd=ROOT, env=ENVIRONMENT | {"TMPDIR": str(temporary)}, check=False,
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    assert done.stdout.splitlines()[0] == f"process {1 if before else done.stdout.split()[1]}"
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []
    assert [path.name for path in tmp_path.glob("runs/*")] == (["tiny"] if module == "wmloop.loop" else [])
    assert list(tmp_path.glob("runs/tiny/lock.json")) == []


# ---- terminals


class Shell:
    """A shell with job control on a terminal of its own, and somebody who types; at the end the terminal is gone."""

    def __init__(self, folder):
        self._person, terminal = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder,
            env=ENVIRONMENT | {"PS1": "shell> ", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(terminal)
        self._unread = b""

    def type(self, text):
        os.write(self._person, text.encode())

    def await_text(self, *wanted):
        """Read until all of `wanted` came, in any order, and return what came up to then."""
        deadline = time.monotonic() + 60
        while not all(text.encode() in self._unread for text in wanted):
            assert time.monotonic() < deadline, f"{wanted!r} never came: {self._unread[-2000:]!r}"
            if select.select([self._person], [], [], 0.1)[0]:
                self._unread += os.read(self._person, 65536)
        end = max(self._unread.index(text.encode()) + len(text) for text in wanted)
        before, self._unread = self._unread[:end], self._unread[end:]
        return before.decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._person)
        self.process.wait(30)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs a shell with job control")
def test_ctrl_z_gives_the_terminal_back_until_the_run_goes_on_and_one_that_is_gone_saves_it(stopped, tmp_path):
    shutil.copytree(stopped[0] / "tiny", tmp_path / "runs" / "tiny")
    code = (
        "import json, signal, subprocess, sys\n"
        "signal.signal(signal.SIGHUP, lambda *_: None)\n"
        "code = subprocess.call([sys.executable, '-m', 'wmloop', 'resume'], stderr=open('stderr', 'w'))\n"
        "json.dump(code, open('code', 'w'))\n"
    )
    (tmp_path / "follow.py").write_text(code)
    deadline = time.monotonic() + 60
    with Shell(tmp_path) as shell:
        shell.await_text("shell> ")
        shell.type(f"{sys.executable} follow.py\n")
        for _ in range(2):
            shell.await_text("\x1b[?1049h")
            shell.type("\x1a")
            shell.await_text("\x1b[?25h\x1b[?1049l", "Stopped", "shell> ")
            pid = json.loads((tmp_path / "runs" / "tiny" / "lock.json").read_text())["pid"]
            while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # the shell speaks of its own child
                assert time.monotonic() < deadline
                time.sleep(0.05)
            shell.type("bg; sleep 0.5; echo $((20 + 3))\n")  # in the background the screen is the shell's
            assert "\x1b[?1049h" not in shell.await_text("23\r\n") + shell.await_text("shell> ")
            shell.type("fg\n")
        shell.await_text("\x1b[?1049h")
    deadline = time.monotonic() + 60
    while not (tmp_path / "code").exists() or not (tmp_path / "code").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads((tmp_path / "code").read_text()) == 129
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    store = Store.open(tmp_path / "runs" / "tiny")
    *_, last = store.journal.events()[0]
    assert (last["event"], last["reason"]) == ("RunFinished", "interrupted")
    assert store.verify() == []


# ---- streams


def test_a_run_without_streams_or_with_full_ones_trains_to_its_end_and_prints_into_no_file(tmp_path):
    settings = tiny_toml(tmp_path / "tiny.toml", 10)
    command = [*WMLOOP, "start", "tiny", "--config", str(settings), "--progress", "plain", "--runs", str(tmp_path)]
    redirected = ["sh", "-c", 'exec "$@" <&- >/dev/full 2>&-', "sh", *command]
    assert subprocess.run(redirected, cwd=ROOT, env=ENVIRONMENT, check=False).returncode == 0
    store = Store.open(tmp_path / "tiny")
    assert [version.stage for version in store.versions()][-1] == "evaluate"
    assert store.verify() == []
    assert (store.path / "lock").read_bytes() == b""
    for line in (store.path / "events.jsonl").read_text().splitlines():
        json.loads(line)


@pytest.mark.parametrize(
    ("words", "streams", "code", "said"),
    [
        (["--help"], ">/dev/full", 74, "No space left"),
        (["config"], ">/dev/full", 74, "No space left"),
        (["--help"], "<&- >&- 2>&-", 0, ""),
        (["runs"], ">&-", 0, "there are no runs"),
        (["log", "demo"], ">&-", 0, ""),
        (["log", "nowhere"], "2>/dev/full", 2, ""),
        (["log", "nowhere"], ">&- 2>&-", 2, ""),
    ],
)
def test_a_stream_that_is_closed_or_full_ends_no_command_in_a_traceback(tmp_path, words, streams, code, said):
    redirected = ["sh", "-c", f'exec "$@" {streams}', "sh", *WMLOOP, *words]
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(redirected, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# ---- a second writer


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["resume", "tiny"], 75, "is being written by process"),
        (["prune", "tiny"], 75, "is being written by process"),
        (["start", "tiny", "--preset", "smoke"], 2, "there is a run 'tiny' in"),
        (["resume", "tiny", "--from", "0", "--as", "tiny"], 2, "there is a run 'tiny' in"),
    ],
)
def test_a_run_that_cannot_be_had_is_refused_before_torch_loads(tmp_path, words, code, said):
    store = Store.create(tmp_path, "tiny", to_toml(build_config("smoke", tiny_config())), {})
    timed = [sys.executable, "-X", "importtime", "-m", "wmloop", *words, "--runs", str(tmp_path)]
    with store.lock():
        done = subprocess.run(timed, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, check=False)
    assert done.returncode == code, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "wmloop.store" in loaded
    assert not {"torch", "gymnasium"} & loaded
    last = done.stderr.splitlines()[-1]
    assert said in last
