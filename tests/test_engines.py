"""Engines: whatever drives the copies, the episodes are the same."""

import json

import numpy as np
import pytest
import torch

from tests.commands import wmloop
from tests.tiny_env import tiny_config
from wmloop import loop
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.envs import EnvPool, PoolStep, check_environment, engine
from wmloop.envs.bounded import BoundedEnv
from wmloop.envs.examine import IRREPRODUCIBLE
from wmloop.errors import UsageError
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store


class Here:
    """The copies one after the other, in this process."""

    def __init__(self, config, num_envs, max_unrewarded=None, output=None):
        self.num_envs = num_envs
        self._copies = [BoundedEnv(config, max_unrewarded or 10**9) for _ in range(num_envs)]
        self.actions, self.observations = self._copies[0].env.actions, self._copies[0].env.observations
        self._sent = []

    def reset(self, seeds, decisions=None):
        for copy, seed, limit in zip(self._copies, seeds, decisions or [None] * self.num_envs, strict=True):
            if seed is not None:
                copy.reset(seed, limit or 10**9)
        shape = next(copy for copy, seed in zip(self._copies, seeds, strict=True) if seed is not None).observation.shape
        return np.stack([getattr(copy, "observation", np.zeros(shape, np.uint8)) for copy in self._copies])

    def send(self, copies, actions):
        self._sent.append((copies, actions))

    def receive(self):
        copies, actions = self._sent.pop(0)
        done = [self._copies[copy].step(action) for copy, action in zip(copies, actions, strict=True)]
        reward, terminated, truncated, frames, cut = map(np.array, zip(*done, strict=True))
        seen = np.stack(
            [getattr(self._copies[copy], "observation", np.zeros((64, 64, 3), np.uint8)) for copy in copies]
        )
        return copies, PoolStep(
            seen, reward.astype(np.float32), terminated, truncated, frames.astype(np.int64), cut.astype(np.int8)
        )

    def pin_thread(self, copies):
        pass

    def close(self):
        for copy in self._copies:
            copy.env.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_an_engine_from_elsewhere_trains_the_same_run_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setitem(engine.ENGINES.own, "here", "tests.test_engines:Here")
    made = {}
    for name in ("processes", "here"):
        layer = {"env": {"engine": name}, "rollout": {"max_unrewarded": 20}, "budget": {"iterations": 2}}
        config = build_config("smoke", tiny_config(), layer)
        store = Store.create(tmp_path, name, to_toml(config), {})
        with store.lock():
            loop.run(store, config, WORLD_MODEL, torch.device("cpu"), lambda event: None, lambda: False)
        made[name] = {
            (version.name, file): record.sha256
            for version in store.versions()
            for file, record in version.files.items()
        } | {version.name: dict(version.metrics) for version in store.versions()}
    assert len(made["here"]) > 20
    assert made["here"] == made["processes"]


def test_an_unknown_engine_is_refused_with_those_that_there_are_and_makes_no_run(tmp_path):
    done = wmloop("start", "x", "--preset", "smoke", "--set", "env.engine=procesess", runs=tmp_path / "runs")
    assert done.exit_code == 2
    assert "did you mean 'processes'?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_engine_that_cannot_be_imported_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(engine.ENGINES.own, "gone", "nowhere:Gone")
    with pytest.raises(UsageError, match=r"the engine 'gone': .* cannot be imported"):
        engine.engine("gone")


class Dumb:
    num_envs = 2

    def __init__(self, config, num_envs, max_unrewarded=None, output=None):
        pass


class Generous(Here):
    def receive(self):
        copies, step = super().receive()
        return copies, step._replace(reward=step.reward + 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests.test_engines:Dumb", r"made Dumb, which lacks .*reset, send, receive"),
        ("tests.test_engines:Generous", r"gives another episode than the engine 'processes': .* differ in a reward"),
        ("tests.test_engines:tiny_config", r"the engine 'tests.test_engines:tiny_config' fails"),
        ("tests.test_engines:np", r"is module, not a function that returns Envs"),
    ],
)
def test_an_engine_that_is_none_or_drives_otherwise_is_refused_at_start(name, said):
    config = build_config("smoke", tiny_config(), {"env": {"engine": name}})
    with pytest.raises(UsageError, match=said):
        check_environment(config.env)


def test_where_an_environment_does_not_repeat_itself_its_engine_is_not_blamed(monkeypatch):
    monkeypatch.setattr(EnvPool, "examine", lambda pool, num_envs: [IRREPRODUCIBLE])
    config = build_config("smoke", tiny_config(), {"env": {"engine": "tests.test_engines:Generous"}})
    assert IRREPRODUCIBLE in check_environment(config.env).notes


def test_an_engine_of_a_module_that_drives_the_same_is_taken():
    config = build_config("smoke", tiny_config(), {"env": {"engine": "tests.test_engines:Here"}})
    check_environment(config.env)


def test_an_agent_is_scored_alike_by_the_engine_that_eval_is_told(finished):
    told = {}
    for engine_given in ((), ("--engine", "tests.test_engines:Here")):
        done = wmloop("eval", "tiny", "--episodes", "2", "--json", *engine_given, runs=finished.runs)
        assert done.exit_code == 0, done.output
        told[engine_given] = json.loads(done.stdout)["tracks"]
    assert len(set(map(str, told.values()))) == 1
    refused = wmloop("eval", "tiny", "--episodes", "2", "--engine", "procesess", runs=finished.runs)
    assert refused.exit_code == 2
    assert "did you mean 'processes'?" in refused.stderr
