"""Every task by its id alone, at the command line: all that works for CarRacing works for each."""

import contextlib
import html
import json
import math
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.commands import wmloop
from tests.processes import Process
from tests.test_loop import hashes
from wmloop.config import build_config
from wmloop.config.presets import package_of
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store

ITERATIONS = 2
#: The least of which everything can be made: the settings of an environment itself are its profile's.
LEAST = """\
[env]
num_envs = 2
episode_frames = 32
[rollout]
prefill = [[4, 10]]
frames = 64
[vision]
initial_images = 64
finetune_images = 32
batch_size = 16
[memory]
hidden_size = 32
sequence_length = 8
batch_size = 8
initial_steps = 10
train_steps = 5
[dream]
num_dreams = 16
horizon = 5
[controller]
initial_updates = 2
updates = 2
minibatch_size = 40
[evaluate]
episodes = 2
confirm_episodes = 2
"""


class Task(NamedTuple):
    """An environment, what of it is set, how many numbers are observed (None: a picture) and decided (None: a choice)."""

    id: str
    numbers: int | None
    box: int | None
    settings: Sequence[str] = ()


TASKS = {
    "CartPole": Task("CartPole-v1", 4, None),
    "CartPole drawn": Task("CartPole-v1", None, None, ["env.pixels=true"]),
    "Pendulum": Task("Pendulum-v1", 3, 1),
    "LunarLander": Task("LunarLander-v3", 8, None),
    "LunarLander drawn": Task("LunarLander-v3", None, 2, ["env.kwargs.continuous=true", "env.pixels=true"]),
    "CarRacing": Task("CarRacing-v3", None, 3),
}
#: Those of packages that may not be here.
GUESTS = {
    "Doom": Task("VizdoomTakeCover-v1", None, None),
    "Pong": Task("ALE/Pong-v5", None, None),
    "MiniGrid": Task("MiniGrid-MemoryS9-v0", None, None),
}
ALL = TASKS | GUESTS
#: Those tried in `make test`, which does what README shows with CarRacing (tests/test_docs.py); all others in `make slow`.
ALWAYS = ("CartPole", "Pendulum", "LunarLander drawn")


def each(*always: str) -> pytest.MarkDecorator:
    """Try every task, each on its own desk: `always` those that are named, and guests where they are."""
    tasks = [pytest.param(name, marks=[pytest.mark.slow] * (name not in [*always, *GUESTS])) for name in ALL]
    return pytest.mark.parametrize("desk", tasks, indirect=True, scope="module")


class Desk(NamedTuple):
    """The folder in which somebody works on a task, with the settings that make preset smoke smaller still, if any."""

    folder: Path
    task: Task
    settings: Path | None

    def start(self, name: str) -> list[str]:
        """Return the words that begin a run which others can be compared with."""
        chosen = ["precision=fp32", *self.task.settings]
        file = [] if self.settings is None else ["--config", str(self.settings)]
        return [
            "start", name, "--env", self.task.id, "--preset", "smoke", "--iterations", f"{ITERATIONS}", "--seed", "7",
            "--threads", "1", *file, *(word for one in chosen for word in ("--set", one)),
        ]  # fmt: skip

    def wmloop(self, *words: str, makes: str | None = None) -> Any:
        """Run a command in the folder: it leaves nothing there but `makes`, and no process."""
        before = set(self.folder.iterdir())
        with contextlib.chdir(self.folder), pytest.MonkeyPatch.context() as patch:
            patch.delenv("WMLOOP_RUNS", raising=False)
            done = wmloop(*words)
        assert done.exit_code == 0, done.output
        assert set(self.folder.iterdir()) == before | ({self.folder / makes} if makes else set())
        assert self.left() == []
        return done

    def processes(self) -> list[psutil.Process]:
        """Return the processes at work in the folder, but for this one and the servants that it keeps for all commands."""
        own, found = psutil.Process(), list[psutil.Process]()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder) and own.pid not in (process.pid, process.ppid()):
                    found.append(process)
        return found

    def left(self) -> list[psutil.Process]:
        """Return the processes that do not end."""
        deadline = time.monotonic() + 60
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def store(self, name: str) -> Store:
        return Store.open(self.folder / "runs" / name)


def begun(folder: Path, task: Task, settings: Path | None) -> Desk:
    """Return the desk of a task with a run, `whole`, that was begun and done in one go."""
    if (package := package_of(task.id)) is not None:
        pytest.importorskip(package.module.partition(".")[0])
    desk = Desk(folder, task, settings)
    desk.wmloop(*desk.start("whole"), makes="runs")
    return desk


@pytest.fixture(scope="module")
def desk(request, tmp_path_factory):
    """Return the desk of the task that is asked for, where all is small."""
    least = tmp_path_factory.mktemp("settings") / "least.toml"
    least.write_text(LEAST)
    return begun(tmp_path_factory.mktemp("desk"), ALL[request.param], least)


def check_training(desk: Desk) -> None:
    """Assert that V, M and C of both iterations are there, each trained and scored."""
    store = desk.store("whole")
    versions = {(version.iteration, version.stage): version for version in store.versions()}
    assert [*versions] == [(i, stage.name) for i in range(ITERATIONS) for stage in WORLD_MODEL.stages]
    for i in range(ITERATIONS):
        assert versions[i, "rollout"].metrics["frames"] > 0
        assert math.isfinite(versions[i, "controller"].metrics["dream_return"])
        assert math.isfinite(versions[i, "evaluate"].metrics["score"])
    trained = {"vision": "model", "memory": "model", "controller": "actor"}
    if desk.task.numbers is not None:  # vectors are measured once, before there is any
        del trained["vision"]
        assert len({versions[i, "vision"].files["model.safetensors"].sha256 for i in range(ITERATIONS)}) == 1
    for stage, file in trained.items():
        before, after = (versions[i, stage].tensors(f"{file}.safetensors") for i in range(ITERATIONS))
        assert any((before[name] != after[name]).any() for name in before), stage


@each(*ALWAYS)
def test_v_m_and_c_are_trained_twice_on_real_episodes_and_scored(desk):
    check_training(desk)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_id_and_preset_smoke_are_all_that_a_run_needs(name, tmp_path):
    check_training(begun(tmp_path, ALL[name], None))


@each("CartPole", "LunarLander drawn")
def test_stopped_among_its_copies_and_taken_up_it_is_the_run_that_was_never_stopped(desk):
    command = [*desk.start("torn"), "--progress", "plain"]
    environment = {name: value for name, value in os.environ.items() if name != "WMLOOP_RUNS"}
    with Process(command, environment, merged=True, folder=desk.folder) as process:
        assert any("0001/rollout  started" in line for line in process.stdout)
        process.send_signal(signal.SIGSTOP)  # so that it gets no further meanwhile
        at_work = desk.processes()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert len(at_work) > 1, "no process was found that could have been left"
    assert desk.left() == []
    assert (1, "evaluate") not in {(version.iteration, version.stage) for version in desk.store("torn").versions()}
    desk.wmloop("resume", "torn")
    assert hashes(desk.store("torn")) == hashes(desk.store("whole"))


@each(*ALWAYS)
def test_both_worlds_are_played_into_a_file(desk):
    av = pytest.importorskip("av")
    repeat = build_config("smoke", {"env": {"id": desk.task.id}}).env.action_repeat
    for place in ("real", "dream"):
        film = f"{place}.mp4"
        played = desk.wmloop("play", "whole", "--in", place, "--to", film, "--seed", "1", makes=film)
        (frames,) = map(int, re.findall(rf"\({place}, environment seed \d+\).* (\d+) frames", played.stdout))
        with av.open(str(desk.folder / film)) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(shown) == math.ceil(frames / repeat) + 1 > 1
        assert all(picture.std() > 0 for picture in shown)
        assert place == "dream" or (shown[0] != shown[-1]).any()


@each("CartPole")
def test_the_report_has_plots_of_what_is_seen_and_decided(desk):
    desk.wmloop("report", "whole")
    page = html.unescape((desk.folder / "runs" / "whole" / "report.html").read_text())
    parts = dict(re.findall(r"<h[23][^>]*>(.*?)</h[23]>(.*?)(?=<h[23]|$)", page, re.S))
    assert parts["Learning"].count("<svg") > 2
    assert set(re.findall(r">(action \d+)<", parts["Watch it"])) == {f"action {i}" for i in range(desk.task.box or 0)}
    vectors = ("The observed vector, one agent step ahead", "The observed vector, open loop")
    pictures = ("V's reconstructions", "One agent step ahead", "Open loop")
    if desk.task.numbers is None:
        assert all("<img" in parts[heading] for heading in ("Watch it", *pictures))
        assert parts.keys().isdisjoint(vectors)
    else:
        assert "<img" not in page
        assert parts.keys().isdisjoint(pictures)
        assert parts[vectors[0]].count("<tr") == 1 + desk.task.numbers
        assert "<svg" in parts[vectors[1]]


@each(*ALWAYS)
def test_an_agent_that_goes_out_and_comes_in_scores_the_same_and_every_byte_is_right(desk):
    desk.wmloop("export", "whole", "--to", "agent.safetensors", makes="agent.safetensors")
    desk.wmloop("import", "agent.safetensors", "guest")
    scored = [desk.wmloop("eval", name, "--episodes", "2", "--json").stdout for name in ("whole", "guest")]
    first, second = (json.loads(told)["tracks"] for told in scored)
    assert first == second
    assert len(first) == 2
    for name in ("whole", "guest"):
        assert "every byte matches its hash" in desk.wmloop("verify", name).stdout
