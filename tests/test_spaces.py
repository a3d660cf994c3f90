"""Spaces: another kind of actions, or of observations, through all that wmloop does with them."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_engines import Here
from tests.tiny_env import tiny_config
from tests.vector_envs import vector_env
from wmloop import loop
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.random_walk import RandomWalk
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Agent, Exploration
from wmloop.calibration.forecasts import forecast
from wmloop.config import RandomDriving, RolloutConfig, build_config, with_settings
from wmloop.config.text import to_toml
from wmloop.display.keys import Controls
from wmloop.display.showing import ClosedError
from wmloop.dreams import Noise, rollout
from wmloop.envs import PoolStep, engine
from wmloop.episodes import Cut, Replay, pack, unpack
from wmloop.errors import UsageError
from wmloop.events import Message
from wmloop.learn import ppo
from wmloop.learn.optim import adam, clipped_step
from wmloop.models import networks
from wmloop.models.encoder import Vectors
from wmloop.models.policies import Categorical, Deterministic
from wmloop.models.vision_memory import VisionMemory
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.player import Dreamt, Player, Real
from wmloop.spaces import BinnedActions, BoxActions, DiscreteActions, PictureAndVector, Pixels, Vector, recorded
from wmloop.store import Store
from wmloop.training.experience import LatentReplay, draw, filter_states
from wmloop.training.rollouts import (
    actions_of,
    episodes_of,
    record_spaces,
    require_same_observations,
    require_same_spaces,
)

CPU = torch.device("cpu")
CONFIG = build_config("smoke", tiny_config())


# ---- every space of actions


@pytest.fixture(params=["box", "discrete", "bins"])
def spec(request):
    bins = BinnedActions([2, 0, 1], 3)
    return {"box": BoxActions([-1, 0, -3], [1, 1, 5]), "discrete": DiscreteActions(4), "bins": bins}[request.param]


def test_actions_come_back_from_what_m_reads(spec):
    rng = np.random.default_rng(0)
    actions = np.stack([spec.sample(rng) for _ in range(50)])
    assert actions.shape == (50, *spec.shape)
    encoded = spec.encode(actions)
    assert (encoded.shape, encoded.dtype) == ((50, spec.size), np.float32)
    assert np.abs(encoded).max() <= 1
    back = spec.decode(encoded)
    assert back.dtype == spec.dtype
    np.testing.assert_allclose(back, actions, atol=1e-6)


def test_a_mirror_of_a_mirror_is_the_world_itself(spec):
    encoded = spec.encode(np.stack([spec.sample(np.random.default_rng(i)) for i in range(20)]))
    dimensions = {"box": (0, 2), "discrete": (0, 2, 1, 3), "bins": (0, 2, 1)}[spec.kind]
    before = encoded.copy()
    mirrored = spec.mirror(encoded, dimensions)
    np.testing.assert_array_equal(encoded, before)
    assert (mirrored != encoded).any()
    np.testing.assert_array_equal(spec.mirror(mirrored, dimensions), encoded)


def test_a_random_walk_stays_in_the_space_and_repeats(spec):
    first, again = (spec.random_walk(RandomDriving(), 200, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first.shape, first.dtype) == ((200, *spec.shape), spec.dtype)
    np.testing.assert_allclose(spec.decode(spec.encode(first)), first, atol=1e-6)


@given(st.lists(st.floats(0, 9), min_size=2, max_size=5).filter(lambda weights: sum(weights) > 1), st.integers(0, 99))
def test_a_random_walk_draws_discrete_actions_in_proportion_to_their_weights(weights, seed):
    settings = RandomDriving(autocorrelation=(0.0, 0.0), weights=tuple(weights))
    walk = DiscreteActions(len(weights)).random_walk(settings, 4000, np.random.default_rng(seed))
    drawn = np.bincount(walk, minlength=len(weights)) / len(walk)
    chances = np.array(weights) / sum(weights)
    assert (np.abs(drawn - chances) <= 6 * np.sqrt(chances * (1 - chances) / len(walk))).all()
    held = DiscreteActions(len(weights)).random_walk(
        RandomDriving(autocorrelation=(1.0, 1.0), weights=tuple(weights)), 40, np.random.default_rng(seed)
    )
    assert weights[held[0]] > 0
    assert (held == held[0]).all()


def test_pushes_come_as_often_as_configured_and_are_gone_in_between(spec):
    rngs = [np.random.default_rng(i) for i in range(40)]
    offset = spec.perturbations(RolloutConfig(perturb_prob=0.1, perturb_decisions=(3, 3)), rngs)
    pushed = np.stack([offset().any(1) for _ in range(400)])
    assert pushed.mean() == pytest.approx(3 / (3 + 9), abs=0.03)  # nine without, on average


def test_a_space_is_read_again_as_it_was_written(spec):
    assert recorded(json.loads(json.dumps(spec.record()))).record() == spec.record()


def test_actions_of_earlier_days_and_of_a_later_program():
    assert str(recorded({"low": [-1.0, 0.0], "high": [1.0, 0.5]})) == "in [-1.0, 0.0] to [1.0, 0.5]"
    with pytest.raises(UsageError, match=r"unknown actions 'text': .* box, discrete, bins"):
        recorded({"kind": "text"})


def test_pictures_of_one_channel_are_shown_grey():
    seen = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    assert Pixels(2, 3, 1).shape == seen.shape
    assert (Pixels(2, 3, 1).picture(seen) == seen).all()
    assert Pixels(2, 3, 1).picture(seen).shape == (2, 3, 3)
    assert Pixels(2, 3).shape == (2, 3, 3)


# ---- the policy over discrete actions


def test_a_categorical_policy_draws_from_normal_noise_as_often_as_it_says_and_its_mode_of_none():
    policy = Categorical(torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20_000, 4))
    drawn = policy.sample(torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(drawn.mean(0), [0.5, 0.3, 0.15, 0.05], atol=0.015)
    one = policy.at(torch.arange(1))
    assert one.sample(torch.zeros(1, 4)).tolist() == one.mode().tolist() == [[1, 0, 0, 0]]
    assert Deterministic(one).sample(torch.tensor([[-9.0, 9, 9, 9]])).tolist() == [[1, 0, 0, 0]]


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.lists(st.floats(-4, 4), min_size=3, max_size=3))
def test_what_a_categorical_policy_says_adds_up(a, b):
    policy, other = (Categorical(torch.tensor([x]).log_softmax(-1)) for x in (a, b))
    actions = torch.eye(3)
    every = Categorical(policy.log_p.expand(3, 3))
    assert every.logprob(actions).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert every.likelihood(actions, 2.0, 0.02).sum().item() == pytest.approx(1, abs=1e-5)
    assert -1e-5 <= policy.entropy().item() <= math.log(3) + 1e-5
    assert policy.kl(policy).item() == pytest.approx(0, abs=1e-6)
    assert policy.kl(other).item() >= -1e-5


# ---- discrete actions through the whole loop

_BOX = np.array([[0, 0.3], [-1, 0.3], [1, 0.3], [0, 0.8]], np.float32)  # on, left, right, up


class Keyed(Here):
    """TinyDrive by four keys, in this process."""

    def __init__(self, config, num_envs, max_unrewarded=None, output=None):
        super().__init__(config.model_copy(update={"mirrored_actions": ()}), num_envs, max_unrewarded, output)
        self.actions = DiscreteActions(len(_BOX))

    def send(self, copies, actions):
        assert actions.dtype == np.int64
        super().send(copies, _BOX[actions])


def test_discrete_actions_are_driven_learnt_dreamt_and_scored(tmp_path, monkeypatch):
    monkeypatch.setitem(engine.ENGINES.own, "keyed", Keyed)
    layer = {"env": {"engine": "keyed", "mirrored_actions": (0, 2, 1, 3)}, "rollout": {"perturb_prob": 0.2}}
    config = build_config("smoke", tiny_config(), layer, {"budget": {"iterations": 2}})
    store = Store.create(tmp_path, "keys", to_toml(config), {})
    with store.lock():
        loop.run(store, config, WORLD_MODEL, CPU, lambda event: None, lambda: False)
    assert {version.name for version in store.versions()} >= {"0001/rollout", "0001/controller", "0001/evaluate"}
    for iteration in (0, 1):
        rollout = store.version(iteration, "rollout")
        assert actions_of(rollout).record() == {"kind": "discrete", "size": 4}
        driven = np.concatenate([episode.actions for episode in episodes_of(rollout)])
        assert driven.dtype == np.int64
        assert set(driven.tolist()) == {0, 1, 2, 3}
    assert math.isfinite(store.version(1, "controller").metrics["approx_kl"])


# ---- vectors to look at


class Corridor:
    """Engine and environment: walk along a line of nine places by left, stay, right; the right end pays and ends it."""

    ENDS = 4

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.actions, self.observations = DiscreteActions(3), Vector(2)
        self._at, self._left = np.zeros(num_envs, int), np.zeros(num_envs, int)
        self._sent = []

    def _seen(self, copies):
        return np.stack([(self._at[i] / self.ENDS, self._left[i] > 0) for i in copies]).astype(np.float32)

    def reset(self, seeds, decisions=None):
        for i, (seed, limit) in enumerate(zip(seeds, decisions, strict=True)):
            if seed is not None:
                self._at[i], self._left[i] = np.random.default_rng(seed).integers(-3, 4), limit
        return self._seen(range(self.num_envs))

    def send(self, copies, actions):
        self._sent.append((copies, actions))

    def receive(self):
        copies, actions = self._sent.pop(0)
        driving = np.array([self._left[i] > 0 for i in copies])
        for i, action in zip(copies, actions, strict=True):
            if self._left[i] > 0:
                self._at[i] += action - 1
                self._left[i] -= 1
        ended = np.array([abs(self._at[i]) == self.ENDS for i in copies]) & driving
        cut = np.array([self._left[i] == 0 for i in copies]) & driving & ~ended
        reward = np.where(ended, np.sign([self._at[i] for i in copies]), 0).astype(np.float32)
        for i, end in zip(copies, ended, strict=True):
            self._left[i] *= not end
        reasons = np.where(cut, Cut.DECISIONS, Cut.NONE).astype(np.int8)
        return copies, PoolStep(self._seen(copies), reward, ended, cut, driving.astype(np.int64), reasons)

    def pin_thread(self, copies):
        pass


class Drawn(VisionMemory):
    """A world model whose z is the vector that is seen, and which has a picture of it."""

    def __init__(self, memory):
        super().__init__(Vectors(2), memory, 1.0)

    def decode(self, features):
        return np.full((len(features), 8, 8, 3), 100, np.uint8)


@pytest.fixture
def config():
    layer = {"vision": {"latent_size": 2}, "env": {"num_envs": 4, "mirrored_actions": (2, 1, 0)}}
    return build_config("smoke", tiny_config(), layer)


@pytest.fixture
def agent(config):
    torch.manual_seed(0)
    memory, actions = networks.new_memory(config, 2, 3, CPU), DiscreteActions(3)
    critic = networks.new_critic(config, memory.features, CPU).eval()
    return Agent(Drawn(memory), networks.new_actor(config, memory.features, actions, CPU), actions, critic)


def wander(count=8, decisions=12):
    pool, episodes, shown = Corridor(4), [], []
    for start in range(0, count, 4):
        wave = [EpisodeTask(start + i, decisions) for i in range(4)]
        plans = [
            pool.actions.random_walk(RandomDriving(), decisions, np.random.default_rng(task.seed)) for task in wave
        ]
        episodes += drive(
            pool, wave, {copies: RandomWalk(np.stack([plans[i] for i in copies], 1)) for copies in halves(4)},
            lambda frames, episode: shown.append(episode and episode.observation),
        )  # fmt: skip
    assert shown
    assert {None if one is None else one.shape for one in shown} == {None, (2,)}
    return episodes


class Latents:
    """What V would have stored of the episodes: the vectors themselves, and mirrored if asked."""

    files = ("latents-0000.safetensors",)

    def __init__(self, episodes, mirror=False):
        mu = np.concatenate([episode.observations for episode in episodes])
        self._mu = np.stack([mu, mu * [-1, 1]][: 1 + mirror]).astype(np.float16)

    def tensors(self, name):
        return {"mu": self._mu, "logvar": np.full_like(self._mu, -8)}


def test_episodes_of_vectors_survive_the_way_through_a_shard():
    episodes = wander()
    arrays = pack(episodes)
    assert "0000.observations" in arrays
    for old, new, bare in zip(episodes, unpack(arrays), unpack(arrays, observed=False), strict=True):
        np.testing.assert_array_equal(old.observations, new.observations)
        np.testing.assert_array_equal(old.actions, new.actions)
        assert (new.observations.dtype, new.actions.dtype) == (np.float32, np.int64)
        assert (bare.observations.shape, bare.observations.dtype) == ((0, 2), np.float32)


@pytest.mark.parametrize("now", [Vector(3), Pixels(2, 1), PictureAndVector(Pixels(2, 2, 1), Vector(1)), Vector(2)])
def test_an_environment_that_shows_what_the_stored_episodes_do_not_have_is_refused(now, tmp_path):
    store, actions = Store.create(tmp_path, "run", "", {}), DiscreteActions(3)
    with store.lock():
        draft = store.draft(0, "rollout")
        record_spaces(draft, actions, Vector(2))
        rollouts = [draft.commit([], {}, 0.0)]
    require_same_spaces([], actions, now)
    if now == Vector(2):
        require_same_spaces(rollouts, actions, now)
    else:
        with pytest.raises(
            UsageError, match=r"observations are .* now, and were float32 \(2,\) when its episodes were collected"
        ):
            require_same_spaces(rollouts, actions, now)
    with pytest.raises(UsageError, match="the environment's actions are"):
        require_same_spaces(rollouts, DiscreteActions(4), now)


def test_a_picture_and_a_vector_of_as_many_bytes_are_told_apart():
    seen, now = (PictureAndVector(Pixels(2, 2, count), Vector(4 - count)) for count in (1, 3))
    assert seen.shape == now.shape
    with pytest.raises(
        UsageError, match=r"uint8 \(2, 2, 3\) beside float32 \(1,\) now, and were uint8 \(2, 2, 1\) beside"
    ):
        require_same_observations(seen, now)


class Shrunk(Here):
    """The environment as it is resumed with: it shows smaller pictures than it did."""

    def __init__(self, *given):
        super().__init__(*given)
        self.observations = Pixels(32, 32)

    def _small(self, seen):
        return seen[:, ::2, ::2]

    def reset(self, *given):
        return self._small(super().reset(*given))

    def receive(self):
        copies, step = super().receive()
        return copies, step._replace(obs=self._small(step.obs))


def test_a_run_whose_environment_shows_others_when_it_is_resumed_is_refused_before_it_drives(tmp_path):
    config = build_config("smoke", tiny_config(), {"env": {"engine": "tests.test_engines:Here"}})
    store = Store.create(tmp_path, "run", to_toml(config), {})
    told = []

    def go_on(config, stop):
        with store.lock():
            loop.run(store, config, WORLD_MODEL, CPU, told.append, stop)

    go_on(config, lambda: bool(store.version(0, "rollout")))
    shrunk = with_settings(config, {"env": {"engine": "tests.test_spaces:Shrunk"}})
    with pytest.raises(
        UsageError, match=r"uint8 \(32, 32, 3\) now, and were uint8 \(64, 64, 3\) when its episodes were collected"
    ):
        go_on(shrunk, lambda: False)
    assert store.version(0, "evaluate") is None
    go_on(config, lambda: bool(store.version(0, "evaluate")))
    assert store.version(0, "evaluate")


def test_experience_has_the_mirrored_world_beside_the_real_one(config):
    episodes = wander()
    replay = Replay([episodes], DiscreteActions(3))
    experience = LatentReplay.of(config, replay, Latents(episodes, mirror=True), 1.0, CPU)
    assert (experience.actions.sum(-1)[:, replay.first] == 1).all()
    assert torch.equal(experience.actions[1], experience.actions[0].flip(-1))
    assert torch.equal(experience.mu[1, :, 0], -experience.mu[0, :, 0])


def test_m_learns_and_c_improves_in_dreams_of_vectors_with_discrete_actions(config, agent):
    episodes, memory = wander(40), agent.world.memory
    replay = Replay([episodes], agent.actions)
    experience = LatentReplay.of(config, replay, Latents(episodes), 1.0, CPU)
    optimizer = adam([p for p in memory.parameters() if p.requires_grad], 1e-2)
    losses, states = [], filter_states(memory, experience)
    for i in range(150):
        batch = draw(experience, states, config.memory, np.random.default_rng(i), torch.Generator().manual_seed(i))
        loss, _ = memory.loss(*batch, 10.0, 1.0, 1.0)
        clipped_step(loss, optimizer, 10.0)
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1
    actor, critic = agent.actor, agent.critic
    actor.init_mean(experience.actions[0, : len(replay.rewards) - 1].mean(0))
    imagination, reference = (
        agent.world.imagination(1.0),
        networks.new_actor(config, memory.features, agent.actions, CPU),
    )
    reference.load_state_dict(actor.state_dict())
    optimizer = adam([*actor.parameters(), *critic.parameters()], 1e-3)
    start = filter_states(memory, experience).at(0)
    settings = config.controller.model_copy(update={"minibatch_size": 256, "target_kl": 1.0})

    def dreamt(seed):
        generator = torch.Generator().manual_seed(seed)
        return rollout(imagination, actor, start, Noise.draw(8, len(start.features), 2, 3, generator))

    before = dreamt(0)
    assert set(before.action.unique().tolist()) == {0, 1}
    assert (before.action.sum(-1) == 1).all()
    for i in range(12):
        metrics = ppo.update(
            actor, critic, reference, optimizer, dreamt(i + 1).learnable(), settings, torch.Generator().manual_seed(i)
        )
        assert all(math.isfinite(value) for value in metrics.values())
    after = dreamt(0)
    assert after.total.mean() > before.total.mean() + 0.05
    assert after.action[..., 2].mean() > before.action[..., 2].mean() + 0.05


def test_what_an_agent_did_is_recorded_as_m_reads_it_and_m_is_asked_about_it(config, agent):
    pool = Corridor(4)
    trace, wave = Recorder(), [EpisodeTask(seed, 30, seed == 1) for seed in range(3)]
    offset = pool.actions.perturbations(
        config.rollout.model_copy(update={"perturb_prob": 0.3}), [np.random.default_rng(0)] * 2
    )
    explore = np.array([not task.deterministic for task in wave] + [False])

    def exploring(t, copies):
        noise = np.random.default_rng(t).standard_normal((4, 3), np.float32)
        here = slice(copies.start, None, copies.step)
        return Exploration(noise[here], offset(), explore[here])

    agents = dict.fromkeys(halves(4), agent)
    episodes = drive(pool, wave, agents, lambda frames, picture: None, exploring, trace)
    for i, episode in enumerate(episodes):
        states, actions = trace.of(i, slice(0, len(episode)))
        np.testing.assert_array_equal(actions.numpy(), agent.actions.encode(episode.actions))
        np.testing.assert_array_equal(states.features[:, :2].numpy(), episode.observations[:-1])
    told = forecast(agent, trace, config, episodes, open_loop=True)
    assert all(math.isfinite(value) for one in told for value in one.predicted)


class Watched:
    """The corridor as the player drives it: one copy, which can be rendered."""

    def __init__(self):
        self._pool = Corridor(1)
        self.actions, self.observations = self._pool.actions, self._pool.observations

    def reset(self, seed):
        return self._pool.reset([seed], [40])[0]

    def step(self, action):
        self._pool.send(range(1), np.stack([action]))
        _, step = self._pool.receive()
        return step.obs[0], float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), 1

    def render(self):
        return np.zeros((16, 16, 3), np.uint8)


class Hands:
    """A person who takes the wheel at once and holds right, for so many pictures."""

    def __init__(self, longest):
        self.shown, self._longest = [], longest

    def show(self, picture, caption, lines=()):
        self.shown.append(lines)
        if len(self.shown) > self._longest:
            raise ClosedError

    def pressed(self):
        return ["m"] if not self.shown else []

    def hand(self):
        return Controls(steer=1.0)


@pytest.mark.parametrize("place", ["real", "both", "dream"])
def test_a_person_drives_by_discrete_actions_in_every_world(agent, place):
    real = Real(Watched(), agent)
    hands = Hands(12)
    player = Player(hands, real, Dreamt(real, 40, 1), place, "corridor", 10.0)
    with pytest.raises(ClosedError):
        player.play([5])
    assert "your action" in hands.shown[-1][1]
    if place != "dream":
        assert real.state.features[0, 0] == 1  # at the right end
        assert "terminated" in real.moment.ended


def test_a_run_warns_of_numbers_that_go_far_beyond_those_of_its_random_episodes(tmp_path):
    layer = tiny_config() | {"budget": {"iterations": 2}}
    layer["env"] = {"id": vector_env("Clock"), "num_envs": 4, "episode_frames": 60}
    layer["rollout"] = layer["rollout"] | {"prefill": [[20, 3]]}
    config = build_config("smoke", layer)
    store, told = Store.create(tmp_path, "run", to_toml(config), {}), []
    with store.lock():
        loop.run(store, config, WORLD_MODEL, CPU, told.append, lambda: bool(store.version(1, "vision")))
    texts = {event.text for event in told if isinstance(event, Message) and "is clipped there" in event.text}
    assert len(texts) == 1
    assert texts.pop().startswith("number 1 of the vector is more than 10 standard deviations")
