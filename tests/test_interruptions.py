"""Stopped anywhere, by any signal, and resumed: the run is the one that was never stopped, bit for bit."""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.processes import ROOT, Process
from wmloop.store import Store

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


def launch(arguments, runs):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return Process([*arguments, "--runs", runs, "--progress", "plain"], environment, merged=True)


def finish(arguments, runs):
    return end_of(launch(arguments, runs))


def end_of(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def timed_finish(arguments, runs):
    """Run to the end; return the seconds it took: fast machines are struck earlier than slow ones."""
    process = launch(arguments, runs)
    begun = time.monotonic()  # only now: what the first process is forked from had to be started
    end_of(process)
    return time.monotonic() - begun


def hashes(runs, name):
    store = Store.open(runs / name)
    assert store.verify() == []
    return {f"{v.name}/{file}": record.sha256 for v in store.versions() for file, record in v.files.items()}


def interrupt_until_done(begin, name, runs, signals, longest, most, chance):
    """Begin the run and stop it after a random time, again and again; return which signals really struck.

    `longest` (seconds) is well below what the whole run takes on this machine, or the first strike may come too late.
    """
    struck, command = [], begin
    while len(struck) < most:
        process = launch(command, runs)
        try:
            output, _ = process.communicate(timeout=chance.uniform(0.2 * longest, longest))
        except subprocess.TimeoutExpired:
            chosen = signals[len(struck) % len(signals)]
            process.send_signal(chosen)
            output, _ = process.communicate(timeout=120)
            if process.returncode != 0:
                # a signal that strikes while Python itself is loading ends it as it ends any program
                assert process.returncode in (CODES[chosen], -chosen), output
                if (runs / name / "config.toml").exists():
                    struck.append(chosen)
                    command = ["resume", name]
                continue
        assert process.returncode == 0, output
        return struck
    finish(["resume", name], runs)
    return struck


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_smoke_preset_on_the_real_carracing_ends_as_the_uninterrupted_one(tmp_path, signum):
    begin = ["--preset", "smoke", "--seed", "0", "--threads", "2", "--set", "precision=fp32"]
    seconds = timed_finish(["start", "whole", *begin], tmp_path)
    longest = 0.35 * seconds  # three strikes at least before the end
    struck = interrupt_until_done(
        ["start", "torn", *begin], "torn", tmp_path, [signum], longest, 8, random.Random(signum)
    )
    assert len(struck) >= 3
    assert hashes(tmp_path, "torn") == hashes(tmp_path, "whole")
