"""wmloop from Python: what is public, and that it does what the command line does."""

import doctest
import itertools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch

import wmloop
from tests.commands import wmloop as command
from tests.strange_envs import strange
from tests.tiny_env import TinyDrive, tiny_config
from wmloop.config import EnvConfig, RunConfig
from wmloop.envs import RealEnv
from wmloop.errors import UsageError
from wmloop.events import Message, Output, RunFinished, VersionCommitted
from wmloop.history import History
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.serving.agent import Served
from wmloop.store import Store


def test_the_public_interface_is_this():
    assert set(wmloop.__all__) == {
        "Pipeline", "Run", "RunConfig", "Stage", "TrainedAgent", "WmloopError", "dream", "load", "train",
    }  # fmt: skip


@pytest.mark.parametrize("name", wmloop.__all__)
def test_what_is_public_says_what_it_is(name):
    assert getattr(wmloop, name).__doc__


def test_importing_wmloop_waits_for_no_torch():
    program = "import sys, wmloop; wmloop.RunConfig, wmloop.Pipeline; print({'torch', 'gymnasium'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_examples_do_what_they_say():
    from wmloop import api

    failed, tried = doctest.testmod(api)
    assert (failed, tried > 8) == (0, True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    seen = []
    config = tiny_config() | {"preset": "smoke", "seed": 0, "budget": {"iterations": 1}}
    config["env"]["action_repeat"] = 2
    made = wmloop.train(config, name="tiny", runs=tmp_path_factory.mktemp("runs"), report=seen.append)
    return made, seen


def test_training_from_python_is_training_from_the_command_line(run, tmp_path):
    made, seen = run
    toml = tmp_path / "tiny.toml"
    toml.write_bytes((made.path / "config.toml").read_bytes())
    done = command("start", "same", "--config", str(toml), "--progress", "none", runs=tmp_path / "runs")
    assert done.exit_code == 0, done.stderr
    same = wmloop.Run(tmp_path / "runs" / "same")
    hashes = [{v.name: {n: f.sha256 for n, f in v.files.items()} for v in one.versions} for one in (made, same)]
    assert hashes[0] == hashes[1]
    assert sum(isinstance(event, VersionCommitted) for event in seen) == len(made.versions) == 5
    assert isinstance(seen[-1], RunFinished)


def test_an_agent_alone_is_not_trained_on():
    with pytest.raises(UsageError, match="cannot be trained further"):
        wmloop.Run("demo").train()


def test_a_finished_run_has_nothing_left_to_do(run):
    made, _ = run
    before = [version.hash for version in made.versions]
    assert made.train() == "iterations"
    assert [version.hash for version in made.versions] == before


def test_a_run_tells_what_it_has_learnt_from(run):
    made, _ = run
    for iteration, figures in enumerate(made.metrics):
        episodes = list(made.episodes(iteration))
        assert sum(episode.frames for episode in episodes) == figures["rollout"]["frames"]
        assert np.mean([episode.score for episode in episodes]) == pytest.approx(figures["rollout"]["score"], rel=1e-6)
    assert list(made.episodes(7)) == []


@pytest.mark.parametrize("source", ["folder", "file"])
def test_a_loaded_agent_drives_frame_by_frame_as_it_does_inside(run, source, tmp_path):
    made, _ = run
    if source == "file":
        file = tmp_path / "agent.safetensors"
        assert command("export", str(made.path), "--to", str(file)).exit_code == 0
        agent = wmloop.load(file, trust_env=True)
    else:
        agent = wmloop.load(made.path)
    assert agent.config.env.action_repeat == 2
    with_repeats = RealEnv(made.config.env)
    versions = Served.of(History(Store.open(made.path), WORLD_MODEL), made.best)
    inside = versions.agent(made.config, with_repeats.actions, torch.device("cpu"))
    carry, seen, score, over = inside.start(1), with_repeats.reset(5), 0.0, False
    while not over:
        actions, carry = inside.act(carry, seen[None])
        seen, reward, terminated, truncated, _ = with_repeats.step(actions[0])
        score, over = score + reward, terminated or truncated or with_repeats.capped
    raw = gymnasium.make(made.config.env.id, max_episode_steps=made.config.env.episode_frames)
    assert agent.run_episode(raw, seed=5) == pytest.approx(score, rel=1e-6)


def test_a_file_that_names_a_module_is_not_loaded_unless_it_is_trusted(run, tmp_path):
    file = tmp_path / "agent.safetensors"
    assert command("export", str(run[0].path), "--to", str(file)).exit_code == 0
    with pytest.raises(UsageError, match="trust"):
        wmloop.load(file)


def test_an_observation_of_another_environment_is_refused(run):
    agent = wmloop.load(run[0].path)
    with pytest.raises(wmloop.WmloopError, match=r"no observation of .*in which this agent was trained: .* shape"):
        agent.act(np.zeros((3, 3, 3), np.uint8))


@pytest.mark.parametrize("source", ["folder", "file"])
@pytest.mark.parametrize(
    ("space", "changed", "said"),
    [
        ("action_space", gymnasium.spaces.Box(-2, 2, (2,)), r"actions are .* now, and were .* another environment"),
        ("observation_space", gymnasium.spaces.Box(-1, 1, (5,)), r"float32 \(5,\) now, and were uint8 \(64, 64, 3\)"),
    ],
)
def test_an_agent_is_not_put_into_another_environment_of_that_name(
    run, source, space, changed, said, tmp_path, monkeypatch
):
    place = run[0].path
    if source == "file":
        place = tmp_path / "agent.safetensors"
        assert command("export", str(run[0].path), "--to", str(place)).exit_code == 0
    begun = TinyDrive.__init__

    def another(self, *given, **named):
        begun(self, *given, **named)
        setattr(self, space, changed)

    monkeypatch.setattr(TinyDrive, "__init__", another)
    with pytest.raises(UsageError, match=said):
        wmloop.load(place, trust_env=True)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "1"])
def test_a_dream_that_there_cannot_be_is_refused_before_it_begins(run, temperature):
    with pytest.raises(UsageError, match="temperature="):
        wmloop.dream(run[0].path, temperature=temperature)
    with pytest.raises(UsageError, match="no agent of iteration 9"):
        wmloop.dream(run[0].path, iteration=9)


def test_a_dream_begins_where_reality_stood_and_tells_what_it_pays(run):
    moments = list(itertools.islice(wmloop.dream(run[0].path, seed=3), 6))
    again = list(itertools.islice(wmloop.dream(run[0].path, seed=3), 6))
    assert [moment.decision for moment in moments] == list(range(6))
    assert [moment.reward for moment in moments] == [moment.reward for moment in again]
    assert moments[-1].score == pytest.approx(sum(moment.reward for moment in moments))


def test_what_does_not_fit_is_refused_before_there_is_a_run(tmp_path):
    with pytest.raises(UsageError, match=r"did you mean 'env\.num_envs'"):
        wmloop.train({"env": {"nun_envs": 3}}, name="x", runs=tmp_path)
    with pytest.raises(UsageError, match="no environment"):
        wmloop.train({"env": {"id": "CarRacng-v3"}}, name="x", runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_to_know_of_an_environment_is_reported(tmp_path):
    config = tiny_config() | {"preset": "smoke", "seed": 0, "budget": {"iterations": 1, "hours": 1e-9}}
    config["env"]["episode_frames"] = 10
    seen = []
    wmloop.train(config, name="short", runs=tmp_path, report=seen.append)
    assert any(isinstance(event, Message) and "episode_frames" in event.text for event in seen)
    with pytest.warns(UserWarning, match="episode_frames"):
        wmloop.train(config, name="warned", runs=tmp_path)


def test_what_an_environment_prints_and_the_figures_are_kept(tmp_path):
    config = tiny_config() | {"preset": "smoke", "budget": {"iterations": 1}}
    config["env"] |= {"id": strange("Prints"), "num_envs": 2}
    seen = []
    made = wmloop.train(config, name="said", runs=tmp_path, report=seen.append)
    lines = [event.line for event in seen if isinstance(event, Output)]
    assert lines
    assert set(lines) <= set((made.path / "environment.log").read_text().splitlines())
    header, only = (made.path / "metrics.csv").read_text().splitlines()
    assert "evaluate.score" in header.split(",")
    assert only.startswith("0,")


def test_what_a_config_was_not_given_is_left_to_the_profile(tmp_path, monkeypatch):
    settled = []

    def begin(config, *rest):
        settled.append(config.model_copy(update={"seed": 0}))  # one is drawn each time
        raise UsageError("far enough")

    monkeypatch.setattr("wmloop.api.begin", begin)
    for config in (RunConfig(), RunConfig(env=EnvConfig(id="CarRacing-v3")), {"env": {"id": "CarRacing-v3"}}):
        with pytest.raises(UsageError, match="far enough"):
            wmloop.train(config, name="x", runs=tmp_path)
    assert settled[0] == settled[1] == settled[2]
    assert settled[0].env.action_repeat == 4


def test_a_dream_of_an_exported_file_says_that_it_is_imported_first(tmp_path):
    with pytest.raises(UsageError, match=r"`wmloop import .*agent\.safetensors NAME"):
        wmloop.dream(tmp_path / "agent.safetensors")
