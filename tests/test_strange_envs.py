"""Other people's environments: each habit of tests/strange_envs.py is driven rightly, told, or refused in words."""

from __future__ import annotations

import functools
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import psutil
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import Made
from tests.processes import ROOT, Process, workers
from tests.strange_envs import STRANGE, ScalesInPlace, strange
from tests.test_interruptions import hashes, interrupt_until_done, launch, timed_finish
from tests.test_loop import configure, perform
from tests.tiny_env import MAX_STEPS, SIZE, TinyDrive, tiny_config
from wmloop.cli import app
from wmloop.config import EnvConfig, build_config
from wmloop.config.text import to_toml
from wmloop.envs import EnvPool, RealEnv, RemoteEnv, check_environment
from wmloop.envs import workers as workers_module
from wmloop.envs.examine import examine
from wmloop.errors import DivergedError, EnvironmentFailedError, UsageError
from wmloop.store import Store

TINY = build_config("smoke", tiny_config()).env


@pytest.fixture(autouse=True)
def _global_generators() -> None:
    """Seed what the careless ones draw from: two of their copies differ visibly on every run of the tests."""
    random.seed(0)
    np.random.seed(0)


def config(name: str, **changes: Any) -> EnvConfig:
    assert changes.keys() <= EnvConfig.model_fields.keys()  # a copy would take any
    return TINY.model_copy(update={"id": strange(name), **changes})


def notes(name: str, **changes: Any) -> list[str]:
    """Return what the check says, made and driven in this process: for habits of what is returned."""
    env, other = RealEnv(config(name, **changes)), RealEnv(config(name, **changes))
    return examine(env, config(name, **changes), other, lambda seed, decision: None)


def written(layer: dict[str, Any], folder: Path) -> Path:
    """Return a file of settings over those of preset smoke."""
    path = folder / "tiny.toml"
    path.write_text(to_toml(build_config("smoke", layer)))
    return path


def hover(name: str, decisions: int = 5, **changes: Any) -> list[tuple[np.ndarray, float, bool, bool, int]]:
    env = RealEnv(config(name, **changes))
    first = env.reset(3)
    steps = [env.step(np.array([0.01, 0.04], np.float32)) for _ in range(decisions)]
    return [(first, 0.0, False, False, 0), *steps]


# ---- driven rightly


def test_an_environment_that_scales_its_action_in_place_gets_the_same_one_each_frame() -> None:
    ScalesInPlace.seen.clear()
    action = np.array([0.25, 0.4], np.float32)
    env = RealEnv(config("ScalesInPlace", action_repeat=4))
    env.reset(1)
    env.step(action)
    np.testing.assert_array_equal(ScalesInPlace.seen, [action] * 4)
    assert action.tolist() == [0.25, np.float32(0.4)]


@pytest.mark.parametrize("name", ["Doubles", "Wholes"])
def test_actions_come_in_the_dtype_and_bounds_of_the_space(name: str) -> None:
    env = RealEnv(config(name))
    env.reset(1)
    low, high = env.actions.low, env.actions.high
    for action in (low, high, np.array([-9, 9], np.float32), high * np.float32(0.6)):
        env.step(action)  # the environment insists on its space


@pytest.mark.parametrize(
    "name", ["RewardArray", "RewardScalar", "RewardInt", "RewardBool", "EndsByNumpy", "Observes", "OneBuffer", "Nested",
             "Flipped", "Grey", "Int64Pictures", "NoRenderMode", "StrangeSpeed"],
)  # fmt: skip
def test_what_is_only_unusual_is_driven_without_a_word(name: str) -> None:
    assert notes(name) == []


@pytest.mark.parametrize(
    ("name", "reward"), [("RewardArray", 0.5), ("RewardScalar", 0.5), ("RewardInt", 1.0), ("RewardBool", 1.0)]
)
def test_a_reward_may_be_any_one_number(name: str, reward: float) -> None:
    assert [step[1] for step in hover(name, 3)[1:]] == [reward] * 3


@pytest.mark.parametrize(
    "name",
    ["Floats", "FloatsTo255", "Int64Pictures", "OneBuffer", "Nested", "Observes", "MovesAway", "Signed", "ChannelsFirst",
     "DictObservation"],
)  # fmt: skip
def test_pictures_are_those_of_the_plain_environment_whatever_they_are_kept_in(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chdir", lambda _: None)  # MovesAway would move the tests
    plain = RealEnv(TINY)
    same = [plain.reset(3)]
    same += [plain.step(np.array([0.01, 0.04], np.float32))[0] for _ in range(5)]
    np.testing.assert_array_equal([step[0] for step in hover(name)], same)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("RendersFloats", (32, 32)), ("RendersAlpha", (32, 32)), ("RendersNothing", (32, 32)), ("RendersNot", (32, 32)),
     ("NoRenderMode", (32, 32)), ("RefusesRenderMode", (32, 32)),
     ("Observes", (256, 256))],
)  # fmt: skip
def test_whatever_is_rendered_people_see_a_picture(name: str, shape: tuple[int, int]) -> None:
    env = RealEnv(config(name), render_mode="rgb_array")
    env.reset(1)
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((*shape, 3), np.uint8)
    assert picture.max() > 200


def test_a_picture_that_its_user_drew_is_looked_at_as_the_run_reads_it() -> None:
    env = RealEnv(config("RendersAlpha", pixels=True))
    drawn = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 4), np.uint8)
    drawn[0, 0] = 255
    seen = env.look(drawn)
    assert (seen.shape, seen.dtype) == (env.observations.shape, env.observations.dtype)
    np.testing.assert_array_equal(env.look(drawn[..., :3]), seen)
    np.testing.assert_array_equal(env.look(drawn[..., :3] / 255), seen)


# ---- told


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("Floats", {}, "float32 in [0, 1]: they are multiplied by 255"),
        ("FloatsTo255", {}, "float64 in [0, 255]: they are rounded"),
        ("Signed", {}, "float32 in [-1, 1]: they are scaled to [0, 255] and rounded"),
        ("ChannelsFirst", {}, "their channels come first"),
        ("DictObservation", {}, "looks at the picture 'screen'"),
        ("Wholes", {}, "whole numbers (int64)"),
        ("IgnoresSeed", {}, "WARNING: the same seed and the same actions gave two different episodes"),
        ("GlobalRandomness", {}, "WARNING: the same seed and the same actions"),
        ("OneEpisode", {}, "the seeds 1 and 1073741823 and 1075741824 gave the same first 8 agent steps"),
        ("ClampsSeed", {}, "the seeds 1073741823 and 1075741824 gave the same first 8 agent steps"),
        ("DrawsAtBirth", {}, "WARNING: the same seed and the same actions"),
        ("CountsItself", {}, "WARNING: the same seed and the same actions"),
        ("RandomLater", {}, "WARNING: the same seed and the same actions"),
        ("Black", {}, "WARNING: every observation"),
        (
            "Endless",
            {},
            "declares no time limit (max_episode_steps): an episode that has not ended before is cut (truncated) after"
            f" env.episode_frames={MAX_STEPS}",
        ),
        ("Observes", {"episode_frames": 100}, f"have {MAX_STEPS} frames at most, and env.episode_frames is 100"),
        (
            "Observes",
            {"episode_frames": 20},
            f"up to {MAX_STEPS} frames, and are cut (truncated) after env.episode_frames=20",
        ),
    ],
)
def test_what_its_user_should_know_is_told(name: str, changes: dict[str, Any], words: str) -> None:
    assert any(words in note for note in notes(name, **changes)), notes(name, **changes)


def test_of_two_time_limits_the_shorter_one_is_told() -> None:
    gymnasium.register(
        "strange/TwoLimits-v0", lambda **_: gymnasium.wrappers.TimeLimit(TinyDrive(), 30), max_episode_steps=200
    )
    try:
        assert RealEnv(TINY.model_copy(update={"id": "strange/TwoLimits-v0"})).frame_limit == 30
    finally:
        del gymnasium.registry["strange/TwoLimits-v0"]


def test_an_episode_has_the_configured_frames_at_most_also_within_a_decision() -> None:
    env = RealEnv(config("Endless", action_repeat=4, episode_frames=10))
    env.reset(1)
    ends = [env.step(np.zeros(2, np.float32))[2:] for _ in range(3)]
    assert ends == [(False, False, 4), (False, False, 4), (False, True, 2)]
    env.reset(2)
    assert env.step(np.zeros(2, np.float32))[2:] == (False, False, 4)


# ---- refused


def class_line(name: str) -> int:
    return inspect.getsourcelines(STRANGE[name])[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "ZeroWidth",
            r"strange_envs\.py, line \d+\).* dimension 1 has no room for float32 between its bounds \(0.5 to 0.5\)",
        ),
        ("FloatMax", "dimension 1 has no bound"),
        ("DoubleMax", "dimension 1 has no bound"),
        ("HalfOpen", "dimension 1 has no bound"),
        ("Int64Full", "dimension 1 has no bound"),
        ("SameInFloat32", "dimension 1 has no room"),
        ("FarFromZero", "dimension 1 has no room"),
        ("Denormal", "dimension 1 has no room"),
        (
            "NoActions",
            r"has the actions Box\(\[\], \[\], \(0,\), float32\), and wmloop needs as action space a bounded Box of up to 1024",
        ),
        ("NoActionSpace", "declares no action_space"),
        ("Endlessly", r"wmloop looks at a picture \(a Box with bounds.*a vector \(a Box of up to 1024 numbers"),
        ("Stacked", r"\(32, 32, 4\), uint8\), and wmloop looks at a picture"),
        ("TwoScreens", r"two pictures, 'map' and 'screen'.*--set env\.observation=\[\"screen\"\]"),
        ("Talks", r"Text\(.*\) as 'words' \(--set env\.observation=\[\"screen\"\] leaves it out\)"),
        ("TupleObservation", r"shows Tuple\(.*--set env\.pixels=true"),
        ("Inherits", rf"strange_envs\.py, line {class_line('Inherits')}\) has the actions Text"),
        ("Actless", r"has a step .*: write `def step\(self, action\)`"),
        ("Decides", r"has the actions Dict\(.*a MultiDiscrete or MultiBinary of at most 64 combinations"),
    ],
)
def test_spaces_that_cannot_be_driven_are_refused_with_what_would_fit(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        RealEnv(config(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RewardNone", r"the reward None: it has to be one real number \(.*strange_envs\.py, line \d+\)"),
        ("RewardPair", "the reward array"),
        ("RewardText", "the reward '1.0'"),
        ("RewardComplex", "the reward 1j"),
        ("EndsByText", "terminated='False'"),
        ("EndsByNone", "terminated=None"),
        (
            "OldStep",
            r"from its step \(not enough values to unpack .expected 5, got 4.\), where gymnasium's returns \(observation",
        ),
        ("StepNone", r"from its step \(cannot unpack .*, info\) \(.*strange_envs\.py, line \d+\)"),
        ("OldReset", r"returned a ndarray from its reset, where gymnasium's returns \(observation, info\)"),
        ("FloatsBeyond", r"showed values from 0 to 240, and its pictures are to lie in \[0, 1\]"),
        ("FloatsUndeclared", "showed an array of float64, and it declares"),
        ("NanPictures", "showed values from nan"),
        ("FractionsOf255", r"declares images in \[0, 255\] but returned only fractions up to 1"),
        ("MaskedReward", "the reward masked"),
        ("MaskedPictures", "masked values"),
        ("OtherActionsLater", "has other actions after its reset"),
        ("WrongSize", r"shape \(16, 32, 3\), and it declares pictures of shape \(32, 32, 3\)"),
        ("Nothing", "showed nothing: the observation is None"),
    ],
)
def test_what_is_returned_against_the_contract_is_refused_with_the_place(name: str, words: str) -> None:
    with pytest.raises(EnvironmentFailedError, match=words) as caught:
        notes(name)
    if name != "FractionsOf255":  # which no one call shows
        assert "strange_envs.py, line" in str(caught.value) or "tiny_env.py, line" in str(caught.value)


def test_copies_that_disturb_one_another_are_refused_where_they_would_share_a_process() -> None:
    with pytest.raises(UsageError, match=r"different results .* once a second instance ran.*--set env\.num_envs"):
        check_environment(config("Shares", num_envs=1000))
    assert check_environment(config("Shares", num_envs=1))[0] == []


@pytest.mark.parametrize("name", ["RewardNan", "RewardInfinite", "RewardTooLarge"])
def test_a_reward_that_is_no_finite_number_is_refused_with_copy_seed_and_decision(name: str) -> None:
    with EnvPool(config(name), 3) as pool:
        pool.reset([21, 22, 23])
        with pytest.raises(
            DivergedError, match=r"copy \d \(seed 2\d, agent step 1\) returned the reward (nan|inf|1e\+39)"
        ):
            pool.step(np.zeros((3, 2), np.float32))


def test_a_size_that_changes_on_the_way_is_refused_when_it_does() -> None:
    with EnvPool(config("ChangingSize"), 1) as pool:
        pool.reset([5])
        for _ in range(29):
            pool.step(np.array([[0, 0.4]], np.float32))
        with pytest.raises(
            EnvironmentFailedError, match=r"copy 0 \(seed 5, agent step 30\) showed an array of shape \(16"
        ):
            pool.step(np.array([[0, 0.4]], np.float32))


# ---- what a process may do


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Exits", r"it called sys\.exit\(no more fuel\) \(tests/strange_envs\.py, line \d+, in step"),
        ("ExitsHard", "died with exit code 3"),
        ("ExitsWell", r"ended its own process, as os\._exit does"),
        ("ClosesAll", "ended its own process"),
        ("FailsWithoutStderr", r"ValueError: the bridge is out"),
        ("FailsNowhere", r"ValueError: the bridge is out"),
        ("FailsInLibrary", r"JSONDecodeError: .*tests/strange_envs\.py, line \d+, in step"),
        ("FailsWithTypes", r"TypeError: .*tests/strange_envs\.py, line \d+, in __init__"),
        ("FailsElsewhere", r"\(tests/strange_envs\.py, line"),
        ("AlarmsOften", r"TimeoutError: too slow"),
        ("ExitsAtBirth", r"it called sys\.exit\(2\)"),
        ("Interrupts", "KeyboardInterrupt"),
        ("FailsToSay", "SilentError"),
        (
            "Fails",
            r"ValueError: no map of this place x+\.\.\. \(tests/strange_envs\.py, line \d+, in _deeper, called from",
        ),
        ("FailsAtBirth", "cannot be made: OSError: no licence"),
        ("NeedsArgument", r"TypeError: .*'width'.*; --set env\.kwargs\.NAME=VALUE gives it an argument"),
        ("Asks", "EOFError"),
        (
            "ResetWithoutSeed",
            r"strange_envs\.py, line \d+\) has a reset .*'seed'\): write `def reset\(self, \*, seed=None, options=None\)`",
        ),
    ],
)
def test_what_ends_a_worker_is_told_in_a_line(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        check_environment(config(name))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize(
    "name",
    [
        "MovesAway",
        "Handles",
        "Threads",
        "CloseFails",
        "CloseHangs",
        "StopsItsOwn",
        "Forks",
        "ChoosesHowToStart",
        "WrapsItself",
        "RefusesNames",
    ],
)
def test_what_harms_nobody_works(name: str) -> None:
    before = Path.cwd()
    assert check_environment(config(name))[0] == []
    assert Path.cwd() == before


def test_what_is_printed_comes_as_lines_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    check_environment(config("Prints"), lines.append)
    assert {"a warning", "from a program", "50%", "100%", "\N{REPLACEMENT CHARACTER}[31mstep 1"} <= set(lines)
    assert any("mind the gap" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_a_traceback_is_printed_whole_for_the_log() -> None:
    lines: list[str] = []
    with EnvPool(config("Fails"), 1, output=lines.append) as pool:
        pool.reset([1])
        with pytest.raises(EnvironmentFailedError):
            pool.step(np.zeros((1, 2), np.float32))
    assert lines[0] == "Traceback (most recent call last):"
    assert any("return self._deeper()" in line for line in lines)


def test_a_slow_reset_is_no_hang_whatever_the_copies_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: [0])
    with EnvPool(config("SlowReset", worker_timeout=1.0), 4) as pool:  # 1.6 s together, 0.4 s each
        assert pool.reset([1, 2, 3, 4]).any()


def test_environments_are_closed(tmp_path: Path) -> None:
    note = tmp_path / "closed"
    with EnvPool(config("Closes", kwargs={"path": str(note)}), 3) as pool:
        pool.reset([1, 2, 3])
    assert note.read_text() == 3 * "closed\n"


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while living(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not living(pids)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Yield a function that returns the processes which `Starts` has started; none of them outlives the test."""
    file = tmp_path / "pids"

    def read() -> list[int]:
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    yield read
    for pid in living(read()):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", ["closed", "failed", "killed", "hung"])
def test_no_process_of_an_environment_outlives_it(
    end: str, started: Callable[[], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmloop.envs.pool.worker_cores", lambda: [0])
    pool = EnvPool(config("Starts", worker_timeout=1.0, kwargs={"pids": str(tmp_path / "pids")}), 1)
    pool.reset([1])
    pids = started()
    assert len(living(pids)) == 4
    (worker,) = (process.pid or 0 for process in workers())
    if end == "failed":
        with pytest.raises(EnvironmentFailedError):
            pool.reset(["nonsense"])  # type: ignore[list-item]
    elif end in ("killed", "hung"):
        os.kill(worker, signal.SIGKILL if end == "killed" else signal.SIGSTOP)
        with pytest.raises(EnvironmentFailedError):
            pool.step(np.zeros((1, 2), np.float32))
    pool.close()
    if end == "killed":  # nobody can know a daemon whose whole family is gone but by its mark
        assert gone(pids[:3])
    assert gone([worker, *pids])


def test_no_process_of_an_environment_outlives_a_run_that_is_killed(
    started: Callable[[], list[int]], tmp_path: Path
) -> None:
    layer = tiny_config()
    layer["env"] |= {"id": strange("Starts"), "kwargs": {"pids": str(tmp_path / "pids")}, "num_envs": 2}
    settings = written(layer, tmp_path)
    process = launch(["start", "one", "--config", str(settings)], tmp_path)
    deadline = time.monotonic() + 60
    with process:
        # four for each of two copies, in the check as in the run
        while len(started()) < 16 and time.monotonic() < deadline:
            time.sleep(0.05)
        count, left = len(started()), living(started()[:8])
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert (count, left) == (16, [])
    assert gone(started())


@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.faults)])
def test_a_run_with_such_environments_killed_at_random_moments_is_the_uninterrupted_one_and_leaves_nothing(
    kills: int, started: Callable[[], list[int]], tmp_path: Path, figure: Callable[[str, str], None]
) -> None:
    layer = tiny_config() | {"budget": {"iterations": min(kills, 2)}, "seed": 3, "store": {"snapshot_seconds": 0.0}}
    layer["env"] |= {"id": strange("Starts"), "kwargs": {"pids": str(tmp_path / "pids")}, "num_envs": 2}
    layer["memory"] |= {"initial_steps": 40, "train_steps": 40}
    settings = written(layer, tmp_path)
    begin = ["--config", str(settings)]
    seconds = timed_finish(["start", "whole", *begin], tmp_path)
    wanted, struck, chance = hashes(tmp_path, "whole"), 0, random.Random(0)
    for number in range(kills + 20):
        name, left = f"torn-{number}", kills - struck
        struck += len(
            interrupt_until_done(["start", name, *begin], name, tmp_path, [signal.SIGKILL], 0.7 * seconds, left, chance)
        )
        assert hashes(tmp_path, name) == wanted
        if struck >= kills:
            break
    assert struck >= kills
    pids = started()
    assert gone(pids)
    figure(
        "kill -9 with environments that start processes", f"{struck} kills; {len(pids)} processes started, none left"
    )


# ---- from the command line


def wmloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = Process(arguments, os.environ)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out, err)


def test_a_refusal_leaves_no_run_and_no_traceback(tmp_path: Path) -> None:
    layer = tiny_config()
    layer["env"] |= {"id": strange("Fails")}
    settings = written(layer, tmp_path)
    done = wmloop("start", "one", "--config", str(settings), "--runs", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert "ValueError: no map of this place" in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug of wmloop" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["EndsAtOnce", "Endless"])
def test_iterations_end_whether_episodes_end_at_once_or_never(name: str, tmp_path: Path) -> None:
    settings = (f"env.id={strange(name)}", "rollout.frames=40", "budget.iterations=2")
    torch.set_num_threads(1)
    store, reason = perform(tmp_path / "run", configure(*settings))
    frames = [
        version.metrics["frames"] / version.metrics["episodes"]
        for version in store.versions()
        if version.stage == "rollout"
    ]
    assert reason == "iterations"
    assert frames == ([1, 1] if name == "EndsAtOnce" else [30, MAX_STEPS])  # iteration 0 asks for 30 decisions at most


def test_what_an_environment_prints_goes_to_the_log_of_its_run(tmp_path: Path) -> None:
    layer = tiny_config() | {"budget": {"iterations": 1}}
    layer["env"] |= {"id": strange("Prints"), "num_envs": 1}
    settings = written(layer, tmp_path)
    done = wmloop("start", "one", "--config", str(settings), "--runs", str(tmp_path), "--progress", "json")
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["event"] for line in done.stdout.splitlines())
    assert "mind the gap" not in done.stderr
    log = (tmp_path / "one" / "environment.log").read_text().splitlines()
    assert "from a program" in log
    assert any("mind the gap" in line for line in log)
    score = wmloop("eval", "one", "--episodes", "1", "--json", "--runs", str(tmp_path))
    assert json.loads(score.stdout)["run"] == "one"
    assert "from a program" not in score.stderr
    assert len((tmp_path / "one" / "environment.log").read_text().splitlines()) > len(log)


def test_an_environment_that_fails_on_the_way_is_told_with_where_to_read_on(tmp_path: Path) -> None:
    layer = tiny_config() | {"budget": {"iterations": 1}}
    layer["env"] |= {"id": strange("FailsLate"), "num_envs": 1}
    settings = written(layer, tmp_path)
    done = wmloop("start", "one", "--config", str(settings), "--runs", str(tmp_path), "--progress", "plain")
    assert done.returncode == EnvironmentFailedError.exit_code
    assert "Traceback" not in done.stderr
    assert "bug of wmloop" not in done.stderr
    log = tmp_path / "one" / "environment.log"
    assert f"wmloop resume one --runs {tmp_path}` continues from there\n" in done.stderr
    assert done.stderr.rstrip().endswith(f"the traceback of what it raised, is in {log}")
    assert "Traceback (most recent call last):" in log.read_text()


ELSEWHERE = """
import gymnasium
from tests.tiny_env import TinyDrive
gymnasium.register("own/Env-v0", entry_point="my_environment:TinyDrive", max_episode_steps=60)
"""


def test_the_module_of_an_environment_is_found_where_its_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = TINY.model_copy(update={"id": "my_environment:own/Env-v0"})
    with pytest.raises(
        UsageError, match=f"there is no module 'my_environment' in the current folder .{ROOT}.*PYTHONPATH"
    ):
        check_environment(own)
    (tmp_path / "my_environment.py").write_text(ELSEWHERE)
    monkeypatch.chdir(tmp_path)
    assert check_environment(own)[0] == []
    (tmp_path / "my_environment.py").write_text("import no_such_package\n")
    with pytest.raises(
        UsageError, match=r"needs a package: ModuleNotFoundError: .*no_such_package.*my_environment.py, line 1"
    ):
        check_environment(own)
    typo = ELSEWHERE.replace("own/Env-v0", "own/Typo-v0").replace('"my_environment:', '"my_enviroment:')
    (tmp_path / "my_environment.py").write_text(typo)
    with pytest.raises(
        UsageError, match="or its entry_point 'my_enviroment:TinyDrive' names a module that is not there"
    ):
        check_environment(own.model_copy(update={"id": "my_environment:own/Typo-v0"}))
    (tmp_path / "my_environment.py").write_text("def broken(:\n")
    with pytest.raises(UsageError, match="cannot be imported: SyntaxError"):
        check_environment(own)


@pytest.mark.parametrize("command", ["play", "eval", "report", "resume"])
def test_an_environment_whose_actions_are_no_longer_those_of_the_run_is_refused(
    command: str, finished: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.runs / "tiny", tmp_path / "tiny")
    monkeypatch.setattr(workers_module, "Work", functools.partial(_elsewhere, workers_module.Work))
    more = {"resume": ["--iterations", "2"], "play": ["--to", str(tmp_path / "x.mp4")], "eval": ["--episodes", "1"]}
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [command, "tiny", "--runs", str(tmp_path), *more.get(command, [])])
    assert done.exit_code == 2, done.output
    assert "are in [-0.1" in done.output
    assert "in [-1.0, -1.0] to [1.0, 1.0] when its episodes were collected" in done.output


def _elsewhere(work: Any, config: EnvConfig, *rest: Any) -> Any:
    """Return the work of a worker in whose environment the bounds of actions have changed since."""
    return work(config.model_copy(update={"id": strange("Doubles")}), *rest)


@pytest.mark.parametrize("command", ["play", "eval", "report"])
def test_an_imported_agent_loads_no_module_that_its_file_names_without_being_trusted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tiny_config()
    layer["env"]["id"] = "evil_module:evil/Env-v0"
    Store.create(tmp_path, "friend", to_toml(build_config("smoke", layer)), {"imported": {"file": "agent.safetensors"}})
    shutil.copytree(tmp_path / "friend", tmp_path / "copied")
    for name in ("friend", "copied"):
        done = CliRunner().invoke(app, [command, name, "--runs", str(tmp_path)])
        assert done.exit_code == 2
        assert "names the module 'evil_module', which is code. That code would be executed here" in done.output
        assert "--trust-env" in done.output
    shown = ["--to", str(tmp_path / "drive.gif")] if command == "play" else []  # there may be no display
    trusted = CliRunner().invoke(app, [command, "friend", *shown, "--runs", str(tmp_path), "--trust-env"])
    assert "has no agent yet" in trusted.output  # it went on to look for the agent


def test_every_habit_is_tried_here() -> None:
    text = "".join((Path(__file__).parent / name).read_text() for name in ("test_strange_envs.py", "test_kinds.py"))
    assert [name for name in STRANGE if f'"{name}"' not in text and f"'{name}'" not in text] == []


def test_a_remote_environment_is_the_local_one() -> None:
    local, remote = RealEnv(TINY, render_mode="rgb_array"), RemoteEnv(TINY)
    np.testing.assert_array_equal(remote.reset(3), local.reset(3))
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 2)).astype(np.float32):
        here, there = local.step(action), remote.step(action)
        np.testing.assert_array_equal(there[0], here[0])
        assert there[1:] == here[1:]
        np.testing.assert_array_equal(remote.render(), local.render())
    assert remote.frames_per_second == local.frames_per_second == 10
    remote.close()
