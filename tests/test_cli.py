"""The command line, as people and scripts meet it."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.commands import wmloop
from tests.processes import ROOT, Process, await_snapshot
from tests.tiny_env import TINY_ID
from wmloop import device
from wmloop.cli.stopping import Stop
from wmloop.config import build_config, with_settings
from wmloop.config.text import from_toml
from wmloop.errors import EnvironmentFailedError
from wmloop.opening import stored_config
from wmloop.ranking import interval
from wmloop.seeding import fresh_seeds
from wmloop.starting import settle
from wmloop.store import Store, atomic
from wmloop.store.disk import FileSystem

#: Within so many seconds a signal is answered on a machine that is busy; `make faults` has the figure of an idle one.
ANSWERED = 10


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)


@pytest.fixture
def runs(finished, tmp_path):
    """Return a folder with a copy of that run, to write to."""
    shutil.copytree(finished.runs / "tiny", tmp_path / "tiny")
    return tmp_path


# ---- asking


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['wmloop', '--help']\n"
        "from wmloop.cli import main\n"
        "heavy = {'torch', 'gymnasium', 'numpy', 'pydantic', 'rich', 'psutil', 'tomllib'}\n"
        "try: main()\n"
        "finally: print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "Train a World Models agent" in done.stdout
    assert done.stderr == "\n"


@pytest.mark.parametrize("command", ["start", "resume", "play", "eval", "runs", "log", "verify"])
def test_every_command_explains_itself(command):
    result = wmloop(command, "--help")
    assert result.exit_code == 0
    assert "--runs" in result.stdout
    assert "WMLOOP_RUNS" in result.stdout


def test_version_is_printed():
    assert wmloop("--version").stdout.startswith("wmloop 0.")


def test_a_mistyped_command_or_option_is_wrong_usage_with_a_suggestion():
    result = wmloop("strat")
    assert result.exit_code == 2
    assert "start" in result.stderr
    result = wmloop("start", "--presett", "smoke")
    assert result.exit_code == 2
    assert re.search(r"--preset\b", result.stderr)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("memory.hiden=512", "did you mean 'memory.hidden_size'"),
        ("memory.hidden_size=many", "memory.hidden_size"),
        ("memory.hidden_size", "name=value"),
        ("budget.hours=-1", "budget.hours"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_2_and_makes_nothing(setting, said, tmp_path):
    result = wmloop("start", "x", "--preset", "smoke", "--set", setting, runs=tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_settings_file_that_cannot_be_read_is_wrong_usage(tmp_path):
    assert "cannot read the settings" in wmloop("start", "--config", tmp_path / "no.toml", runs=tmp_path).stderr
    (tmp_path / "bad.toml").write_text("memory = = 3")
    result = wmloop("start", "--config", tmp_path / "bad.toml", runs=tmp_path)
    assert result.exit_code == 2
    assert "bad.toml is not valid TOML" in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_device_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    result = wmloop("start", "--preset", "smoke", "--device", "cuda", runs=tmp_path)
    assert result.exit_code == 2
    assert re.search(r"no device 'cuda' here.*this machine has cpu", result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_cannot_be_made_is_refused_before_there_is_a_run(tmp_path):
    result = wmloop("start", "--preset", "smoke", "--set", "env.id=CarRacin-v3", runs=tmp_path)
    assert result.exit_code == 2
    assert "CarRacing-v3" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_printed_settings_make_the_same_settings_and_nothing_else(tmp_path):
    arguments = ("start", "--preset", "smoke", "--set", "env.crop=none", "--hours", "2.5", "--goal", "800")
    first = wmloop(*arguments, "--print-config", runs=tmp_path / "runs")
    assert first.exit_code == 0
    assert "# units of the LSTM" in first.stdout
    (tmp_path / "printed.toml").write_text(first.stdout)
    again = wmloop("start", "--config", tmp_path / "printed.toml", "--print-config", runs=tmp_path / "runs")
    assert again.stdout == first.stdout
    config = build_config("smoke", from_toml(first.stdout, "stdout"))
    assert (config.env.crop, config.budget.hours, config.budget.goal) == (None, 2.5, 800.0)
    assert (config.device, config.threads, config.precision) == ("auto", 0, "auto")
    assert [path.name for path in tmp_path.iterdir()] == ["printed.toml"]


def test_flags_win_over_set_and_set_over_the_file(tmp_path):
    (tmp_path / "a.toml").write_text("[budget]\niterations = 3\n[memory]\nhidden = 64\nmixtures = 2\n")
    printed = wmloop(
        "start", "--print-config", "--preset", "smoke", "--config", tmp_path / "a.toml",
        "--set", "memory.hidden_size=128", "--set", "budget.iterations=4", "--iterations", "5", "--seed", "9",
    )  # fmt: skip
    config = build_config("smoke", from_toml(printed.stdout, "stdout"))
    assert (config.memory.num_mixtures, config.memory.hidden_size, config.budget.iterations, config.seed) == (
        2,
        128,
        5,
        9,
    )


def test_without_a_preset_the_device_chooses_and_that_is_said(monkeypatch):
    for there, preset in ((["cpu"], "laptop"), (["cpu", "mps"], "laptop"), (["cpu", "cuda"], "gpu")):
        monkeypatch.setattr("wmloop.device.available_devices", lambda there=there: there)
        result = wmloop("start", "--print-config")
        assert f'preset = "{preset}"' in result.stdout
        assert f"preset {preset} (chosen by the device)" in result.stderr


def test_without_a_seed_every_run_has_its_own():
    assert len({settle("smoke", [])[1].seed for _ in range(2)}) == 2


def test_printed_settings_leave_seed_and_machine_open_unless_somebody_has_said_them():
    left = {"seed": "0", "device": '"auto"', "threads": "0", "precision": '"auto"'}
    lines = wmloop("start", "--print-config").stdout.splitlines()
    for name, value in left.items():
        assert any(line.startswith(f"# {name} = {value} ") for line in lines)
    lines = wmloop("start", "--print-config", "--seed", "9", "--set", "threads=2").stdout.splitlines()
    assert any(line.startswith("seed = 9 ") for line in lines)
    assert any(line.startswith("threads = 2 ") for line in lines)


# ---- a whole run


def test_start_trains_to_the_end_and_says_how_to_go_on(finished):
    runs, result = finished.runs, finished
    assert "run tiny ended: all iterations are done" in result.stdout
    assert "0000/evaluate  committed: score" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    assert "preset smoke, device cpu, threads 1, seed 7" in result.stderr.replace(
        " (chosen automatically; available: cpu)", ""
    )
    assert f"wmloop resume tiny --runs {runs} --iterations 2" in result.stderr


def test_the_run_keeps_what_it_was_made_with(finished):
    store = Store.open(finished.runs / "tiny")
    config = from_toml(store.config_text, "config.toml")
    assert (config["device"], config["threads"], config["seed"], config["precision"]) == ("cpu", 1, 7, "fp32")
    assert store.facts["versions"]["torch"] == torch.__version__
    assert {"argv", "python", "platform", "cpu"} <= set(store.facts)
    assert store.facts.get("git") == device.commit()
    (begun,) = [record for record in store.journal.events()[0] if record["event"] == "SessionStarted"]
    assert all(begun[name] == store.facts.get(name) for name in ("git", "cores", "cpu_model"))


def test_the_log_of_events_is_small_and_has_a_time_in_every_line(finished):
    records, _ = Store.open(finished.runs / "tiny").journal.events()
    names = [record["event"] for record in records]
    assert names[:2] == ["SessionStarted", "RunStarted"]
    assert names[-1] == "RunFinished"
    assert names.count("VersionCommitted") == 5
    assert "Picture" not in names
    assert len(names) < 40
    assert all(record["time"] for record in records)


def test_an_existing_run_is_never_overwritten(runs):
    before = (runs / "tiny" / "config.toml").read_bytes()
    result = wmloop("start", "tiny", "--preset", "smoke", runs=runs)
    assert result.exit_code == 2
    assert "wmloop resume tiny" in result.stderr
    assert (runs / "tiny" / "config.toml").read_bytes() == before


def test_a_run_without_a_name_gets_one(tiny_toml, tmp_path, monkeypatch):
    monkeypatch.setattr("wmloop.loop.run", lambda *arguments: "iterations")
    assert wmloop("start", "--config", tiny_toml, runs=tmp_path).exit_code == 0
    (name,) = [path.name for path in tmp_path.iterdir()]
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", name)


def test_resume_goes_further_with_a_larger_budget_but_only_this_time(twice, tmp_path):
    records = [json.loads(line) for line in twice.stdout.splitlines()]
    assert records[0]["event"] == "RunStarted"
    assert records[0]["resumed"] is True
    assert [r["iteration"] for r in records if r["event"] == "VersionCommitted"] == [1] * 5
    further = rf"^  wmloop resume tiny --runs {re.escape(str(twice.runs))} --iterations 4 +# train further$"
    assert re.search(further, twice.stderr, re.M)
    assert "iterations = 1" in (twice.runs / "tiny" / "config.toml").read_text()
    shutil.copytree(twice.runs / "tiny", tmp_path / "tiny")
    again = wmloop("resume", "tiny", "--progress", "none", runs=tmp_path)
    assert again.exit_code == 0
    assert again.stdout == ""


@pytest.fixture
def taken_up(monkeypatch):
    """Return the settings that runs are taken up with, in their order; nothing is trained."""
    seen = []
    monkeypatch.setattr("wmloop.loop.run", lambda store, config, *rest: seen.append(config) or "hours")
    return seen


def test_a_resume_may_change_what_decides_no_result(runs, taken_up):
    free = ("budget.goal=5", "store.keep_last=3", "env.worker_timeout=9", "vision.frame_cache=100")
    result = wmloop("resume", *(word for setting in free for word in ("--set", setting)), "--hours", "3", runs=runs)
    assert result.exit_code == 0, result.stderr
    (config,) = taken_up
    assert (config.budget.goal, config.budget.hours, config.store.keep_last) == (5.0, 3.0, 3)
    assert (config.env.worker_timeout, config.vision.frame_cache) == (9.0, 100)
    assert "bit for bit" not in result.stderr
    for word in ("--goal 5.0", "store.keep_last=3", "env.worker_timeout=9.0", "vision.frame_cache=100"):
        assert word in result.stderr  # the next resume must say so again


def test_a_resume_on_another_machine_says_so_and_goes_on(runs, taken_up, monkeypatch):
    facts = Store.open(runs / "tiny").facts
    monkeypatch.setattr("wmloop.device.machine_facts", lambda: {**facts, "cpu": "Another"})
    result = wmloop("resume", runs=runs)
    assert result.exit_code == 0, result.stderr
    assert f"processor Another, was {facts['cpu']}" in " ".join(result.stderr.split())
    (warning,) = [
        record for record in Store.open(runs / "tiny").journal.events()[0] if record.get("level") == "warning"
    ]
    assert "processor Another" in warning["text"]
    assert len(taken_up) == 1


@pytest.mark.parametrize("changes", [["--threads", "3"], ["--set", "env.num_envs=2"], ["--set", "precision=bf16"]])
def test_a_resume_may_change_what_belongs_to_the_machine_and_says_what_that_means(changes, runs, taken_up):
    result = wmloop("resume", *changes, runs=runs)
    assert result.exit_code == 0, result.stderr
    assert "its numbers are not bit for bit those of a run that never stopped" in result.stderr
    assert len(taken_up) == 1


@pytest.mark.parametrize(
    "changes", [["--set", "memory.hidden_size=512"], ["--set", "seed=3"], ["--set", "env.action_repeat=2"]]
)
def test_a_resume_may_change_nothing_else(changes, runs, taken_up):
    result = wmloop("resume", *changes, runs=runs)
    assert result.exit_code == 2
    assert "results would no longer be those of one run" in result.stderr
    assert "start a new run" in result.stderr
    assert taken_up == []


def test_the_command_that_begins_anew_can_be_pasted_and_names_what_is_in_the_way(runs, taken_up):
    said = wmloop("resume", "--set", "env.crop=[0, 20, 0, 20]", runs=runs).stderr
    assert re.search(rf"`wmloop start --preset smoke .*--env {TINY_ID} .*--set 'env.crop=\[0, 20, 0, 20\]' .*`", said)
    said = wmloop("fork", "tiny", "--from", "0", "--seed", "5", "--set", "memory.hidden_size=64", runs=runs).stderr
    assert "memory.hidden_size would change the shapes of the networks" in said
    (line,) = re.findall("`(wmloop start .*)` starts a new run", said)
    printed = wmloop(*shlex.split(line)[1:], "--print-config").stdout
    own = stored_config(Store.open(runs / "tiny"))
    machine = {name: getattr(own, name) for name in ("device", "threads", "precision")}
    wanted = with_settings(own, {"seed": 5, "memory": {"hidden_size": 64}})
    assert with_settings(build_config("smoke", from_toml(printed, "printed")), machine) == wanted


def test_too_little_memory_is_said_in_words(runs, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 12 GB")

    monkeypatch.setattr("wmloop.loop.run", fail)
    result = wmloop("resume", runs=runs)
    assert result.exit_code == 71
    assert result.stderr.startswith("error: there is not enough memory")
    assert "bug of wmloop" not in result.stderr


def test_a_precision_that_this_machine_cannot_do_is_refused_with_what_it_can(runs, taken_up, monkeypatch):
    monkeypatch.setattr("wmloop.device.rounding_fault", lambda device: "no such primitive")
    result = wmloop("resume", "--set", "precision=bf16-mixed", runs=runs)
    assert result.exit_code == 2
    assert "no such primitive" in result.stderr
    assert "--set precision=fp32" in result.stderr
    assert wmloop("resume", "--set", "precision=fp32", runs=runs).exit_code == 0
    assert len(taken_up) == 1


def hashes(store, iteration):
    return {
        (v.stage, file): r.sha256 for v in store.versions() if v.iteration == iteration for file, r in v.files.items()
    }


def test_a_fork_repeats_the_run_or_goes_another_way_and_leaves_it_as_it_was(twice, tmp_path):
    runs = tmp_path
    shutil.copytree(twice.runs / "tiny", runs / "tiny")
    before = {path: path.read_bytes() for path in (runs / "tiny").rglob("*") if path.is_file()}
    result = wmloop("fork", "tiny", "--from", "0", "--iterations", "2", "--progress", "none", runs=runs)
    assert result.exit_code == 0, result.stderr
    assert "run tiny-from-0 in" in result.stderr
    origin, twin = Store.open(runs / "tiny"), Store.open(runs / "tiny-from-0")
    assert (twin.facts["forked_from"]["run"], twin.facts["forked_from"]["iteration"]) == ("tiny", 0)
    assert [v.hash for v in twin.versions()[:5]] == [v.hash for v in origin.versions()[:5]]
    assert hashes(twin, 1) == hashes(origin, 1)
    assert twin.verify() == []
    changes = ["--set", "controller.updates=1", "--iterations", "2"]
    result = wmloop("fork", "tiny", "other", "--from", "0", *changes, "--progress", "none", runs=runs)
    assert result.exit_code == 0, result.stderr
    other = Store.open(runs / "other")
    same = {key for key, value in hashes(other, 1).items() if hashes(origin, 1).get(key) == value}
    assert ("memory", "model.safetensors") in same
    assert ("controller", "actor.safetensors") not in same
    assert {path: path.read_bytes() for path in (runs / "tiny").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--from", "1"], 2, "the finished iterations of the run tiny are 0 to 0"),
        (["tiny", "--from", "0"], 2, "choose another name"),
        (["demo", "--from", "0"], 2, "the agent that comes with wmloop"),
        (["new"], 2, "--from"),
        (["--from", "0", "--set", "preset=gpu"], 2, "wmloop start --preset gpu"),
        (["--from", "0", "--set", "env.kwargs.nosuch=1"], 2, "nosuch"),
        (["--from", "0", "--engine", "nosuch"], 2, "nosuch"),
    ],
)
def test_a_fork_that_cannot_be_is_refused_and_makes_no_run(runs, arguments, code, said):
    result = wmloop("fork", "tiny", *arguments, runs=runs)
    assert result.exit_code == code
    assert said in result.stderr
    assert [path.name for path in runs.iterdir()] == ["tiny"]


def test_a_run_whose_first_agent_is_damaged_is_not_trained_on_without_it(twice, tmp_path):
    shutil.copytree(twice.runs / "tiny", tmp_path / "tiny")
    for stage in ("controller", "evaluate"):
        shutil.rmtree(tmp_path / "tiny" / "iterations" / "0001" / stage)
    actor = tmp_path / "tiny" / "iterations" / "0000" / "controller" / "actor.safetensors"
    actor.write_bytes(actor.read_bytes()[:-1])
    refused = wmloop("resume", "tiny", "--progress", "none", runs=tmp_path)
    assert refused.exit_code == 65, refused.output
    assert "0000/controller" in " ".join(refused.stderr.split())


def test_a_fork_of_damaged_versions_names_the_file_and_makes_no_run(runs):
    path = runs / "tiny" / "iterations" / "0000" / "memory" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result = wmloop("fork", "tiny", "--from", "0", "--iterations", "2", runs=runs)
    assert result.exit_code == 65
    assert str(path) in result.stderr
    assert [path.name for path in runs.iterdir()] == ["tiny"]


def test_a_run_that_is_not_there_lists_those_that_are(runs):
    for command in ("resume", "play", "eval", "log", "verify"):
        result = wmloop(command, "tinny", runs=runs)
        assert result.exit_code == 2
        assert "did you mean 'tiny'" in result.stderr
        assert wmloop(command, "zzz", runs=runs).stderr.count("tiny") == 1


def test_without_any_run_the_way_to_begin_is_named(tmp_path):
    for command in ("resume", "play", "eval", "log", "verify"):
        result = wmloop(command, runs=tmp_path / "nowhere")
        assert result.exit_code == 2
        assert "wmloop start" in result.stderr
    result = wmloop("runs", runs=tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_run_somebody_writes_is_refused_with_75(runs):
    with Store.open(runs / "tiny").lock():
        result = wmloop("resume", "tiny", runs=runs)
    assert result.exit_code == 75
    assert str(os.getpid()) in result.stderr


def test_a_folder_that_cannot_be_made_is_74(tmp_path):
    (tmp_path / "file").write_text("")
    result = wmloop("start", "x", "--preset", "smoke", runs=tmp_path / "file" / "runs")
    assert result.exit_code == 74
    assert result.stderr.count("error: ") == 1


def test_runs_are_listed_with_their_best_score_and_damaged_ones_too(runs):
    shutil.copytree(runs / "tiny", runs / "broken")
    (runs / "broken" / "config.toml").write_text("")
    result = wmloop("runs", runs=runs)
    assert result.exit_code == 0
    assert re.search(r"tiny .* smoke .* 1 of 1 .* \(iteration 0\) .* MB", result.stdout)
    assert re.search(r"broken .* was changed after the run wrote it", result.stdout)
    listed = {run["run"]: run for run in json.loads(wmloop("runs", "--json", runs=runs).stdout)["runs"]}
    assert listed["tiny"]["best_iteration"] == 0
    assert "fault" in listed["broken"]


def test_the_log_ends_with_where_the_time_went(finished):
    last = wmloop("log", "tiny", runs=finished.runs).output.splitlines()[-1]
    assert last.startswith("time by stage: rollout ")
    shares = [int(share) for share in re.findall(r"\((\d+)%\)", last)]
    assert len(shares) == 5
    assert sum(shares) == pytest.approx(100, abs=3)


def test_the_log_lists_versions_with_parents_and_figures(finished):
    result = wmloop("log", "tiny", runs=finished.runs)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == [
        "0000/rollout", "0000/vision", "0000/memory", "0000/controller", "0000/evaluate",
    ]  # fmt: skip
    assert lines[3].endswith("0000/rollout 0000/vision")
    assert "nll=" in lines[3]
    records = json.loads(wmloop("log", "--json", runs=finished.runs).stdout)["versions"]
    assert records[4]["metrics"]["score"] == Store.open(finished.runs / "tiny").version(0, "evaluate").metrics["score"]


def test_verify_finds_a_flipped_bit_and_exits_65(runs):
    assert wmloop("verify", runs=runs).exit_code == 0
    victim = runs / "tiny" / "iterations" / "0000" / "memory" / "model.safetensors"
    data = bytearray(victim.read_bytes())
    data[-5] ^= 1
    victim.write_bytes(data)
    result = wmloop("verify", runs=runs)
    assert result.exit_code == 65
    assert "0000/memory/model.safetensors: its bytes" in result.stdout
    said = " ".join(result.stderr.split())
    assert "move 0000/controller, 0000/evaluate and 0000/memory elsewhere" in said
    assert re.search("`wmloop resume .*tiny.*` computes what is missing", said)
    assert json.loads(wmloop("verify", "--json", runs=runs).stdout)["faults"][0]["version"] == "0000/memory"
    assert wmloop("eval", "--episodes", "2", runs=runs).exit_code == 65  # and nobody drives with it


def test_what_was_made_from_something_damaged_is_made_again_with_it(twice, tmp_path):
    shutil.copytree(twice.runs / "tiny", tmp_path / "tiny")
    store, folder = Store.open(tmp_path / "tiny"), tmp_path / "tiny" / "iterations"
    whole = {version.name: {name: file.sha256 for name, file in version.files.items()} for version in store.versions()}
    (folder / "0000" / "memory" / "model.safetensors").write_bytes(b"x")
    said = " ".join(wmloop("verify", runs=tmp_path).stderr.split())
    assert (
        f"move 0000/controller, 0000/evaluate, 0000/memory and 0001 elsewhere, out of {folder}: `wmloop resume" in said
    )
    for name in ("0000/controller", "0000/evaluate", "0000/memory", "0001"):
        shutil.rmtree(folder / name)
    assert wmloop("resume", "--iterations", "2", "--progress", "none", runs=tmp_path).exit_code == 0
    assert wmloop("verify", runs=tmp_path).exit_code == 0
    again = {version.name: {name: file.sha256 for name, file in version.files.items()} for version in store.versions()}
    assert {name: files for name, files in again.items() if "evaluate" not in name} == {
        name: files for name, files in whole.items() if "evaluate" not in name
    }
    (folder / "0001" / "memory" / "model.safetensors").write_bytes(b"x")
    said = " ".join(wmloop("verify", runs=tmp_path).stderr.split())
    assert "move 0001/controller, 0001/evaluate and 0001/memory elsewhere" in said
    assert re.search(r"Or go on in a new run: `wmloop fork tiny NEW --from 0 --runs .*`", said)


# ---- scoring and watching


def test_eval_scores_fresh_tracks_and_the_same_seed_scores_the_same(finished):
    results = [
        wmloop("eval", "tiny", "--episodes", "3", "--seed", seed, "--json", runs=finished.runs)
        for seed in ("3", "3", "4")
    ]
    assert [result.exit_code for result in results] == [0, 0, 0]
    one, two, other = (json.loads(result.stdout) for result in results)
    scores = [track["score"] for track in one["tracks"]]
    assert [track["seed"] for track in one["tracks"]] == fresh_seeds(3, 3)
    assert one["score"] == pytest.approx(sum(scores) / 3)
    assert one["score_min"] == min(scores)
    assert one["score_ci95"] == pytest.approx(interval(scores))
    assert one["frames"] == sum(track["frames"] for track in one["tracks"])
    assert one["tracks"] == two["tracks"]
    assert one["tracks"] != other["tracks"]
    assert "the best" in results[0].stderr


@pytest.mark.parametrize("asked", ["watch", "verify"])
def test_a_run_that_has_done_all_is_offered_a_resume_that_does_more(finished, asked):
    told = wmloop(asked, "tiny", runs=finished.runs)
    assert (told.exit_code, "has ended" in told.stderr) == (0, asked == "watch")
    assert f"wmloop resume tiny --iterations 2 --runs {finished.runs}" in told.stderr


def test_hours_that_are_used_up_are_more_in_the_resume_that_is_offered(finished, monkeypatch):
    monkeypatch.setattr("wmloop.history.History.worked", lambda history: 3600.0)
    an_hour = {"budget": {"hours": 1.0}}
    monkeypatch.setattr("wmloop.cli.session.stored_config", lambda store: with_settings(stored_config(store), an_hour))
    assert "wmloop resume tiny --iterations 2 --hours 2" in wmloop("verify", "tiny", runs=finished.runs).stderr
    monkeypatch.setattr("wmloop.history.History.worked", lambda history: 4 * 3600.0)  # far beyond what was allowed
    assert "wmloop resume tiny --iterations 2 --hours 8" in wmloop("verify", "tiny", runs=finished.runs).stderr


def test_eval_in_dreams_scores_whole_episodes_of_the_world_model_beside_the_real_score(finished):
    results = [
        wmloop("eval", "tiny", "--in", "dream", "--episodes", "5", "--temperature", tau, "--json", runs=finished.runs)
        for tau in ("1", "1", "2")
    ]
    one, two, warm = (json.loads(result.stdout) for result in results)
    assert one["dream_scores"] == two["dream_scores"] != warm["dream_scores"]
    assert one["dream_score"] == pytest.approx(sum(one["dream_scores"]) / 5)
    assert (len(one["dream_scores"]), warm["temperature"]) == (5, 2.0)
    told = wmloop("eval", "tiny", "--in", "dream", "--episodes", "5", runs=finished.runs).stdout
    assert f"dream   {one['dream_score']:.1f} +- " in told
    assert "on held-out episodes" in told
    refused = wmloop("eval", "tiny", "--temperature", "2", runs=finished.runs)
    assert (refused.exit_code, "--in dream" in refused.stderr) == (2, True)
    one = wmloop("eval", "tiny", "--in", "dream", "--episodes", "1", runs=finished.runs).stdout
    assert re.search(r"^dream +-?[\d.]+ in one dream at temperature 1$", one, re.M)


def test_eval_prints_what_people_ask_for(finished):
    result = wmloop("eval", "--episodes", "2", "--iteration", "0", runs=finished.runs)
    assert re.search(
        r"score +-?[\d.]+ \+- [\d.]+ over 2 episodes, 95% CI of the mean -?[\d.]+ to -?[\d.]+", result.stdout
    )
    assert "worst" in result.stdout
    assert len(re.search(r"scores +(.*)", result.stdout)[1].split()) == 2
    assert wmloop("eval", "--iteration", "9", runs=finished.runs).exit_code == 2


@pytest.mark.parametrize("place", ["real", "dream"])
def test_play_writes_a_video_and_tells_how_each_episode_went(finished, tmp_path, place):
    av = pytest.importorskip("av")
    target = tmp_path / "drive.mp4"
    result = wmloop("play", "tiny", "--in", place, "--to", target, "--episodes", "2", "--seed", "1", runs=finished.runs)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for track, line in zip(fresh_seeds(2, 1), lines, strict=True):
        word = "score" if place == "real" else "predicted return"
        how = rf"\({place}, environment seed {track}\): {word} -?[\d.]+, \d+ frames, (as long as|truncated|terminated)"
        assert re.search(how, line)
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 20


def test_play_without_a_display_offers_the_others(finished, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    result = wmloop("play", runs=finished.runs)
    assert result.exit_code == 2
    assert "--render terminal" in result.stderr
    assert ".mp4" in result.stderr


# ---- how it ends


def test_a_bug_is_a_traceback_exit_1_and_the_way_to_go_on(runs, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("wmloop.loop.run", fail)
    result = wmloop("resume", runs=runs)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert f"wmloop resume tiny --runs {runs}" in result.stderr


def test_a_fault_of_the_environment_is_no_bug_of_wmloop_and_says_what_goes_on(runs, monkeypatch):
    def fail(*arguments):
        raise EnvironmentFailedError("copy 3 died")

    monkeypatch.setattr("wmloop.loop.run", fail)
    result = wmloop("resume", runs=runs)
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "error: copy 3 died",
        f"nothing that was saved is lost: `wmloop resume tiny --runs {runs}` continues from there",
    ]


def test_workers_that_a_sigterm_ended_first_are_no_fault(runs, monkeypatch):
    def fail(*arguments):
        raise EnvironmentFailedError("copy 3 died")

    within = Stop.within

    def comes(stop, seconds):
        signal.raise_signal(signal.SIGTERM)
        return within(stop, 30 * seconds)

    monkeypatch.setattr(Stop, "within", comes)
    monkeypatch.setattr("wmloop.loop.run", fail)
    result = wmloop("resume", runs=runs)
    assert result.exit_code == 143
    assert "next:" in result.stderr


def test_ctrl_c_in_eval_says_so_and_is_130(finished, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("wmloop.scoring.score_episodes", interrupted)
    result = wmloop("eval", "--episodes", "2", runs=finished.runs)
    assert result.exit_code == 130
    assert result.stderr.endswith("interrupted\n")


def test_a_reader_that_leaves_early_ends_the_command_quietly(finished):
    with begin("log", "--runs", finished.runs) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_training_goes_on_when_its_reader_leaves(finished):
    with begin("resume", "--runs", finished.runs) as process:
        process.stdout.close()
        assert "next:" in process.stderr.read()
    assert process.returncode == 0


def begin(*arguments):
    """Run a command in a process of its own, to be used in a `with`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return Process(arguments, environment)


def await_line(stream, wanted):
    for line in stream:
        if wanted in line:
            return line
    raise AssertionError(f"{wanted!r} never came")


def test_a_run_stopped_by_ctrl_c_and_then_by_sigterm_ends_as_one_that_never_stopped(finished, tiny_toml, tmp_path):
    often = ("--set", "store.snapshot_seconds=0")
    with begin("start", "tiny", "--config", tiny_toml, *often, "--progress", "plain", "--runs", tmp_path) as process:
        await_snapshot(process, tmp_path / "tiny", "memory")
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        said = await_line(process.stderr, "Ctrl-C")
        assert time.monotonic() - sent < ANSWERED
        assert "saving memory of iteration 0" in said
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"wmloop resume tiny --runs {tmp_path}" in err
    assert "snapshot" in out
    assert not (tmp_path / "tiny" / "iterations" / "0000" / "memory").exists()  # it was in the middle of it

    with begin("resume", "--progress", "plain", "--runs", tmp_path) as process:
        await_snapshot(process, tmp_path / "tiny", "memory")
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        await_line(process.stderr, "SIGTERM")
        assert time.monotonic() - sent < ANSWERED
        process.communicate(timeout=30)
    assert process.returncode == 143

    with begin("resume", "--progress", "plain", "--runs", tmp_path) as process:
        process.stdout.close()  # nobody reads its lines: the run goes on all the same
        assert "watch it" in process.stderr.read()
    assert process.returncode == 0
    for version in Store.open(finished.runs / "tiny").versions():
        again = Store.open(tmp_path / "tiny").version(version.iteration, version.stage)
        assert again.files == version.files, version.name  # names, sizes and SHA-256 of every file


def test_signals_are_python_s_own_again_after_the_run():
    from wmloop.cli.stopping import Stop

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Stop(lambda signum: None, lambda signum: None) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        deadline = time.monotonic() + 5
        while not stop() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert stop.signum == signal.SIGINT
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1


# ---- when numbers or disks give out


def test_a_run_that_diverges_is_one_line_and_exit_3(tiny_toml, tmp_path):
    result = wmloop(
        "start",
        "wild",
        "--config",
        tiny_toml,
        "--set",
        "vision.learning_rate=1e30",
        "--progress",
        "none",
        runs=tmp_path,
    )
    assert result.exit_code == 3
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: vision of iteration 0 diverged")
    assert last.endswith("; start a new run with a smaller learning rate (`--set vision.learning_rate=1e+29`)")
    assert "Traceback" not in result.stderr
    assert [v.stage for v in Store.open(tmp_path / "wild").versions()] == ["rollout"]


def test_a_full_disk_is_one_line_and_74_and_resume_goes_on_once_there_is_room(
    finished, tiny_toml, tmp_path, monkeypatch
):
    full = FullDisk(room=300_000)
    monkeypatch.setattr(atomic, "disk", full)
    result = wmloop("start", "tiny", "--config", tiny_toml, "--progress", "none", runs=tmp_path)
    assert full.refused, "the disk never was full: the test shows nothing"
    assert result.exit_code == 74
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error:")
    assert "bytes" in last
    assert "wmloop resume tiny" in last
    assert "Traceback" not in result.stderr
    before = [v.name for v in Store.open(tmp_path / "tiny").versions()]
    monkeypatch.undo()
    assert wmloop("resume", "tiny", "--progress", "none", runs=tmp_path).exit_code == 0
    ours, theirs = Store.open(tmp_path / "tiny"), Store.open(finished.runs / "tiny")
    assert [v.name for v in ours.versions()][: len(before)] == before
    assert [v.files for v in ours.versions()] == [v.files for v in theirs.versions()]


class FullDisk(FileSystem):
    """A disk with so many bytes of room."""

    def __init__(self, room):
        self.room, self.refused = room, 0

    def write(self, fd, data):
        if len(data) > self.room:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return super().write(fd, data)


def test_a_read_only_folder_is_one_line_and_74(tmp_path, tiny_toml, monkeypatch):
    class ReadOnly(FileSystem):
        def make_folder(self, path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(atomic, "disk", ReadOnly())
    result = wmloop("start", "tiny", "--config", tiny_toml, "--progress", "none", runs=tmp_path / "runs")
    assert result.exit_code == 74
    assert result.stderr.splitlines()[-1].startswith("error:")
    assert "Traceback" not in result.stderr


# ---- the agent that comes along


def test_the_demo_is_whole_and_drives_a_fresh_track_well_without_any_training(tmp_path):
    assert wmloop("verify", "demo", runs=tmp_path).exit_code == 0
    result = wmloop("eval", "demo", "--episodes", "2", "--seed", "0", "--json", runs=tmp_path)
    assert "not stored: demo belongs to the installation" in result.stderr
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["score"] > 600
    assert list(tmp_path.iterdir()) == []


def test_the_demo_cannot_be_resumed_and_a_run_of_that_name_is_had_by_its_path(runs, tmp_path):
    result = wmloop("resume", "demo", runs=tmp_path / "none")
    assert result.exit_code == 2
    assert "wmloop start" in result.stderr
    shutil.copytree(runs / "tiny", runs / "demo")
    told = wmloop("log", "demo", runs=runs)
    assert "0000/rollout" not in told.stdout, "the demo that ships has no rollout"
    assert str(runs / "demo") in told.stderr
    own = wmloop("verify", runs / "demo", runs=runs)
    assert own.exit_code == 0
    assert f"wmloop resume {runs / 'demo'}" in own.stderr
    assert "0000/rollout" in wmloop("log", runs / "demo", runs=runs).stdout


def test_no_new_run_is_called_demo(tmp_path):
    for words in (["start", "demo"], ["start", "demo", "--or-resume"]):
        result = wmloop(*words, "--preset", "smoke", runs=tmp_path)
        assert result.exit_code == 2
        assert "the agent that comes with wmloop" in result.stderr
    assert wmloop("export", "demo", "--to", tmp_path / "agent.safetensors").exit_code == 0
    assert wmloop("import", tmp_path / "agent.safetensors", "demo", runs=tmp_path / "runs").exit_code == 2
    assert not (tmp_path / "runs" / "demo").exists()


# ---- making room


@pytest.fixture(scope="module")
def three(tiny_toml, tmp_path_factory):
    """Return the folder of a finished run of three iterations called `long`."""
    runs = tmp_path_factory.mktemp("three")
    result = wmloop("start", "long", "--config", tiny_toml, "--set", "vision.initial_images=96", "--set",
                    "memory.initial_steps=10", "--set", "rollout.replay_iterations=1",
                    "--iterations", "3", "--progress", "none", runs=runs)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return runs


def test_prune_tells_first_then_frees_and_the_run_goes_on_as_if_nothing_had_gone(three, tmp_path):
    for name in ("whole", "less"):
        shutil.copytree(three / "long", tmp_path / name)
    before = {path: path.read_bytes() for path in (tmp_path / "less").rglob("*") if path.is_file()}
    told = wmloop("prune", "less", "--dry-run", runs=tmp_path)
    assert told.exit_code == 0, told.stderr
    assert "0000/rollout: episodes-0000.safetensors" in told.stdout
    assert {path: path.read_bytes() for path in (tmp_path / "less").rglob("*") if path.is_file()} == before
    done = wmloop("prune", "less", runs=tmp_path)
    assert done.exit_code == 0, done.stderr
    freed = re.search(r"less: (\S+ \S+) freed", done.stderr)
    assert freed
    assert f"less: {freed[1]} would be freed" in told.stderr
    assert "less: 0 B freed" in wmloop("prune", "less", runs=tmp_path).stderr
    log = json.loads(wmloop("log", "less", "--json", runs=tmp_path).stdout)
    listed = {v["version"]: v["pruned"] for v in log["versions"]}
    kept, gone = sorted(("0000/memory", "0001/memory"), key=lambda name: len(listed[name]))  # the best agent stays
    assert (listed[kept], listed[gone], listed["0002/memory"]) == ([], ["model.safetensors"], [])
    assert re.search(rf"{gone} .* pruned ", wmloop("log", "less", runs=tmp_path).stdout)
    assert wmloop("verify", "less", runs=tmp_path).exit_code == 0
    for name in ("whole", "less"):
        result = wmloop("resume", name, "--iterations", "4", "--progress", "none", runs=tmp_path)
        assert result.exit_code == 0, result.stderr
    whole, less = (Store.open(tmp_path / name) for name in ("whole", "less"))
    newest = [version.files for version in whole.versions() if version.iteration == 3]
    assert [version.files for version in less.versions() if version.iteration == 3] == newest


def test_a_fork_from_where_too_much_was_pruned_is_refused_and_play_names_what_is_left(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    assert wmloop("prune", "long", runs=tmp_path).exit_code == 0
    result = wmloop("fork", "long", "--from", "0", runs=tmp_path)
    assert result.exit_code == 2
    assert (
        "cannot fork the run long at iteration 0: training would read 0000/rollout, which was pruned" in result.stderr
    )
    assert "iterations that can be forked: 2" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["long"]
    store = Store.open(tmp_path / "long")
    gone = next(v.iteration for v in store.versions() if v.stage == "controller" and "actor.safetensors" in v.pruned)
    result = wmloop("eval", "long", "--iteration", str(gone), runs=tmp_path)
    assert result.exit_code == 2
    assert f"the agent of iteration {gone} of the run long was pruned: there are those of" in result.stderr


@pytest.mark.parametrize("damaged", ["0001/vision", "0000/controller"])
def test_nothing_of_a_run_that_has_lost_something_is_pruned(three, tmp_path, damaged):
    shutil.copytree(three / "long", tmp_path / "long")
    (lost, *_) = sorted((tmp_path / "long" / "iterations" / damaged).glob("[am]*.safetensors"))
    lost.rename(tmp_path / "elsewhere")
    before = sorted(path for path in (tmp_path / "long" / "iterations").rglob("*"))
    refused = wmloop("prune", "long", runs=tmp_path)
    assert refused.exit_code == 65
    assert f"{damaged} is missing or damaged, and later iterations are there: nothing was pruned" in refused.stderr
    assert sorted(path for path in (tmp_path / "long" / "iterations").rglob("*")) == before
    (tmp_path / "elsewhere").rename(lost)
    assert wmloop("prune", "long", runs=tmp_path).exit_code == 0


def test_a_fork_that_reads_more_than_the_run_did_is_refused_where_that_was_pruned(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    assert wmloop("prune", "long", runs=tmp_path).exit_code == 0
    refused = wmloop("fork", "long", "--from", "2", "--set", "rollout.replay_iterations=3", runs=tmp_path)
    assert refused.exit_code == 2
    assert "training would read 0001/rollout, which was pruned" in refused.stderr


def test_what_was_made_from_something_pruned_is_restored_and_not_computed(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    assert wmloop("prune", "long", "--keep-every", "1", runs=tmp_path).exit_code == 0
    (tmp_path / "long" / "iterations" / "0000" / "controller" / "actor.safetensors").write_bytes(b"x")
    said = " ".join(wmloop("verify", "long", runs=tmp_path).stderr.split())
    assert "restore 0000/controller from a backup" in said
    assert "fork" not in said


def test_a_file_that_is_a_stranger_to_a_stage_output_costs_nothing_but_its_move(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    (tmp_path / "long" / "iterations" / "0000" / "memory" / "notes.txt").write_text("x")
    said = " ".join(wmloop("verify", "long", runs=tmp_path).stderr.split())
    assert "move 0000/memory/notes.txt elsewhere" in said
    assert "iterations" not in said


def test_a_fork_from_before_what_is_damaged_is_not_refused_for_it(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    (shard,) = (tmp_path / "long" / "iterations" / "0002" / "rollout").glob("episodes-*")
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    said = " ".join(wmloop("verify", "long", runs=tmp_path).stderr.split())
    assert re.search(r"Or go on in a new run: `wmloop fork long NEW --from 1 ", said)
    words = ("--iterations", "2", "--progress", "none")
    assert wmloop("fork", "long", "other", "--from", "1", *words, runs=tmp_path).exit_code == 0


def test_a_fork_that_begins_to_mirror_sees_with_a_frozen_v_what_it_saw_before_and_its_mirror_images(twice, tmp_path):
    shutil.copytree(twice.runs / "tiny", tmp_path / "tiny")
    words = ("--set", "vision.finetune_images=0", "--set", "env.mirrored_actions=[0]", "--iterations", "3")
    done = wmloop("fork", "tiny", "other", "--from", "1", *words, "--progress", "none", runs=tmp_path)
    assert done.exit_code == 0, done.output
    before, after = (Store.open(tmp_path / name).version(i, "vision") for name, i in (("tiny", 1), ("other", 2)))
    seen = [file for file in before.files if file.startswith("latents-")]
    assert seen
    for file in seen:
        one, two = before.tensors(file)["mu"], after.tensors(file)["mu"]
        assert (len(one), len(two)) == (1, 2)
        assert one[0] == pytest.approx(two[0], abs=1e-2)


def test_a_run_that_is_pruned_while_it_is_copied_is_no_damaged_one(three, tmp_path, monkeypatch):
    shutil.copytree(three / "long", tmp_path / "long")
    create = Store.create

    def pruned_meanwhile(*arguments):
        assert wmloop("prune", "long", runs=tmp_path).exit_code == 0
        return create(*arguments)

    monkeypatch.setattr(Store, "create", pruned_meanwhile)
    refused = wmloop("fork", "long", "other", "--from", "1", runs=tmp_path)
    assert refused.exit_code == 2
    assert "was pruned while it was copied: give the same command again" in " ".join(refused.stderr.split())
    assert not (tmp_path / "other").exists()


def test_what_is_pruned_while_it_is_verified_is_no_fault(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    store = Store.open(tmp_path / "long")

    def tick(done, total):
        if done == 0:
            assert wmloop("prune", "long", runs=tmp_path).exit_code == 0

    assert store.verify(tick) == []
    assert any(version.pruned for version in store.versions())


def test_an_agent_that_pruning_kept_is_served_by_its_number(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    assert wmloop("prune", "long", "--keep-every", "1", runs=tmp_path).exit_code == 0
    controllers = [v for v in Store.open(tmp_path / "long").versions() if v.stage == "controller"]
    assert any(v.pruned for v in controllers)
    for version in controllers:
        result = wmloop("eval", "long", "--iteration", version.iteration, "--episodes", "1", runs=tmp_path)
        assert result.exit_code == 0, result.output


def test_a_fork_whose_networks_would_not_fit_is_refused_before_it_exists(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    result = wmloop("fork", "long", "--from", "0", "--set", "memory.hidden_size=48", runs=tmp_path)
    assert result.exit_code == 2
    assert re.search("wmloop start --preset smoke .*--set memory.hidden_size=48", result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["long"]


def test_what_is_kept_may_change_on_resume_and_is_repeated_in_the_next_command(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    result = wmloop(
        "resume", "long", "--iterations", "4", "--set", "store.keep_last=1", "--progress", "none", runs=tmp_path
    )
    assert result.exit_code == 0, result.stderr
    assert "--set store.keep_last=1" in result.stderr
    store = Store.open(tmp_path / "long")
    assert any(version.pruned for version in store.versions())
    assert store.verify() == []


def test_a_run_that_is_being_written_is_not_pruned(three, tmp_path):
    shutil.copytree(three / "long", tmp_path / "long")
    with Store.open(tmp_path / "long").lock():
        assert wmloop("prune", "long", runs=tmp_path).exit_code == 75
