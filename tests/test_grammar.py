"""One grammar for all commands: their names, options, help, exit codes, what they print as JSON and what may come next."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.commands import wmloop
from tests.tiny_env import TINY_ID
from wmloop import commands, errors, signals
from wmloop.cli import COMMANDS, app
from wmloop.cli.exits import DOCTOR_FOUND, EXIT_CODES, OUT_OF_MEMORY
from wmloop.config import build_config, presets, settings
from wmloop.legacy import COMMANDS as RENAMED
from wmloop.legacy import OPTIONS

NAMES = [name for section in COMMANDS.values() for name in section]
CLI = Path(__file__).parent.parent / "wmloop" / "cli"
#: Commands that list or tell something.
TELLING = {
    "eval", "report", "runs", "log", "config", "verify", "prune", "export", "import", "settings", "tasks", "doctor",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def options(name):
    """Return the options that a command's help lists."""
    return set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", wmloop(name, "--help").stdout, re.M))


# ---- names


def test_one_thing_has_one_name_in_all_commands():
    has = {name: options(name) for name in NAMES}
    assert {name for name in NAMES if "--json" in has[name]} == TELLING
    assert {name for name in NAMES if "--episodes" in has[name]} == {"eval", "play"}
    assert {name for name in NAMES if "--iteration" in has[name]} == {"eval", "play", "report", "export"}
    assert {name for name in NAMES if "--to" in has[name]} == {"play", "report", "export", "init", "study"}
    assert {name for name in NAMES if "--runs" not in has[name]} == {"settings", "tasks", "init", "help"}
    olden = {"--tracks", "--version", "--run", "--as", "--best"}
    assert [(name, has[name] & olden) for name in NAMES if has[name] & olden] == []


@pytest.mark.parametrize(("name", "old"), [(name, old) for name, table in OPTIONS.items() for old in table])
def test_an_option_by_its_old_name_is_taken_and_the_new_one_told_in_one_line(name, old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = OPTIONS[name][old]
    to = ["--to", "x.mp4"] if name == "play" else []
    for words in ([old, "7"], [f"{old}=7"]):
        with_old, with_new = (
            wmloop(name, "none", *given, *to) for given in (words, [w.replace(old, new) for w in words])
        )
        assert with_old.stderr == f"note: {old} is called {new} now\n{with_new.stderr}"
        assert (with_old.exit_code, with_old.stdout) == (with_new.exit_code, with_new.stdout)
    assert with_new.exit_code == 2
    assert "none" in with_new.stderr


def test_an_old_name_that_is_a_value_is_left_alone():
    refused = wmloop("log", "--", "--tracks")
    assert "--tracks" in refused.stderr
    assert "note" not in refused.stderr


def test_a_fork_by_its_old_spelling_is_the_fork_of_today(finished):
    old = wmloop("resume", "tiny", "--from", "9", "--as", "new", "--seed", "3", runs=finished.runs)
    new = wmloop("fork", "tiny", "new", "--from", "9", "--seed", "3", runs=finished.runs)
    assert new.exit_code == 2
    assert "the finished iterations of the run tiny are 0 to 0" in new.stderr
    assert old.stderr == (
        "note: resume NAME --from ITERATION --as NEW is called fork NAME NEW --from ITERATION now\n" + new.stderr
    )
    assert "fork NAME NEW" in wmloop("resume", "tiny", "--as", "new", runs=finished.runs).stderr
    asked = wmloop("resume", "tiny", "--seed", "3", runs=finished.runs)
    assert asked.exit_code == 2
    assert f"`wmloop fork tiny tiny-3 --from 0 --seed 3 --runs {finished.runs}`" in asked.stderr


def test_every_way_that_was_renamed_is_said_when_it_is_used():
    said = " ".join(path.read_text() for path in CLI.glob("*.py"))
    for old, new in RENAMED.items():
        first = f"{old} is called {new} now"
        assert first in said or f"so is {old}" in said, old


def test_what_would_be_ignored_is_refused(finished, tmp_path):
    for words in (["--iteration", "0"], ["--seed", "0"], ["--trust-env"]):
        assert "plays no episodes" in wmloop("report", "tiny", "tiny", *words, runs=finished.runs).stderr
    assert wmloop("watch", "tiny", "--progress", "none", runs=finished.runs).exit_code == 2
    both = wmloop("play", "tiny", "--render", "terminal", "--to", tmp_path / "x.mp4", runs=finished.runs)
    assert "two places" in both.stderr
    assert "NAME" in wmloop("start", "--or-resume", runs=tmp_path).stderr
    assert "two agents" in wmloop("play", "tiny", "--best", "--iteration", "0", runs=finished.runs).stderr


# ---- help


def test_help_may_be_asked_for_in_any_way():
    whole = wmloop("--help")
    for words in ([], ["-h"], ["help"]):
        assert (wmloop(*words).exit_code, wmloop(*words).stdout) == (0, whole.stdout)
    for name in NAMES:
        asked = {wmloop(*words).stdout for words in ([name, "--help"], [name, "-h"], ["help", name])}
        assert len(asked) == 1, name
    assert "did you mean 'start'" in wmloop("help", "strat").stderr


def test_first_sentences_are_whole_at_80_columns():
    told = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["--help"]).stdout
    assert "..." not in told.replace("[ARGS]...", "")
    for name in NAMES:
        assert re.search(rf"^  {name} +[A-Z].*\.$", told, re.M), name


@pytest.mark.parametrize("name", NAMES)
def test_help_is_in_words(name):
    told = wmloop(name, "--help").stdout
    usage = told.splitlines()[0]
    assert "[[" not in usage
    assert "..." not in usage or "[NAME...]" in usage
    assert not re.search(r"<[a-z]|x>=|<=x|\{", told)


def test_the_budget_and_the_environment_that_help_names_are_those_of_the_settings():
    told = " ".join(wmloop("start", "--help").stdout.split())
    counts = {name: build_config(name).budget.iterations for name in presets.PRESETS}
    default = settings(build_config("laptop"))["budget.iterations"]
    others = ", ".join(f"{name} {count}" for name, count in counts.items() if count != default)
    assert f"Without it the preset's: {default}; {others}." in told
    assert f"Without it env.id of --config or --set, else {build_config('laptop').env.id}." in told
    assert all(f"{name}: " in told for name in presets.PRESETS)


# ---- exit codes


def test_every_exit_code_is_listed_and_none_is_used_for_two_things():
    kinds = [errors.WmloopError, *all_below(errors.WmloopError)]
    assert {kind.exit_code for kind in kinds} <= EXIT_CODES.keys()
    assert {128 + signum for signum in signals.NAMES} <= EXIT_CODES.keys()
    assert {kind for kind in kinds if kind.exit_code == 1} == {errors.WmloopError}  # a bug's
    own = [kind.exit_code for kind in errors.WmloopError.__subclasses__()]
    assert len(set(own)) == len(own)
    assert not set(own) & {DOCTOR_FOUND, OUT_OF_MEMORY}
    told = wmloop("help", "exit-codes").stdout
    assert [int(code) for code in re.findall(r"^ *(\d+)  ", told, re.M)] == list(EXIT_CODES)


def all_below(kind):
    return [below for sub in kind.__subclasses__() for below in (sub, *all_below(sub))]


def test_no_command_leaves_with_a_number_that_is_not_named():
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Exit", "SystemExit", "sys.exit"):
                given = [*node.args, *(word.value for word in node.keywords)]
                assert not any(isinstance(arg, ast.Constant) for arg in given), f"{path.name}: {ast.unparse(node)}"


# ---- JSON


def test_every_command_that_tells_prints_one_object_of_one_shape(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {
        "runs": [], "log": ["tiny"], "config": ["tiny"], "verify": ["tiny"], "settings": ["dream"], "tasks": [], "doctor": [],
        "prune": ["tiny", "--dry-run"], "eval": ["tiny", "--episodes", "1"], "export": ["tiny", "--to", "a.safetensors"],
        "import": ["a.safetensors", "given"], "report": ["given", "given"],
    }  # fmt: skip
    pytest.importorskip("matplotlib")
    assert words.keys() == TELLING
    for name, given in words.items():
        runs = None if name in ("settings", "tasks") else tmp_path if name in ("import", "report") else finished.runs
        done = wmloop(name, *given, "--json", runs=runs)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert (list(told)[:2], told["command"], told["format"]) == (["command", "format"], name, 1)
        assert len(told) > 2


# ---- what may come next


def steps(done):
    """Return the commands that a command has printed as what may come next."""
    assert "\nnext:\n" in f"\n{done.stderr}", done.output
    lines = done.stderr.partition("next:\n")[2].splitlines()
    assert lines
    assert all(re.fullmatch(r"  \S.* # \w.*", line) for line in lines), lines
    return [shlex.split(line, comments=True) for line in lines]


#: Commands that are run as they were printed; the others train, drive or draw.
CHEAP = {"log", "verify", "prune", "import", "config"}


def test_what_commands_print_to_come_next_can_be_pasted(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "my runs; here"
    subprocess.run(["cp", "-r", str(finished.runs), str(runs)], check=True)
    file = tmp_path / "an agent.safetensors"
    printed = [finished]
    for words in (
        ["eval", "tiny", "--episodes", "1"], ["verify", "tiny"], ["prune", "tiny"],
        ["export", "tiny", "--to", file], ["watch", "tiny"], ["doctor"],
    ):  # fmt: skip
        printed.append(wmloop(*words, runs=runs))
        assert printed[-1].exit_code == 0, printed[-1].output
    ran = set()
    todo = [step for done in printed for step in steps(done)]
    while todo:
        program, verb, *rest = todo.pop(0)
        assert program == "wmloop"
        assert verb in NAMES
        if verb in CHEAP:
            done = wmloop(verb, *rest)
            assert done.exit_code == 0, f"{verb} {rest}: {done.output}"
            ran.add(verb)
            if verb == "import":
                todo += steps(done)
        else:  # parsed, and refused before anything is done: its last option is none
            done = wmloop(verb, *rest, "--no-such-option")
            assert "No such option: --no-such-option" in done.stderr, done.output
    assert ran == {"log", "verify", "import"}


def test_a_report_says_where_to_open_it(finished, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    done = wmloop("report", "tiny", "tiny", "--to", "a b", runs=finished.runs)
    assert done.exit_code == 0, done.output
    uri = re.search(r"open it in a browser: file://(\S+)$", done.stderr, re.M)[1]
    assert Path(uri.replace("%20", " ")).resolve() == (tmp_path / "a b" / "report.html").resolve()


def test_what_is_printed_calls_the_program_as_it_can_be_called(tmp_path, monkeypatch):
    script = tmp_path / "a venv" / "bin" / "wmloop"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    for called, word in (
        (script, "a venv/bin/wmloop"),
        ("a venv/bin/wmloop", "a venv/bin/wmloop"),
        ("wmloop", "wmloop"),
    ):
        monkeypatch.setattr(sys, "argv", [str(called), "runs"])
        assert shlex.split(commands.wmloop("doctor")) == [word, "doctor"]
    monkeypatch.chdir(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "runs"])
    assert commands.program() == ["./wmloop"]
    monkeypatch.setenv("PATH", str(script.parent))
    assert commands.program() == ["wmloop"]
    monkeypatch.setattr(sys, "argv", [str(Path(commands.__file__).with_name("__main__.py"))])
    assert commands.program() == [sys.executable, "-m", "wmloop"]


# ---- begin, or go on


def test_or_resume_begins_a_run_once_and_then_goes_on_with_it(tiny_toml, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(
        "wmloop.loop.run", lambda store, config, *rest: begun.append((store.name, config)) or "iterations"
    )
    words = ["start", "mine", "--or-resume", "--config", tiny_toml, "--preset", "smoke"]
    for more in ([], ["--env", TINY_ID.removesuffix("-v0")], ["--iterations", "5"]):
        done = wmloop(*words, *more, runs=tmp_path)
        assert done.exit_code == 0, done.output
    (first, one), (second, two), (third, three) = begun
    assert first == second == third == "mine"
    assert one == two
    assert three == one.model_copy(update={"budget": one.budget.model_copy(update={"iterations": 5})})
    refused = wmloop(*words, "--set", "memory.hidden_size=48", runs=tmp_path)
    assert refused.exit_code == 2
    assert "memory.hidden_size is" in refused.stderr
    assert wmloop("start", "mine", "--config", tiny_toml, runs=tmp_path).exit_code == 2


def test_a_run_beyond_its_budget_is_not_said_to_have_less(twice, tmp_path):
    assert re.search(r"^tiny .* smoke +2 of 2 ", wmloop("runs", runs=twice.runs).stdout, re.M)
