"""C evolved by CMA-ES, in dreams and in reality: the pipelines hs18 and hs18-dream."""

import csv
import json
import random
import re
import shutil
import signal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands import wmloop
from tests.test_interruptions import hashes, interrupt_until_done, timed_finish
from tests.tiny_env import tiny_config
from tests.vector_world import VectorWorld
from tools import results
from wmloop import loop, pipelines
from wmloop.config import EvolutionConfig, build_config, with_settings
from wmloop.config.text import from_toml, to_toml
from wmloop.dreams import Noise, returns, rollout
from wmloop.episodes import Replay
from wmloop.errors import DivergedError, StoreCorruptError, UsageError
from wmloop.events import Snapshot
from wmloop.history import History
from wmloop.learn.cma import CMAES
from wmloop.models.controller import CategoricalActor, GaussianActor
from wmloop.models.policies import Deterministic
from wmloop.models.population import Population, weights_of, with_weights
from wmloop.models.world_model import Outcome, State
from wmloop.opening import stored_config
from wmloop.seeding import HELD_OUT
from wmloop.serving.agent import Served
from wmloop.serving.starts import starts_of
from wmloop.spaces import BoxActions, Vector
from wmloop.store import Store
from wmloop.training import evolution
from wmloop.training.experience import LatentReplay
from wmloop.training.rollouts import actions_of, episodes_of
from wmloop.training.starts import KEPT

CPU = torch.device("cpu")
SYSTEMS = ("hs18", "hs18-dream")
BOTH = pytest.mark.parametrize("system", SYSTEMS)
#: By default what takes longest is done for one of them: the other shares all with it but where its episodes are.
ONE_SLOW = pytest.mark.parametrize("system", [pytest.param("hs18", marks=pytest.mark.slow), "hs18-dream"])
ACTORS = [lambda kind: GaussianActor(6, 3, kind, (-2.3, -2.3)), lambda kind: CategoricalActor(6, 4, kind)]


def tiny(system, **changes):
    """Return the settings of a run of two iterations in a few seconds."""
    few = {"generations": 2, "population_size": 5, "episodes": 2}
    layer = {"pipeline": system, "budget": {"iterations": 2}, "seed": 3, "threads": 1, "evolution": few}
    common = {name: group for name, group in tiny_config().items() if name not in ("dream", "controller")}
    return build_config("smoke", common, layer, changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a folder with a finished run of each pipeline, the seconds each took and its files' hashes."""
    runs, found = tmp_path_factory.mktemp("runs"), {}
    for system in SYSTEMS:
        (runs / f"{system}.toml").write_text(to_toml(tiny(system, store={"snapshot_seconds": 0.0})))
        seconds = timed_finish(["start", system, "--config", runs / f"{system}.toml"], runs)
        found[system] = seconds, hashes(runs, system)
    return runs, found


def perform(path, config, report, should_stop=lambda: False):
    if not path.exists():
        Store.create(path.parent, path.name, to_toml(config), {})
    store = Store.open(path)
    torch.set_num_threads(1)
    with store.lock():
        return store, loop.run(store, config, pipelines.get(config.pipeline), CPU, report, should_stop)


def told(store):
    files = {(v.name, file): record.sha256 for v in store.versions() for file, record in v.files.items()}
    return files, {v.name: v.metrics for v in store.versions()}


@pytest.mark.parametrize(
    ("inputs", "kind", "weights"), [(288, "linear", 867), (32, "linear", 99), (32, "hidden", 1443)]
)
def test_as_many_weights_evolve_as_hs18s_controllers_have(inputs, kind, weights):
    assert len(weights_of(GaussianActor(inputs, 3, kind))) == weights


@pytest.mark.parametrize("make", ACTORS, ids=["box", "discrete"])
@pytest.mark.parametrize("kind", ["linear", "hidden", "mlp"])
@settings(max_examples=5)
@given(seed=st.integers(0, 1000), population=st.integers(1, 5), rows=st.integers(1, 4))
def test_a_population_decides_as_each_of_its_candidates_alone(make, kind, seed, population, rows):
    torch.manual_seed(seed)
    actor, features = make(kind).double(), torch.randn(population * rows, 8).double()
    weights = weights_of(actor) + 0.3 * torch.randn(population, len(weights_of(actor))).double()
    together = Population(actor, weights)(features).mode()
    for k in range(population):
        alone = with_weights(make(kind).double(), weights[k])
        assert torch.equal(weights_of(alone), weights[k])
        own = slice(k * rows, (k + 1) * rows)
        torch.testing.assert_close(together[own], alone(features[own]).mode(), rtol=1e-9, atol=1e-9)


@settings(max_examples=50)
@given(st.integers(1, 100).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(0, 1000))
def test_fitness_is_the_mean_return_of_a_candidates_worst_episodes(sizes, seed):
    episodes, counted = sizes
    fraction = counted / episodes  # times the episodes it can be a little more than `counted`
    tried = EvolutionConfig(generations=2, population_size=5, episodes=episodes, worst_fraction=fraction)
    record = evolution.Record(tried)
    record.scores.copy_(torch.from_numpy(np.random.default_rng(seed).normal(size=record.scores.shape)))
    for generation, scores in enumerate(record.scores):
        worst = [sum(sorted(one)[:counted]) / counted for one in scores.tolist()]
        assert record.fitness(generation).tolist() == pytest.approx(worst)
        if counted == episodes:
            assert torch.equal(record.fitness(generation), scores.mean(1))


def test_the_worst_episode_counts_however_small_a_part_is_asked_for():
    record = evolution.Record(EvolutionConfig(generations=1, population_size=4, episodes=2, worst_fraction=1e-10))
    record.scores[0, :, 1] = 1.0
    assert record.fitness(0).tolist() == [0.0] * 4


def test_of_a_part_of_an_episode_the_whole_one_counts():
    record = evolution.Record(EvolutionConfig(generations=1, population_size=4, episodes=3, worst_fraction=0.4))
    record.scores.copy_(torch.tensor([[3.0, 1.0, 2.0]]).expand(1, 4, 3))
    assert record.fitness(0).tolist() == [1.5] * 4


@BOTH
def test_the_table_of_its_results_counts_every_real_frame(system, finished, capsys):
    store = Store.open(finished[0] / system)
    results.table(store.path, "command")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()[1:]))
    frames = sum(v.metrics["frames"] for v in History(store, pipelines.get(system)).collected())
    assert float(rows[-1]["frames_collected"]) == frames
    assert [row["rollout_s"] == "" for row in rows] == [False, system == "hs18"]


class Ending(VectorWorld):
    """The point's world, in which episodes may end."""

    def imagine(self, state, action, uniform, normal):
        after, (reward, _, _) = super().imagine(state, action, uniform, normal)
        return after, Outcome(reward, reward - 1, torch.sigmoid(after.features[:, 0] - 1))


def test_a_dreams_return_is_what_its_steps_pay_and_ends_count_with_their_probability():
    torch.manual_seed(1)
    actor, start = GaussianActor(2, 2, "linear"), State(torch.randn(6, 2), torch.zeros(6, 0))
    noise = Noise.draw(9, 6, 0, 2, torch.Generator().manual_seed(0))
    plain = rollout(Ending(), lambda features: Deterministic(actor(features)), start, noise)
    summed = returns(Ending(), actor, start, noise)
    torch.testing.assert_close(summed.total, plain.total)
    torch.testing.assert_close(summed.ended, 1 - plain.survival[-1])
    torch.testing.assert_close(summed.features, plain.features[:, 0])


def test_dreams_that_have_all_ended_are_not_dreamt_on():
    class Deadly(VectorWorld):
        def imagine(self, state, action, uniform, normal):
            after, outcome = super().imagine(state, action, uniform, normal)
            return after, outcome._replace(done=torch.full_like(outcome.done, 0.99))

    start = State(torch.randn(4, 2), torch.zeros(4, 0))
    noise = Noise.draw(50, 4, 0, 2, torch.Generator().manual_seed(0))
    assert len(returns(Deadly(), GaussianActor(2, 2, "linear"), start, noise).action) == 2


def test_chance_falls_alike_for_every_candidate():
    noise = Noise.draw(3, 2, 4, 1, torch.Generator().manual_seed(0)).repeated(5)
    for part, size in zip(noise, (4, 4, 1), strict=True):
        groups = part.unflatten(1, (5, 2))
        assert part.shape == (3, 10, size)
        assert all(torch.equal(groups[:, k], groups[:, 0]) for k in range(5))


def test_evolution_in_a_known_world_learns_to_push_the_point_home():
    actor = GaussianActor(2, 2, "linear", (-5.0, -5.0))
    search = CMAES(weights_of(actor), 0.5, 16)
    rng, scores = np.random.default_rng(0), []
    for _ in range(40):
        z = torch.from_numpy(rng.standard_normal((16, len(search.mean))))
        begin = torch.from_numpy(rng.uniform(-1, 1, (8, 2)).astype(np.float32)).repeat(16, 1)
        noise = Noise.draw(30, 128, 0, 2, torch.Generator().manual_seed(0))
        paid = returns(VectorWorld(), Population(actor, search.ask(z)), State(begin, begin[:, :0]), noise).total
        search.tell(z, paid.double().unflatten(0, (16, 8)).mean(1))
        scores.append(float(paid.mean()))
    assert scores[-1] > 0.4 * scores[0]  # both are below 0; at best it takes ten steps home
    assert with_weights(actor, search.mean)(torch.tensor([[1.0, 0.0]])).mode()[0, 0] < -0.8


@ONE_SLOW
def test_a_run_killed_at_random_moments_ends_as_the_uninterrupted_one(system, finished, tmp_path):
    runs, found = finished
    seconds, whole = found[system]
    begin = ["start", "torn", "--config", runs / f"{system}.toml"]
    struck = interrupt_until_done(begin, "torn", tmp_path, [signal.SIGKILL], 0.6 * seconds, 3, random.Random(1))
    assert struck, f"no signal struck a run of {seconds:.0f} s: the test shows nothing"
    assert hashes(tmp_path, "torn") == whole


@ONE_SLOW
def test_a_run_stopped_inside_a_generation_goes_on_to_the_same_end(system, tmp_path):
    few = {"generations": 3, "population_size": 5, "episodes": 3, "covariance": "diagonal"}
    config = tiny(system, store={"snapshot_seconds": 0.0}, budget={"iterations": 1}, evolution=few)
    saved = []

    def note(event):
        if isinstance(event, Snapshot) and event.stage == "controller":
            saved.append(event.done)

    stop = 5 if system == "hs18" else 2  # rounds or generations
    _, reason = perform(tmp_path / "torn", config, note, lambda: saved[-1:] == [stop])
    assert reason == "interrupted"
    assert saved[-1] == stop
    torn, reason = perform(tmp_path / "torn", config, lambda event: None)
    assert reason == "iterations"
    whole, _ = perform(tmp_path / "whole", config, lambda event: None)
    assert told(torn) == told(whole)


@BOTH
def test_the_search_goes_on_through_iterations_and_is_told_generation_by_generation(system, finished):
    store = Store.open(finished[0] / system)
    first, second = (store.version(i, "controller") for i in (0, 1))
    assert [int(v.tensors("search.safetensors")["generation"]) for v in (first, second)] == [2, 4]
    for version in (first, second):
        generations = version.json("generations.json")
        assert len(generations) == 2
        assert version.metrics["sigma"] == pytest.approx(generations[-1]["sigma"])
        assert version.metrics["best_fitness"] == generations[-1]["best_fitness"] > generations[-1]["mean_fitness"]
        actor = version.tensors("actor.safetensors")
        mean = version.tensors("search.safetensors")["mean"]
        assert np.allclose(np.concatenate([actor["mean.weight"].ravel(), actor["mean.bias"]]), mean, atol=1e-6)


def test_hs18_collects_and_learns_v_and_m_once_and_counts_every_real_frame(finished):
    store = Store.open(finished[0] / "hs18")
    names = [version.name for version in store.versions()]
    assert [name for name in names if name.startswith("0001/")] == ["0001/controller", "0001/evaluate"]
    history = History(store, pipelines.get("hs18"))
    frames = [version.metrics["frames"] for version in history.collected()]
    assert len(frames) == 3
    told = [sum(g["frames"] for g in store.version(i, "controller").json("generations.json")) for i in (0, 1)]
    assert frames[1:] == told
    assert store.version(1, "controller").metrics["episodes"] == 2 * 5 * 2


def test_all_candidates_of_a_generation_drive_the_same_new_training_episodes(tmp_path, monkeypatch):
    begun, drive = [], evolution.drive

    def noting(pool, wave, *rest):
        begun.append([task.seed for task in wave])
        return drive(pool, wave, *rest)

    monkeypatch.setattr(evolution, "drive", noting)
    perform(tmp_path / "run", tiny("hs18", budget={"iterations": 1}), lambda event: None)
    rounds = [begun[i] + begun[i + 1] for i in range(0, len(begun), 2)]  # 4 copies for 5 candidates: two waves
    assert [len(seeds) for seeds in rounds] == [5] * 4
    assert all(len(set(seeds)) == 1 for seeds in rounds)
    assert len({seeds[0] for seeds in rounds}) == 4
    assert all(seed < HELD_OUT for seeds in rounds for seed in seeds)


@ONE_SLOW
def test_its_runs_are_scored_played_logged_pruned_and_reported(system, finished, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("av")
    shutil.copytree(finished[0] / system, tmp_path / system)
    scored = wmloop("eval", system, "--episodes", "2", "--json", runs=tmp_path)
    assert len(json.loads(scored.stdout)["tracks"]) == 2
    assert "dream" in wmloop("eval", system, "--episodes", "2", "--in", "dream", runs=tmp_path).stdout
    for place in ("real", "dream"):
        done = wmloop(
            "play", system, "--in", place, "--to", tmp_path / f"{place}.mp4", "--episodes", "1", runs=tmp_path
        )
        assert done.exit_code == 0, done.output
    assert "0001/controller" in wmloop("log", system, runs=tmp_path).stdout
    done = wmloop("report", system, "--to", tmp_path / "page", runs=tmp_path)
    assert done.exit_code == 0, done.output
    page = re.sub(r"base64,[^\"]*", "", (tmp_path / "page/report.html").read_text())
    assert "nan" not in page
    assert wmloop("prune", system, "--keep-last", "1", runs=tmp_path).exit_code == 0
    store = Store.open(tmp_path / system)
    assert "search.safetensors" in store.version(1, "controller").files
    assert wmloop("resume", system, "--iterations", "3", "--progress", "none", runs=tmp_path).exit_code == 0
    assert int(store.version(2, "controller").tensors("search.safetensors")["generation"]) > 2


@BOTH
def test_an_exported_agent_comes_back(system, finished, tmp_path):
    path = tmp_path / "agent.safetensors"
    assert wmloop("export", system, "--to", path, "--iteration", "1", runs=finished[0]).exit_code == 0
    assert wmloop("import", path, "guest", runs=tmp_path).exit_code == 0
    guest, origin = Store.open(tmp_path / "guest"), Store.open(finished[0] / system).version(1, "controller")
    found = next(version for version in guest.versions() if version.stage == "controller")
    assert found.files["actor.safetensors"].sha256 == origin.files["actor.safetensors"].sha256
    done = wmloop("eval", "guest", "--episodes", "1", "--trust-env", runs=tmp_path)
    assert done.exit_code == 0, done.output


@BOTH
def test_a_full_covariance_of_a_large_network_is_refused_before_there_is_a_run(system, tmp_path):
    refused = wmloop(
        "start", "big", "--pipeline", system, "--preset", "smoke", "--env", "CartPole-v1",
        "--set", "controller.actor=mlp", "--set", "evolution.covariance=full", runs=tmp_path,
    )  # fmt: skip
    assert refused.exit_code == 2
    assert re.search(
        "a controller of 1[0-9]{2},[0-9]{3} weights has too many .* --set evolution.covariance=diagonal", refused.stderr
    )
    assert not (tmp_path / "big").exists()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"evolution": {"population_size": 3}}, "'evolution.population_size' does not accept 3"),
        ({"evolution": {"population": 64}}, "did you mean 'evolution.population_size'"),
        ({"controller": {"learning_rate": 1e-3}}, "unknown setting 'controller.learning_rate'"),
        ({"dream": {"num_dreams": 8}}, "unknown setting 'dream.num_dreams'"),
        ({"ppo": {"gamma": 0.9}}, "unknown setting 'ppo'"),
    ],
)
@BOTH
def test_a_setting_that_no_pipeline_of_evolution_has_is_refused(system, layer, said):
    with pytest.raises(UsageError, match=said):
        build_config("laptop", {"pipeline": system}, layer)


def test_only_dreams_have_a_horizon_and_none_is_a_whole_episode():
    with pytest.raises(UsageError, match=r"unknown setting 'evolution\.horizon'"):
        build_config("laptop", {"pipeline": "hs18"}, {"evolution": {"horizon": 50}})
    config = build_config("laptop", {"pipeline": "hs18-dream"})
    assert config.evolution.horizon == 60
    whole = build_config("laptop", {"pipeline": "hs18-dream"}, {"evolution": {"horizon": "none"}})
    assert whole.evolution.horizon is None
    assert config.dream.temperature == 1.15  # CarRacing's


@pytest.mark.parametrize("horizon", [None, 7])
def test_dreams_last_as_long_as_they_are_set_to(horizon, tmp_path):
    few = {"generations": 1, "population_size": 4, "episodes": 1, "horizon": horizon}
    config = tiny("hs18-dream", budget={"iterations": 1}, evolution=few)
    store, _ = perform(tmp_path / "run", config, lambda event: None)
    assert store.version(0, "controller").metrics["units"] == 4 * (horizon or 60)


def test_dreams_that_pay_what_is_no_number_end_the_run_with_what_to_change(tmp_path, monkeypatch):
    def lost(*given):
        dreams = returns(*given)
        return dreams._replace(total=dreams.total * float("nan"))

    monkeypatch.setattr(evolution, "returns", lost)
    with pytest.raises(DivergedError, match=r"in 60 agent steps is not finite: set a shorter evolution\.horizon"):
        perform(tmp_path / "run", tiny("hs18-dream"), lambda event: None)


@BOTH
@pytest.mark.parametrize("preset", ["smoke", "laptop", "gpu", "paper"])
def test_its_settings_survive_the_way_through_toml(system, preset):
    config = build_config(preset, {"pipeline": system})
    assert build_config(preset, from_toml(to_toml(config), "text")) == config


def test_a_fork_may_change_how_it_searches_but_not_the_shape_of_the_search(finished, tmp_path):
    shutil.copytree(finished[0] / "hs18-dream", tmp_path / "hs18-dream")
    refused = wmloop("fork", "hs18-dream", "--from", "0", "--set", "evolution.covariance=full", runs=tmp_path)
    assert "evolution.covariance would change the shapes of the networks" in refused.stderr
    forked = wmloop(
        "fork", "hs18-dream", "other", "--from", "0", "--set", "evolution.population_size=6", "--progress", "none",
        runs=tmp_path,
    )  # fmt: skip
    assert forked.exit_code == 0, forked.output
    assert stored_config(Store.open(tmp_path / "other")).evolution.population_size == 6


def test_v_alone_is_all_that_a_z_controller_sees(tmp_path):
    config = with_settings(
        tiny("hs18-dream", budget={"iterations": 1}), {"controller": {"inputs": "z", "actor": "hidden"}}
    )
    store, _ = perform(tmp_path / "run", config, lambda event: None)
    actor = store.version(0, "controller").tensors("actor.safetensors")
    assert actor["trunk.0.weight"].shape == (40, config.vision.latent_size)


@pytest.fixture(scope="module")
def dreamer(tmp_path_factory):
    """Return a folder with a finished world-model run of two iterations."""
    runs = tmp_path_factory.mktemp("runs")
    layer = {"seed": 3, "threads": 1, "budget": {"iterations": 2}, "rollout": {"max_unrewarded": 20}}
    store, _ = perform(runs / "dreamer", build_config("smoke", tiny_config(), layer), lambda event: None)
    return store


def test_a_fork_takes_v_and_m_of_a_world_model_run_and_evolves_c_in_them_without_one_more_real_frame(dreamer):
    runs = dreamer.path.parent
    few = [
        *(f"evolution.{name}=4" for name in ("generations", "population_size", "episodes")),
        "evolution.covariance=diagonal",
    ]
    words = ["--pipeline", "hs18-dream", *(word for one in few for word in ("--set", one)), "--progress", "none"]
    done = wmloop("fork", "dreamer", "evolved", "--from", "1", "--iterations", "2", *words, runs=runs)
    assert done.exit_code == 0, done.output
    store = Store.open(runs / "evolved")
    assert [version.name for version in store.versions()] == [
        "0000/rollout", "0001/rollout", "0001/vision", "0001/memory", "0001/controller", "0001/evaluate",
    ]  # fmt: skip
    for version in store.versions()[:4]:
        assert version.hash == dreamer.version(version.iteration, version.stage).hash
    assert stored_config(store).rollout.max_unrewarded == 20
    assert stored_config(store).controller.actor == "linear"
    assert wmloop("eval", "evolved", "--episodes", "1", runs=runs).exit_code == 0
    report = wmloop("report", "evolved", "--to", runs / "page", runs=runs)
    assert report.exit_code == 0, report.output
    assert "--pipeline hs18-dream" in (runs / "page/report.html").read_text()

    shutil.copytree(store.path, runs / "pruned")
    assert wmloop("resume", "evolved", "--iterations", "3", "--progress", "none", runs=runs).exit_code == 0
    assert [v.name for v in Store.open(store.path).versions()][-5:] == [
        f"0002/{stage}" for stage in ("rollout", "vision", "memory", "controller", "evaluate")
    ]
    assert wmloop("prune", "pruned", "--keep-last", "3", runs=runs).exit_code == 0
    assert wmloop("resume", "pruned", "--iterations", "3", "--progress", "none", runs=runs).exit_code == 0
    assert hashes(runs, "pruned") == hashes(runs, "evolved")


def test_a_fork_that_has_no_agent_yet_keeps_what_its_first_one_is_made_from(dreamer, tmp_path):
    """And it goes on from its own iterations alone."""
    shutil.copytree(dreamer.path, tmp_path / "dreamer")
    few = [f"evolution.{name}=4" for name in ("generations", "population_size", "episodes")] + [
        "evolution.covariance=diagonal"
    ]
    words = ["--pipeline", "hs18-dream", *(word for one in few for word in ("--set", one)), "--progress", "none"]
    begun = wmloop("fork", "dreamer", "evolved", "--from", "1", "--iterations", "1", *words, runs=tmp_path)
    assert begun.exit_code == 0, begun.output
    assert History(Store.open(tmp_path / "evolved"), pipelines.get("hs18-dream")).all("controller") == []
    assert wmloop("prune", "evolved", runs=tmp_path).exit_code == 0
    assert not any(version.pruned for version in Store.open(tmp_path / "evolved").versions())
    assert wmloop("resume", "evolved", "--iterations", "2", "--progress", "none", runs=tmp_path).exit_code == 0
    shard = next((tmp_path / "evolved" / "iterations" / "0000" / "rollout").glob("episodes-*"))
    whole = shard.read_bytes()
    shard.write_bytes(b"x")
    said = " ".join(wmloop("verify", "evolved", runs=tmp_path).stderr.split())
    assert "restore 0000/rollout from a backup, or fork the run dreamer, which it is from, at iteration 1 again" in said
    shard.write_bytes(whole)
    for more in ([], ["--pipeline", "world-model"]):
        refused = wmloop("fork", "evolved", "other", "--from", "0", *more, runs=tmp_path)
        assert refused.exit_code == 2
        assert "the finished iterations of the run evolved are 1 to 1" in refused.stderr


def test_a_run_whose_newest_stages_keep_no_episodes_is_forked(finished, tmp_path):
    shutil.copytree(finished[0] / "hs18", tmp_path / "hs18")
    words = ("--set", "evolution.sigma=0.2", "--iterations", "1", "--progress", "none")
    done = wmloop("fork", "hs18", "other", "--from", "0", *words, runs=tmp_path)
    assert done.exit_code == 0, done.output


def test_dreams_of_an_agent_begin_where_its_m_learnt_however_many_iterations_evolved_since(finished):
    store = Store.open(finished[0] / "hs18")
    config = with_settings(stored_config(store), {"rollout": {"replay_iterations": 1}})
    history = History(store, pipelines.get("hs18"))
    served = Served.of(history, 1)
    states = starts_of(history, served, config, CPU)
    assert states is not None
    assert len(states.features) == KEPT
    whole = starts_of(history, served, stored_config(store), CPU)
    assert torch.equal(states.features, whole.features)


def test_latents_and_episodes_that_are_not_of_one_another_are_not_learnt_from(dreamer):
    config, vision = stored_config(dreamer), dreamer.version(1, "vision")
    rollouts = [dreamer.version(1, "rollout")]
    replay = Replay([list(episodes_of(version, observed=False)) for version in rollouts], actions_of(rollouts[0]))
    with pytest.raises(StoreCorruptError, match="they do not match"):
        LatentReplay.of(config, replay, vision, 1.0, CPU)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pipeline", "vanilla-ppo"], "the pipeline vanilla-ppo cannot use what it learnt: .wmloop start"),
        (["--pipeline", "hs18"], "the pipeline hs18 cannot use what it learnt"),
        (["--pipeline", "hs18-dreams"], "did you mean 'hs18-dream'"),
        (["--pipeline", "hs18-dream", "--set", "memory.hidden_size=16"], "memory.hidden_size would change the shapes"),
        (["--pipeline", "hs18-dream", "--set", "controller.updates=3"], "unknown setting 'controller.updates'"),
        (
            ["--pipeline", "hs18-dream", "--set", "rollout.replay_iterations=1"],
            "has seen the episodes of 30 iterations",
        ),
        (
            ["--pipeline", "hs18-dream", "--set", "memory.reward_weight=0"],
            "candidates are chosen by what it says of them",
        ),
        (
            ["--pipeline", "hs18-dream", "--set", "evolution.covariance=full", "--set", "controller.actor=mlp"],
            "full covariance",
        ),
        (["--set", "memory.reward_weight=0"], "dream.rewards=recorded"),
    ],
)
def test_a_fork_by_a_pipeline_that_cannot_go_on_from_it_is_refused(words, said, dreamer):
    refused = wmloop("fork", "dreamer", "other", "--from", "1", *words, runs=dreamer.path.parent)
    assert refused.exit_code == 2
    assert re.search(said, refused.stderr)
    assert not (dreamer.path.parent / "other").exists()


def test_the_weights_that_a_full_covariance_would_have_are_those_for_what_is_seen():
    full = {"pipeline": "hs18", "evolution": {"covariance": "full"}, "controller": {"actor": "linear"}}
    config, actions = build_config("smoke", full), BoxActions([-1] * 8, [1] * 8)
    evolution.fits(config, actions, Vector(4))
    weights = (1024 + config.memory.hidden_size + 1) * 8
    with pytest.raises(UsageError, match=f"a controller of {weights:,} weights has too many"):
        evolution.fits(config, actions, Vector(1024))
