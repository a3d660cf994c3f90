"""An agent as one file: what goes out comes in again, and nothing else does."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from typer.testing import CliRunner

from wmloop import bundle
from wmloop.cli import app
from wmloop.config import build_config
from wmloop.device import machine_facts
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.history import History
from wmloop.opening import named_code, stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.serving.agent import Served
from wmloop.spaces import Pixels
from wmloop.store import Store
from wmloop.store.tensors import encode, read


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory):
    """Return a folder of runs with one finished run `tiny`."""
    runs = tmp_path_factory.mktemp("bundle")
    shutil.copytree(finished.runs / "tiny", runs / "tiny")
    shutil.rmtree(runs / "tiny" / "evaluations", ignore_errors=True)  # other tests may have scored it
    return runs


@pytest.fixture(scope="module")
def exported(trained):
    path = trained / "agent.safetensors"
    result = wmloop(trained, "export", "tiny", "--to", path)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{path}\n"
    return path


def wmloop(runs, *arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--runs", str(runs)])


def changed(exported, tmp_path, change):
    """Return a copy of the file after `change(tensors, notes)`."""
    tensors, notes = read(exported)
    change(tensors, notes)
    path = tmp_path / "changed.safetensors"
    path.write_bytes(encode(tensors, notes))
    return path


def test_an_exported_agent_comes_back_bit_for_bit_with_its_score_and_its_settings(trained, exported, tmp_path):
    result = wmloop(tmp_path, "import", exported, "guest")
    assert result.exit_code == 0, result.stderr
    assert "its file names the module 'tests.tiny_env', which is code" in result.stderr
    assert re.search(r"wmloop play guest --trust-env .*\n.*wmloop eval guest --trust-env ", result.stderr)
    origin, guest = Store.open(trained / "tiny"), Store.open(tmp_path / "guest")
    assert guest.verify() == []
    assert guest.config_text == origin.config_text
    assert guest.facts["imported"]["run"] == "tiny"
    ours, theirs = (Served.of(History(one, WORLD_MODEL), 0).versions for one in (origin, guest))
    for stage, file in (("vision", "model"), ("memory", "model"), ("controller", "actor")):
        before, after = (t[stage].tensors(f"{file}.safetensors") for t in (ours, theirs))
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
    for stage in ("vision", "memory", "controller", "evaluate"):
        assert guest.version(0, stage).metrics == origin.version(0, stage).metrics
    played = [
        wmloop(runs, "eval", name, "--episodes", "2", "--json", "--trust-env")
        for runs, name in ((trained, "tiny"), (tmp_path, "guest"))
    ]
    assert [result.exit_code for result in played] == [0, 0]
    first, second = (json.loads(result.stdout)["tracks"] for result in played)
    assert first == second
    assert "--trust-env" not in played[0].stderr
    assert re.search(r"wmloop play guest --trust-env .*\n.*wmloop report guest --trust-env ", played[1].stderr)


def test_a_damaged_import_is_to_be_imported_again_and_not_resumed(exported, tmp_path):
    assert wmloop(tmp_path, "import", exported, "guest").exit_code == 0
    victim = tmp_path / "guest" / "iterations" / "0000" / "memory" / "model.safetensors"
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    result = wmloop(tmp_path, "verify", "guest")
    assert result.exit_code == 65
    assert "import its file again with `wmloop import`" in result.stderr
    assert "resume" not in result.stderr


def test_runs_and_log_show_that_an_agent_was_imported_and_no_time_that_nobody_measured(exported, tmp_path):
    assert wmloop(tmp_path, "import", exported, "guest").exit_code == 0
    (line,) = wmloop(tmp_path, "runs").stdout.splitlines()[1:]
    assert re.search(r"guest .* imported +-?\d+\.\d +", line)
    assert "iteration" not in line
    logged = wmloop(tmp_path, "log", "guest").stdout
    assert "0000/controller" in logged
    assert "took" not in logged
    assert "time by stage" not in logged


def test_an_agent_of_earlier_days_is_imported_with_what_its_run_did_where_there_was_no_setting_yet(exported, tmp_path):
    def earlier(tensors, notes):
        lines = notes["config"].splitlines()
        notes["config"] = "\n".join(
            line for line in lines if not line.startswith(("precision", "beta2", "settled_gamma"))
        )

    store = bundle.unpack(changed(exported, tmp_path, earlier), tmp_path, "guest", {})
    config = stored_config(store)
    assert (config.precision, config.memory.beta2, config.controller.plateau_gamma) == ("fp32", 0.999, None)


def test_an_agent_of_earlier_days_does_not_tell_its_actions_and_is_imported(exported, tmp_path):
    assert json.loads(read(exported)[1]["actions"]) == {"low": [-1, -1], "high": [1, 1]}
    store = bundle.unpack(
        changed(exported, tmp_path, lambda tensors, notes: notes.pop("actions")), tmp_path, "guest", {}
    )
    assert store.verify() == []


@pytest.mark.parametrize(("told", "seen"), [(True, Pixels(64, 64, 3)), (False, None)])
def test_an_agent_of_earlier_days_does_not_tell_what_it_sees_and_nobody_guesses(told, seen, exported, tmp_path):
    assert json.loads(read(exported)[1]["observations"]) == {"pixels": [64, 64, 3]}
    file = exported if told else changed(exported, tmp_path, lambda tensors, notes: notes.pop("observations"))
    store = bundle.unpack(file, tmp_path, "guest", {})
    assert Served.of(History(store, WORLD_MODEL), 0).observations(History(store, WORLD_MODEL)) == seen


def test_an_import_needs_no_folder_for_temporary_files(exported, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError("No usable temporary directory found")

    for name in ("gettempdir", "mkdtemp", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert bundle.unpack(exported, tmp_path, "guest", {}).verify() == []
    assert [path.name for path in tmp_path.iterdir()] == ["guest"]


def test_others_read_the_file_with_the_library_alone(exported):
    with safe_open(exported, "numpy") as file:
        notes = file.metadata()
        assert {name.split(".")[0] for name in file.keys()} == {"vision", "memory", "actor", "starts"}  # noqa: SIM118
    assert notes["format"] == bundle.FORMAT
    assert json.loads(notes["origin"])["metrics"]["evaluate"]["score_std"] >= 0


def test_an_imported_agent_cannot_be_resumed_and_names_are_not_taken_twice(exported, tmp_path):
    assert wmloop(tmp_path, "import", exported).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-0"]
    result = wmloop(tmp_path, "resume", "tiny-0")
    assert (result.exit_code, "cannot be trained further" in result.stderr) == (2, True)
    result = wmloop(tmp_path, "import", exported)
    assert (result.exit_code, "choose another name" in result.stderr) == (2, True)
    assert "wmloop resume" not in result.stderr, "it is refused, too"


def test_an_existing_file_is_never_overwritten(trained, exported):
    before = exported.read_bytes()
    result = wmloop(trained, "export", "tiny", "--to", exported)
    assert (result.exit_code, "there already" in result.stderr) == (2, True)
    assert exported.read_bytes() == before


def _forget(name):
    return lambda tensors, notes: tensors.pop(name)


def _note(key, value):
    return lambda tensors, notes: notes.update({key: value})


def _wider(tensors, notes):
    tensors["memory.mixture_head.bias"] = np.zeros(1 + len(tensors["memory.mixture_head.bias"]), np.float32)


def _doubled(tensors, notes):
    tensors["vision.mu.weight"] = tensors["vision.mu.weight"].astype(np.float64)


@pytest.mark.parametrize(
    "change",
    [
        _forget("memory.lstm.weight_ih_l0"), _forget("vision.mu.bias"), _wider, _doubled,
        _note("format", "wmloop-agent-99"), _note("config", "not toml ["), _note("origin", "[]"),
        _note("config", "[memory]\nhidden = 1000000000\n"), _note("config", "[memory]\nhiden = 3\n"),
        _note("origin", '{"run": "x", "iteration": 0, "metrics": {"evaluate": {"score": "much"}}}'),
        _note("origin", '{"run": "x", "iteration": 0, "metrics": {"evaluate": {"gap": 1.0}}}'),
        _note("origin", '{"run": "x", "iteration": 0, "metrics": {"memory": {"nll": NaN}}}'),
        _note("origin", '{"run": "x", "iteration": "one", "metrics": {}}'),
        _note("origin", "[" * 100_000), _note("origin", '{"iteration": 0, "metrics": {}}'),
        _note("origin", '{"run": "x", "iteration": 1e400, "metrics": {}}'),
        _note("origin", f'{{"run": "x", "iteration": 0, "metrics": {{"memory": {{"nll": {10**400}}}}}}}'),
        _note("actions", f'{{"kind": "box", "low": [{10**400}], "high": [1]}}'),
        _note("actions", '{"low": [-1], "high": [1]}'), _note("actions", '{"kind": "text"}'), _note("actions", '{"low": 1}'),
        _note("actions", "[]"),
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_a_file_that_is_no_whole_agent_is_refused_and_makes_no_run(exported, tmp_path, change):
    path = changed(exported, tmp_path, change)
    with pytest.raises(StoreCorruptError, match=r"changed\.safetensors"):
        bundle.unpack(path, tmp_path / "runs", "guest", machine_facts())
    assert not (tmp_path / "runs").exists()


def test_a_link_to_a_file_is_that_file(exported, tmp_path):
    link = tmp_path / "linked.safetensors"
    link.symlink_to(exported)
    assert wmloop(tmp_path / "runs", "import", link, "mine").exit_code == 0
    assert Store.open(tmp_path / "runs" / "mine").facts["imported"]["file"] == "linked.safetensors"
    ring = tmp_path / "ring.safetensors"
    ring.symlink_to(ring)
    assert wmloop(tmp_path / "runs", "import", ring, "other").exit_code == 2


def test_a_name_from_the_file_cannot_leave_the_folder_of_runs(exported, tmp_path):
    path = changed(exported, tmp_path, _note("origin", '{"run": "../../x", "iteration": 0, "metrics": {}}'))
    with pytest.raises(UsageError, match="cannot name a run"):
        bundle.unpack(path, tmp_path / "runs", None, machine_facts())
    assert not (tmp_path / "runs").exists()


def test_bytes_that_are_no_tensors_and_files_that_are_not_there_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    assert wmloop(tmp_path / "runs", "import", path).exit_code == 2
    for text in (b"", b"\x80\x04pickle", b"# wmloop\n\nA page of words.\n", (8).to_bytes(8, "little") + b"[1, 2, 3"):
        path.write_bytes(text)
        refused = wmloop(tmp_path / "runs", "import", path)
        assert refused.exit_code == 2
        assert "is no safetensors file" in refused.stderr


@given(kept=st.integers(9, 3_000))
def test_an_exported_file_that_was_cut_short_is_damaged(exported, kept):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.safetensors"
        path.write_bytes(exported.read_bytes()[:kept])
        with pytest.raises(StoreCorruptError, match="damaged"):
            bundle.unpack(path, Path(folder), "x", {})


def test_what_a_file_names_as_its_pipeline_is_not_executed(exported, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("open('executed', 'w').close()\nPIPELINE = None\n")
    monkeypatch.chdir(tmp_path)

    def name_it(tensors, notes):
        assert 'pipeline = "world-model"' in notes["config"]
        notes["config"] = notes["config"].replace('pipeline = "world-model"', 'pipeline = "evil:PIPELINE"')

    with pytest.raises(StoreCorruptError, match="which would import code that the file names"):
        bundle.unpack(changed(exported, tmp_path, name_it), tmp_path / "runs", "x", {})
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_an_engine_that_a_file_names_in_a_module_is_trusted_first(exported, tmp_path):
    def name_it(tensors, notes):
        notes["config"] = notes["config"].replace('engine = "processes"', 'engine = "evil:Engine"')

    bundle.unpack(changed(exported, tmp_path, name_it), tmp_path, "x", {})
    refused = wmloop(tmp_path, "eval", "x")
    assert refused.exit_code == 2
    assert "'evil'" in refused.output
    assert "--trust-env" in refused.output


@pytest.mark.parametrize(
    ("given", "wanted"), [("RES_160X120", None), ("RES_320X240", "screen_resolution='RES_320X240'")]
)
def test_what_the_profile_here_gives_an_environment_too_needs_no_trust(given, wanted):
    kwargs = {"screen_resolution": given, "frame_skip": 2}
    config = build_config("smoke", {"env": {"id": "VizdoomTakeCover-v1", "kwargs": kwargs}})
    store = SimpleNamespace(facts={"imported": "a.safetensors"})
    named = named_code(store, config)
    assert named is None if wanted is None else wanted in named
