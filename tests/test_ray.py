"""The engine on Ray: shares of a wave put together are the wave, whoever drives them, dies over them or is lost."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import test_evolution, test_ppo_features, test_vanilla_ppo
from tests.commands import wmloop
from tests.processes import Process
from tests.test_engines import Here
from tests.test_loop import configure, hashes, perform
from tests.tiny_env import TINY_ID, tiny_config
from wmloop import __version__, device, machine, pipelines, scratch
from wmloop.agents.collector import Driving, EpisodeTask, drive, halves
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Agent
from wmloop.config import build_config, with_settings
from wmloop.envs import check_environment
from wmloop.errors import EnvironmentFailedError, UsageError
from wmloop.events import Message
from wmloop.models.networks import new_actor, new_memory, new_vision
from wmloop.models.vision_memory import VisionMemory
from wmloop.ray import identity, link
from wmloop.ray.address import cluster_address
from wmloop.ray.engine import RayEnvs
from wmloop.ray.faults import unfit
from wmloop.ray.parcels import packed, unpacked
from wmloop.ray.private import SILENT, SOCKET, admitted
from wmloop.ray.shares import Places, dealt
from wmloop.store import Store
from wmloop.training.context import Chance
from wmloop.training.driving import Exploring
from wmloop.training.real_waves import Sampling

CPU = torch.device("cpu")
CONFIG = build_config("smoke", tiny_config(), {"env": {"worker_timeout": 600.0}})
#: The same, slowly enough for things to happen meanwhile.
SLOW = CONFIG.env.model_copy(update={"kwargs": {"pause": 0.05}})
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Let each test have its own Ray, and none that it finds."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    link.unlink()


def some_agent(actions):
    torch.manual_seed(3)
    memory = new_memory(CONFIG, CONFIG.vision.latent_size, actions.size, CPU)
    world = VisionMemory(new_vision(CONFIG, CPU), memory, 10.0)
    return Agent(world, new_actor(CONFIG, memory.features, actions, CPU), actions)


def wave_of(count, num_envs, actions):
    """Return a wave whose episodes are of several lengths, and how it explores."""
    wave = [EpisodeTask(7 + i, 4 + 3 * i, i % 3 == 0) for i in range(count)]
    return wave, Exploring(Chance(0, 1, "rollout"), 0, wave, num_envs, actions, CONFIG.rollout)


def told(episodes, trace):
    """Return all that is known of episodes, as bytes."""
    parts = []
    for copy, episode in enumerate(episodes):
        states, actions = trace.of(copy, slice(0, len(episode)))
        parts += [episode.observations, episode.actions, episode.rewards, *(t.numpy() for t in (*states, actions))]
    kept = [(e.seed, e.frames, e.terminated, e.truncated, e.deterministic, e.cut) for e in episodes]
    return [np.ascontiguousarray(part).tobytes() for part in parts], kept


def driven(pool, count):
    agent, (wave, explore), trace = some_agent(pool.actions), wave_of(count, pool.num_envs, pool.actions), Recorder()
    return told(drive(pool, wave, dict.fromkeys(halves(pool.num_envs), agent), lambda *_: None, explore, trace), trace)


# ---- without Ray


@given(st.integers(1, 60), st.integers(1, 40), st.data())
def test_copies_are_dealt_evenly_and_one_actor_at_most_thinks_about_both_halves(num_envs, actors, data):
    count = data.draw(st.integers(1, num_envs))
    shares = dealt(count, num_envs, actors)
    assert sorted(copy for share in shares for copy in share) == list(range(count))
    assert len(shares) == min(actors, count)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert max(map(len, shares)) <= -(-num_envs // min(actors, num_envs))  # an actor has so many environments
    assert sum(len({copy % 2 for copy in share}) == 2 for share in shares) <= 1


@pytest.mark.parametrize(("actors", "count"), [(1, 7), (2, 7), (3, 6), (5, 7), (7, 7)])
def test_shares_that_are_driven_apart_are_the_wave_that_is_driven_together(actors, count):
    device.set_up("cpu", 1)
    with Here(CONFIG.env, 7) as whole:
        wanted = driven(whole, count)
        agent, actions = some_agent(whole.actions), whole.actions
    episodes, trace = {}, Recorder()
    for own in dealt(count, 7, actors):
        wave, explore = wave_of(count, 7, actions)
        # as an actor does: all that it is given was packed
        wave, agents, explore, kept = unpacked(packed((wave, dict.fromkeys(halves(7), agent), explore, Recorder())))
        with Here(CONFIG.env, len(own)) as pool:
            places = Places(pool, own, 7)
            mine = [task if copy in own else None for copy, task in enumerate(wave)]
            driving = Driving(places, mine, {half: agents[half] for half in places.parts}, explore, kept)
            for _ in driving:
                pass
        for copy, episode in zip(sorted(own), driving.episodes(), strict=True):
            episodes[copy] = episode
            parts = {name: kept.part(name, copy, slice(len(episode))) for name in kept.names}
            trace.put(copy, unpacked(packed(parts)))
    assert told([episodes[copy] for copy in range(count)], trace) == wanted


@given(st.sampled_from(["float32", "float64", "bfloat16", "int64", "bool"]), st.permutations([0, 1, 2]), st.booleans())
def test_a_tensor_arrives_with_its_numbers_as_they_lie(kind, order, sliced):
    tensor = torch.randn(4, 5, 6).mul(3).to(getattr(torch, kind)).permute(order)
    tensor = tensor[::2] if sliced else tensor
    came = unpacked(packed({"x": [tensor]}))["x"][0]
    assert came.dtype == tensor.dtype
    assert torch.equal(came, tensor)
    assert sliced or came.stride() == tensor.stride()


def test_networks_arrive_whole_and_a_device_arrives_as_the_cpu():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5))
    net[0].weight.requires_grad_(False)
    came = unpacked(packed(net))
    assert [(n, p.requires_grad) for n, p in came.named_parameters()] == [
        (n, p.requires_grad) for n, p in net.named_parameters()
    ]
    x = torch.randn(2, 3)
    assert torch.equal(came(x)[0], net(x)[0])
    assert unpacked(packed(torch.device("cuda", 1))) == CPU
    spread = torch.zeros(3).expand(4, 3)
    assert torch.equal(unpacked(packed(spread)), spread)


def test_what_cannot_be_sent_to_actors_is_refused_with_what_can():
    with pytest.raises(UsageError, match=r"cannot be pickled: .*lambda.*the engine 'processes'"):
        packed((1, lambda: 2))


def test_how_a_policy_is_sampled_is_the_same_where_it_arrives():
    sampling = Sampling(Chance(3, 1, "learner"), (4, 0), 5, 2)
    for here, there in zip(sampling(9, range(1, 5, 2)), unpacked(packed(sampling))(9, range(1, 5, 2)), strict=True):
        np.testing.assert_array_equal(here, there)


def test_only_what_decides_episodes_has_to_be_the_same_on_a_node():
    own = identity.identity()
    assert own["gymnasium"].count(".") >= 2
    assert own["wmloop"].startswith(__version__)
    assert identity.differing(own, own) == identity.rounding(own, own) == ""
    assert identity.differing(own, own | {"gymnasium": "0.1"}) == f"gymnasium 0.1 where this run has {own['gymnasium']}"
    assert "wmloop missing" in identity.differing(own, {n: v for n, v in own.items() if n != "wmloop"})
    assert identity.differing(own, own | {"instructions": "NEON"}) == ""
    assert "NEON" in identity.rounding(own, own | {"instructions": "NEON"})


def test_without_ray_the_engine_is_refused_with_what_installs_it_and_makes_no_run(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest))
    done = wmloop("start", "x", "--preset", "smoke", "--set", "env.engine=ray", runs=tmp_path / "runs")
    assert done.exit_code == 2
    assert "pip install 'wmloop[ray]'" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_address_of_the_ray_client_is_refused_with_the_one_that_is_meant(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: object())
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(UsageError, match="ray start --address=host:6379"):
        RayEnvs(CONFIG.env, 2)
    with pytest.raises(UsageError, match="host:6379"):
        check_environment(CONFIG.env.model_copy(update={"engine": "ray"}))


def test_ray_s_own_word_for_a_cluster_of_its_own_is_none_of_others(monkeypatch):
    for address, meant in (("local", ""), ("", ""), ("head:6379", "head:6379")):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert cluster_address() == meant


def test_a_node_on_which_no_actor_can_be_made_is_named_with_the_reason():
    said = (
        "The actor died because of an error raised in its creation task, \x1b[36mray::_Seat.__init__()\x1b[39m (pid=7,"
        " ip=10.0.0.7, actor_id=1)\n  File \"x.py\", line 1\nModuleNotFoundError: No module named 'wmloop'\n"
    )
    assert (
        unfit(RuntimeError(said))
        == "the Ray node 10.0.0.7 cannot run wmloop: ModuleNotFoundError: No module named 'wmloop'"
    )
    assert unfit(RuntimeError("The actor is dead because its node has died.")) is None


def test_a_token_is_shown_to_a_cluster_where_there_is_one_and_nobody_has_decided(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = {"RAY_AUTH_MODE": "token"}
    assert admitted() == {}
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert admitted() == {}
    (tmp_path / "token").write_text("a" * 64)
    assert admitted() == shown
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert admitted() == {}
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    assert admitted() == {}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    assert admitted() == shown
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a" * 64)
    assert admitted() == shown


@needs_ray
@pytest.mark.distributed
def test_a_cluster_that_asks_for_a_token_is_connected_to_where_there_is_one_and_else_it_is_said(tmp_path, monkeypatch):
    device.set_up("cpu", 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("a" * 64)
    words = ["--head", "--port=0", "--num-cpus=1", "--include-dashboard=false", "--block"]
    head = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", *words, f"--temp-dir={scratch.temporary_folder()}/head"],
        env=os.environ | SILENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        address = next(found[1] for line in head.stdout if (found := re.search(r"--address='(.+?)'", line)))
        monkeypatch.setenv("RAY_ADDRESS", address)
        with Here(CONFIG.env, 2) as here, RayEnvs(CONFIG.env, 2) as pool:
            assert driven(pool, 2) == driven(here, 2)
        link.unlink()
        token.unlink()
        with pytest.raises(EnvironmentFailedError, match=r"RAY_ADDRESS.* cannot be used: .*it asks for a token"):
            RayEnvs(CONFIG.env, 2)
    finally:
        link.unlink()
        began = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.communicate(timeout=60)
    assert left(began) == []


def test_a_run_does_not_import_ray():
    code = "import sys, wmloop.ray.engine; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- with Ray


def ours():
    """Return the processes that the connection of this process to Ray began, and the folder that Ray has."""
    (gateway,) = [p for p in psutil.Process().children(recursive=True) if _is_gateway(p)]
    return gateway, gateway.children(recursive=True)


def _is_gateway(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(named("gcs_server", process.children()))
    return False


def named(start, began):
    """Return which of some processes live and have a name that starts so; any of them may end meanwhile."""
    found = []
    for process in began:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and process.name().startswith(start):
                found.append(process)
    return found


def driving(began):
    """Return which of some processes are actors that drive: Ray names a process after what it does."""
    return named("ray::_Seat.dri", began)


def kill(began):
    """Kill processes, those that have just ended, too."""
    for process in began:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def left(began):
    """Wait for processes to end, and return those that did not."""
    deadline = time.monotonic() + 20
    while (alive := [process for process in began if lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def lives(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def five(monkeypatch):
    """Let this process be connected to a Ray that says it has five CPUs."""
    monkeypatch.setattr(machine, "cores", lambda: 5)
    device.set_up("cpu", 1)
    return link.link(CONFIG.env)


@needs_ray
@pytest.mark.distributed
def test_a_run_has_the_same_bits_on_one_machine_and_on_any_number_of_actors(tmp_path, monkeypatch, five):
    made, iterations = {}, {0: 2, 1: 1, 2: 2, 5: 1}
    for count in iterations:
        five.cpus = count
        engine = f"env.engine={'ray' if count else 'processes'}"
        length = f"budget.iterations={iterations[count]}"
        config = configure(engine, "env.worker_timeout=600", length, "env.num_envs=5")
        events = []
        store, reason = perform(tmp_path / f"run{count}", config, events.append)
        assert reason == "iterations"
        told_of = [event.text for event in events if isinstance(event, Message) and event.text.startswith("Ray:")]
        numbers = [[int(number) for number in re.findall(r"\d+", text)] for text in told_of]
        # rollout and evaluate, in each iteration
        stages = [(5, min(5, count), 1), (2, min(2, count), 1)] * iterations[count]
        assert numbers == [list(stage) for stage in stages if count]
        made[count] = hashes(store) | {version.name: dict(version.metrics) for version in store.versions()}
    first = {name: value for name, value in made[0].items() if name.startswith("0000/")}
    assert len(first) > 10
    assert made[1] == first
    assert made[2] == made[0]
    assert made[5] == first
    began, folder = ours(), scratch.temporary_folder(SOCKET)
    assert list(folder.glob("ray-*/wmloop-*"))
    link.unlink()
    assert left([began[0], *began[1]]) == []
    assert not list(folder.glob("ray-*"))


@needs_ray
@pytest.mark.distributed
def test_every_pipeline_that_drives_learns_the_same_from_what_actors_drove(tmp_path, five):
    five.cpus = 2
    short = {"budget": {"iterations": 1}}
    for name, config in (
        ("vanilla-ppo", test_vanilla_ppo.tiny(**short)),
        ("ppo-features", test_ppo_features.configure("budget.iterations=1")),
        ("hs18", test_evolution.tiny("hs18", **short)),
    ):
        made = []
        for engine in ("processes", "ray"):
            there = with_settings(config, {"env": {"engine": engine, "worker_timeout": 600.0}})
            made.append(hashes(perform(tmp_path / f"{name}-{engine}", there, pipeline=pipelines.get(name))[0]))
        assert made[0] == made[1], name
        assert len(made[0]) > 3


@needs_ray
@pytest.mark.distributed
def test_episodes_of_killed_actors_are_driven_again_by_others_and_are_the_same(five):
    said = []
    with Here(CONFIG.env, 6) as here:
        wanted = driven(here, 6)
    five.cpus = 3
    rng, killed, due = np.random.default_rng(0), 0, 0.0
    with RayEnvs(SLOW, 6, output=said.append) as pool:
        agent, (wave, explore), trace = some_agent(pool.actions), wave_of(6, 6, pool.actions), Recorder()

        def tick(frames, episode):
            nonlocal killed, due
            if killed < 10 and time.monotonic() > due and (at_work := driving(ours()[1])):
                kill([at_work[rng.integers(len(at_work))]])
                killed, due = killed + 1, time.monotonic() + rng.uniform(0, 1)

        assert told(drive(pool, wave, dict.fromkeys(halves(6), agent), tick, explore, trace), trace) == wanted
        began = ours()
        assert driven(pool, 6) == wanted  # and the next wave finds actors, too
    assert killed
    assert sum("an actor has died" in line and "driven again by another" in line for line in said) >= killed
    link.unlink()
    assert left([began[0], *began[1]]) == []


@needs_ray
@pytest.mark.distributed
def test_episodes_of_a_node_that_dies_are_driven_again_on_another_one(monkeypatch):
    from ray.cluster_utils import Cluster

    device.set_up("cpu", 1)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_TMPDIR", str(scratch.temporary_folder()))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whatever is in the home of who runs this
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    said = []
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        removed = False

        def tick(frames, episode):
            nonlocal removed
            if not removed and driving(raylet.children()):
                cluster.remove_node(node, allow_graceful=False)
                removed = True

        with Here(CONFIG.env, 4) as here, RayEnvs(SLOW, 4, output=said.append) as pool:
            wanted, agent = driven(here, 4), some_agent(here.actions)
            for _ in range(20):  # at first there may be no actor on the other node yet
                (wave, explore), trace = wave_of(4, 4, pool.actions), Recorder()
                episodes = drive(pool, wave, dict.fromkeys(halves(4), agent), tick, explore, trace)
                assert told(episodes, trace) == wanted
                if removed:
                    break
        assert removed
        assert said[0] == "Ray: 4 environments, driven by 2 actors on 2 nodes"
        assert any("driven again by another" in line for line in said)
        link.unlink()
        assert cluster.list_all_nodes()  # others' clusters stay
    finally:
        link.unlink()
        cluster.shutdown()


@needs_ray
@pytest.mark.distributed
def test_a_lost_cluster_ends_the_wave_in_words_and_another_one_is_begun_next(five):
    five.cpus = 1
    slow = CONFIG.env.model_copy(update={"kwargs": {"pause": 0.5}})  # the wave lasts until it is found out
    with RayEnvs(slow, 4) as pool:
        began = ours()
        ray = [*named("gcs_server", began[1]), *named("raylet", began[1])]
        assert len(ray) == 2

        def tick(frames, episode):
            kill(ray)

        agent, (wave, explore) = some_agent(pool.actions), wave_of(4, 4, pool.actions)
        wave = [task._replace(decisions=1000) for task in wave]
        with pytest.raises(EnvironmentFailedError, match=r"the Ray cluster is lost: .*`wmloop resume`"):
            drive(pool, wave, dict.fromkeys(halves(4), agent), tick, explore)
    assert left([began[0], *began[1]]) == []
    with Here(CONFIG.env, 4) as here, RayEnvs(CONFIG.env, 4) as pool:
        assert driven(pool, 4) == driven(here, 4)


@needs_ray
@pytest.mark.distributed
def test_two_runs_on_one_machine_have_a_ray_each_that_lets_nobody_else_in(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 1)
    one = link.Link(CONFIG.env)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    other = link.Link(CONFIG.env)
    try:
        assert (one.cpus, one.nodes, other.cpus, other.nodes) == (1, 1, 2, 1)
        servers = named("gcs_server", psutil.Process().children(recursive=True))
        assert len(servers) == 2
        (port,) = {c.laddr.port for c in servers[0].net_connections() if c.status == psutil.CONN_LISTEN}
        host = next(word for word in servers[0].cmdline() if word.startswith("--node-ip-address=")).partition("=")[2]
        code = f"import ray; ray.init('{host}:{port}', logging_level='ERROR'); print(len(ray.nodes()))"
        told = []
        for known in (servers[0].environ(), os.environ):  # with the token, and without
            done = subprocess.run([sys.executable, "-c", code], env=dict(known), capture_output=True, text=True)
            told.append((done.returncode == 0, done.stdout.strip()))
        assert told == [(True, "1"), (False, "")]
    finally:
        one.close()
        other.close()
    assert left(servers) == []


@needs_ray
@pytest.mark.distributed
def test_faults_of_environments_come_through_in_their_words_and_are_not_tried_again(five):
    five.cpus = 1
    broken = build_config("smoke", tiny_config(), {"env": {"kwargs": {"nan_at": 3}, "worker_timeout": 600.0}})
    with RayEnvs(broken.env, 2) as pool:
        with pytest.raises(Exception, match=r"seed 7.*(finite|nan)") as found:
            driven(pool, 1)
        assert type(found.value).__name__ == "DivergedError"
    unknown = CONFIG.env.model_copy(update={"id": TINY_ID.replace("Tiny", "Teeny")})
    with pytest.raises(UsageError, match="registers no"):
        RayEnvs(unknown, 2)


@needs_ray
@pytest.mark.distributed
def test_a_node_of_another_version_is_refused_in_words(five, monkeypatch):
    five.cpus = 1
    monkeypatch.setattr("wmloop.ray.engine.identity", lambda: identity.identity() | {"gymnasium": "0.29"})
    with pytest.raises(UsageError, match=r"the Ray node .* has gymnasium .* where this run has 0\.29"):
        RayEnvs(CONFIG.env, 2)


@needs_ray
@pytest.mark.distributed
def test_a_run_whose_cluster_is_lost_and_then_its_process_goes_on_to_the_same_end(tmp_path, tiny_toml):
    runs = tmp_path / "runs"
    slow = ("--set", "env.kwargs.pause=0.05", "--set", "env.worker_timeout=600")
    begin = ("start", "torn", "--config", tiny_toml, "--progress", "json", *slow)
    assert wmloop(*begin[:1], "whole", *begin[2:], runs=runs).exit_code == 0

    def under_way(*command):
        """Return a process, and what it had begun, after its first real frames."""
        process = Process(command, os.environ | {"WMLOOP_RUNS": str(runs)})
        for line in process.stdout:
            if json.loads(line)["event"] == "Progress":  # of the first wave
                break
        began = psutil.Process(process.pid).children(recursive=True)
        assert named("gcs_server", began)
        return process, began

    process, began = under_way(*begin, "--engine", "ray")
    kill([*named("gcs_server", began), *named("raylet", began)])
    _, said = process.communicate()
    assert process.returncode == EnvironmentFailedError.exit_code, said
    assert "error: the Ray cluster is lost" in said
    assert "wmloop resume torn" in said
    assert left(began) == []

    process, began = under_way("resume", "torn", "--progress", "json")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left(began) == []

    assert wmloop("resume", "torn", runs=runs).exit_code == 0
    assert hashes(Store.open(runs / "torn")) == hashes(Store.open(runs / "whole"))
