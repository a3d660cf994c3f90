"""PPO on [z, h] in the real environment: the dream's rival, with the same V, M and C."""

import numpy as np
import pytest
import torch

from tests.test_loop import hashes, perform
from tests.tiny_env import tiny_config
from wmloop.agents.agent import Exploration
from wmloop.agents.recorder import Recorder
from wmloop.config import PPOFeaturesConfig, VisionMemoryConfig, WorldModelConfig, build_config, settings
from wmloop.config.text import parse_setting
from wmloop.envs import make_envs
from wmloop.errors import UsageError
from wmloop.events import Progress, VersionCommitted
from wmloop.history import History
from wmloop.pipelines.ppo_features import PPO_FEATURES
from wmloop.serving.agent import Served
from wmloop.store import Store
from wmloop.training.features_ppo import FeatureWave
from wmloop.training.latents import latents_of
from wmloop.training.real_waves import RealWave
from wmloop.training.rollouts import episodes_of

CPU = torch.device("cpu")
#: Two updates of about 120 agent steps in an iteration.
CHANGES = ("controller.batch_size=120", "controller.update_epochs=2", "rollout.frames=240", "budget.iterations=2")


def configure(*changes: str):
    """Return the settings of a run of two iterations in a few seconds."""
    layer = {name: group for name, group in tiny_config().items() if name not in ("dream", "controller")}
    return build_config("smoke", {"pipeline": "ppo-features"}, layer, *map(parse_setting, (*CHANGES, *changes)))


def run(path, config, report=lambda event: None, should_stop=lambda: False):
    return perform(path, config, report, should_stop, PPO_FEATURES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a run of two iterations and what it reported."""
    events = []
    store, reason = run(tmp_path_factory.mktemp("whole") / "run", configure(), events.append)
    assert reason == "iterations"
    return store, events


def test_random_episodes_are_collected_once_and_c_collects_in_every_iteration(whole):
    store, events = whole
    expected = [(0, "rollout"), *((i, name) for i in range(2) for name in PPO_FEATURES.names[1:])]
    assert [(e.iteration, e.stage) for e in events if isinstance(e, VersionCommitted)] == expected
    assert store.verify() == []
    made = History(store, PPO_FEATURES).collected()
    assert [v.name for v in made] == ["0000/rollout", "0000/controller", "0001/controller"]


def test_v_and_m_learn_from_all_episodes_so_far_also_from_those_that_c_drove(whole):
    store, _ = whole
    observations = [
        sum(len(e) + 1 for e in episodes_of(v, observed=False)) for v in History(store, PPO_FEATURES).collected()
    ]
    for iteration in range(2):
        mu, _ = latents_of(store.version(iteration, "vision"))
        assert mu.shape[1] == sum(observations[: iteration + 1])


def test_an_iteration_has_the_real_frames_that_it_is_to_have_in_several_updates(whole):
    store, _ = whole
    for iteration in range(2):
        metrics = store.version(iteration, "controller").metrics
        episodes = list(episodes_of(store.version(iteration, "controller"), observed=False))
        assert abs(metrics["frames"] - 240) <= 60  # to half an episode of each update
        assert metrics["frames"] == metrics["units"] == sum(e.frames for e in episodes)
        assert metrics["episodes"] == len(episodes)
        assert not any(e.deterministic for e in episodes)
    shards = [file for file in store.version(1, "controller").files if file.startswith("episodes-")]
    assert len(shards) == configure().updates == 2


def test_c_goes_on_from_the_iteration_before_with_its_optimizer(whole):
    store, _ = whole
    first, second = (store.version(i, "controller") for i in range(2))
    assert second.parents["0000/controller"] == first.hash
    for name in ("actor", "critic", "optimizer"):
        file = f"{name}.safetensors"
        assert first.tensors(file).keys() == second.tensors(file).keys()
    steps = [key for key in second.tensors("optimizer.safetensors") if key.endswith("step")]
    assert steps
    for key in steps:
        assert second.tensors("optimizer.safetensors")[key] > first.tensors("optimizer.safetensors")[key] > 0


@pytest.mark.slow
def test_stopped_again_and_again_it_ends_as_the_run_that_was_never_stopped(whole, tmp_path):
    calls = stops = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 10 + 41 * stops % 170

    reason = "interrupted"
    while reason == "interrupted":
        calls = 0
        torn, reason = run(tmp_path / "torn", configure("store.snapshot_seconds=0"), should_stop=should_stop)
        stops += reason == "interrupted"
        assert stops < 100
    assert stops > 5
    assert hashes(torn) == hashes(whole[0])


def test_a_process_that_dies_after_an_update_repeats_it_with_the_same_result(whole, tmp_path):
    class Died(BaseException):
        pass

    kept = [v for v in whole[0].versions() if v.iteration == 0 and v.stage in ("rollout", "vision", "memory")]
    store, updates = Store.create(tmp_path, "run", whole[0].config_text, {}, kept), set()

    def die(event) -> None:
        if isinstance(event, Progress) and event.stage == "controller":
            updates.add(event.done)
        if len(updates) > 1 and getattr(event, "kind", "") == "real":  # amid what the second one collects
            raise Died

    with pytest.raises(Died):
        run(store.path, configure("store.snapshot_seconds=0"), die)
    ended, reason = run(store.path, configure("store.snapshot_seconds=0"))
    assert reason == "iterations"
    assert hashes(ended) == hashes(whole[0])


def test_what_is_learnt_from_is_what_the_agent_saw_sampled_and_was_paid(whole):
    store, _ = whole
    config = configure("memory.reward_min=-1")
    with make_envs(config.env, 1) as pool:
        agent = Served.of(History(store, PPO_FEATURES), 1).agent(config, pool.actions, CPU)
    episode = next(episodes_of(store.version(1, "controller")))
    frames = episode.observations.copy()
    carry, trace, sampled = agent.start(1), Recorder(), []
    rng = np.random.default_rng(0)
    for frame in frames[:-1]:
        noise = rng.normal(size=(1, pool.actions.size)).astype(np.float32) * 3  # some actions leave the box
        action, carry = agent.act(carry, frame[None], Exploration(noise, 0 * noise, np.ones(1, np.bool_)))
        assert np.allclose(pool.actions.decode(carry.sampled.clamp(-1, 1).numpy()), action)
        trace.note(range(1), carry)
        sampled.append(carry.sampled[0])
    states, actions = trace.of(0, slice(0, len(episode)))
    last = agent.world.observe(states.at(slice(-1, None)), actions[-1:], frames[-1:])
    features = torch.cat([states.features, last.features])
    learnt = FeatureWave(RealWave([episode], [torch.stack(sampled)]), [features]).batch(config, agent)
    assert torch.equal(learnt.features[:, 0], features)
    torch.testing.assert_close(learnt.logprob[:, 0], agent.actor(features[:-1]).logprob(torch.stack(sampled)))
    paid = np.maximum(episode.rewards, -1)
    if episode.terminated:  # an end counts as it is
        paid[-1] = episode.rewards[-1]
    torch.testing.assert_close(learnt.reward[:, 0] * agent.world.reward_scale, torch.from_numpy(paid))
    assert float(learnt.continues[-1, 0]) == float(not episode.terminated)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_it_trains_in_environments_of_vectors_with_discrete_and_continuous_actions(tmp_path, env):
    small = {
        "rollout": {"prefill": ((4, 40),), "frames": 200}, "memory": tiny_config()["memory"], "precision": "fp32",
        "env": {"id": env, "num_envs": 2, "episode_frames": 60}, "evaluate": {"episodes": 2},
        "controller": {"batch_size": 100}, "budget": {"iterations": 2, "goal": None},
    }  # fmt: skip
    store, reason = run(tmp_path / "run", build_config("smoke", {"pipeline": "ppo-features"}, small))
    assert reason == "iterations"
    assert {"score", "frames", "approx_kl", "entropy"} <= store.version(1, "controller").metrics.keys()


def test_the_settings_of_dreams_are_unknown_to_it_and_those_of_c_and_its_data_are_world_models():
    with pytest.raises(UsageError, match=r"unknown setting 'dream"):
        configure("dream.horizon=5")
    with pytest.raises(UsageError, match=r"unknown setting 'controller.curiosity'"):
        configure("controller.curiosity=1")
    with pytest.raises(UsageError, match=r"unknown setting 'rollout.perturb_prob'"):
        configure("rollout.perturb_prob=0.1")
    racing = {"env": {"id": "CarRacing-v3"}}
    mine, theirs = build_config("laptop", {"pipeline": "ppo-features"}, racing), build_config("laptop", racing)
    assert isinstance(mine, VisionMemoryConfig)
    assert not isinstance(mine, WorldModelConfig)
    own = settings(PPOFeaturesConfig().controller)
    common = settings(mine).keys() & settings(theirs).keys() - {"pipeline", *(f"controller.{name}" for name in (
        "update_epochs", "minibatch_size", "learning_rate", "ref_kl_coef"))}  # fmt: skip
    assert {name: settings(mine)[name] for name in common} == {name: settings(theirs)[name] for name in common}
    assert own["gae_lambda"] == 0.95
    assert mine.rollout.frames == 32_000
    assert mine.controller.plateau_gamma == 0.95
    assert mine.updates == 8  # of 8,000 agent steps
