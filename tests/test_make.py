"""`make start`: what it calls, with a stand-in for wmloop that notes how it was called."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
#: Notes its arguments and makes a run; saves on Ctrl-C as wmloop does, for a moment, and exits with 130; fails when asked.
STAND_IN = """#!/bin/sh
echo "$*" >> calls
test "$1" = start && mkdir -p runs/"$2"
case "$*" in
    *--wait*) trap 'sleep 0.3; echo saved >> calls; exit 130' INT; touch waiting; while :; do sleep 0.05; done ;;
    *--fail*) exit 3 ;;
esac
"""


@pytest.fixture
def place(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/wmloop").write_text(STAND_IN)
    (tmp_path / ".venv/bin/wmloop").chmod(0o755)
    (tmp_path / ".venv/.installed").touch()
    return tmp_path


def environment():
    """Return an environment in which make speaks English."""
    return {"LC_ALL": "C.UTF-8"} | {
        name: value
        for name, value in os.environ.items()
        if name not in ("WMLOOP_RUNS", "MAKEFLAGS", "MAKELEVEL", "ARGS", "LC_ALL", "LANGUAGE")
    }


def make_start(place, arguments):
    command = ["make", "start", f"ARGS={arguments}"]
    return subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "begun", "name"),
    [
        ("", "start my-run --or-resume", "my-run"),
        ("--preset smoke", "start my-run-preset-smoke --or-resume --preset smoke", "my-run-preset-smoke"),
        ("mine --hours 1", "start mine --or-resume --hours 1", "mine"),
        (
            "--set 'memory.hidden_size=512'",
            "start {} --or-resume --set memory.hidden_size=512",
            "my-run-set-memory.hidden-size-512",
        ),
    ],
)
def test_the_same_command_again_goes_on_with_its_run(place, arguments, begun, name):
    for _ in range(2):
        assert make_start(place, arguments).returncode == 0
    assert (place / "calls").read_text().splitlines() == 2 * [begun.format(name)]


def test_other_options_begin_another_run(place):
    make_start(place, "--preset smoke")
    make_start(place, "")
    assert {path.name for path in (place / "runs").iterdir()} == {"my-run-preset-smoke", "my-run"}


def test_a_failure_is_one_of_make_too(place):
    done = make_start(place, "--fail")
    assert done.returncode == 2
    assert "Error 3" in done.stderr


def test_ctrl_c_waits_until_all_is_saved_and_is_no_error(place):
    with subprocess.Popen(
        ["make", "start", "ARGS=--wait"], cwd=place, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        while not (place / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert (place / "calls").read_text().splitlines()[-1] == "saved"
    assert "***" not in output
