"""The dream as an environment of Gymnasium's: each copy for itself to the last bit, from states that are remembered."""

import copy
import itertools
import json
import os
import shutil
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import wmloop
from tests.commands import wmloop as command
from tests.tiny_env import tiny_config
from tests.vector_world import PUSH, VectorWorld
from wmloop.config import EnvConfig, build_config
from wmloop.config.text import to_toml
from wmloop.dream_env import chance, copies
from wmloop.dream_env.real import RealityEnv
from wmloop.dream_env.source import Source
from wmloop.dream_env.vector import DreamVectorEnv
from wmloop.envs import RealEnv
from wmloop.episodes import Replay
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.history import History
from wmloop.models.blocks import Blocks, block_size, by_blocks
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Memory
from wmloop.models.world_model import Outcome, State
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.serving.agent import Served
from wmloop.serving.starts import starts_of
from wmloop.spaces import BoxActions, DiscreteActions
from wmloop.store import Store
from wmloop.store.tensors import encode, read
from wmloop.training.experience import LatentReplay, filter_states
from wmloop.training.rollouts import actions_of, episodes_of
from wmloop.training.starts import KEPT

CPU = torch.device("cpu")
DREAM, REAL = "wmloop/Dream-v0", "wmloop/Real-v0"


def vector(num, run="demo", **arguments):
    return gymnasium.make_vec(DREAM, num_envs=num, run=run, **arguments)


def action_of(seed, t):
    return np.random.default_rng([seed, t]).uniform([-1, 0, 0], [1, 1, 1]).astype(np.float32)


def driven(envs, seeds, steps):
    """Return what each copy shows and is paid (steps, N, ...), its actions a function of its seed and the time."""
    told = [(envs.reset(seed=list(seeds))[0], *np.zeros((3, len(seeds))))]
    for t in range(steps):
        told.append(envs.step(np.stack([action_of(seed, t) for seed in seeds]))[:4])
    return [np.stack(part) for part in zip(*told, strict=True)]


def equal(ours, theirs):
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


# ---- registered


@pytest.mark.parametrize("imports", ["import gymnasium, wmloop", "import wmloop, gymnasium"])
def test_the_environments_are_registered_in_whatever_order_things_are_imported_and_torch_is_not(imports):
    program = f"{imports}, sys; print('torch' in sys.modules, {{{DREAM!r}, {REAL!r}}} <= gymnasium.registry.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_looking_for_gymnasium_is_not_importing_it():
    looked = "import wmloop, importlib.util as u; u.find_spec('gymnasium')"
    program = f"{looked}; import gymnasium; print({DREAM!r} in gymnasium.registry)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_where_only_gymnasium_was_imported_a_name_with_the_module_does():
    program = f"import gymnasium; print(gymnasium.make('wmloop:{DREAM}', run='demo').spec.id)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [DREAM]


def test_an_import_of_gymnasium_that_fails_says_what_it_would_say(tmp_path):
    (tmp_path / "gymnasium.py").write_text("raise ImportError('broken here')")
    program = "import sys; import wmloop; sys.path.insert(0, sys.argv[1]); import gymnasium"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "ImportError: broken here" in done.stderr


# ---- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", [DREAM, REAL])
def test_the_environments_can_be_stepped_in_forked_processes_though_torch_has_begun_threads_here(name, run):
    program = (
        "import gymnasium, sys, torch, wmloop; torch.set_num_threads(2)\n"
        f"envs = gymnasium.make_vec({name!r}, num_envs=2, run=sys.argv[1], vectorization_mode='async',\n"
        "                           vector_kwargs={'context': 'fork'})\n"
        "seen, _ = envs.reset(seed=3); envs.step(envs.action_space.sample()); envs.close(); print(seen.shape[0])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, run.path], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["2"], done.stderr


def test_a_dream_can_be_copied_and_goes_on_alike():
    env = gymnasium.make(DREAM, run="demo")
    env.reset(seed=5)
    twin = copy.deepcopy(env)
    for _ in range(2):
        action = env.action_space.sample()
        for here, there in zip(env.step(action)[:4], twin.step(action)[:4], strict=True):
            np.testing.assert_array_equal(here, there)


# ---- chance


def test_the_numbers_are_those_that_splitmix_is_known_for():
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert chance.draw(np.array([1234567], np.uint64), np.zeros(1, np.int64), 5)[0].tolist() == known


def test_numbers_of_neighbouring_seeds_episodes_and_steps_are_independent_uniform_and_normal():
    seeds, episodes, steps = (a.ravel() for a in np.meshgrid(np.arange(20), np.arange(10), np.arange(25)))
    bits = chance.draw(chance.streams(seeds.astype(np.uint64), episodes), steps, 16)
    assert len(np.unique(bits)) == bits.size
    for numbers, mean, variance in ((chance.uniforms(bits), 0.5, 1 / 12), (chance.normals(bits), 0.0, 1.0)):
        assert numbers.shape == (5000, 32)
        assert abs(numbers.mean() - mean) < 5 * np.sqrt(variance / numbers.size)
        assert numbers.var() == pytest.approx(variance, rel=0.02)
        across = np.corrcoef(numbers.T) - np.eye(32)
        assert abs(across).max() < 6 / np.sqrt(len(numbers))
    assert 0 <= chance.uniforms(bits).min() <= chance.uniforms(bits).max() < 1
    below = (chance.normals(bits)[..., None] < [-1.959964, 0, 1.959964]).mean((0, 1))
    np.testing.assert_allclose(below, [0.025, 0.5, 0.975], atol=0.004)


def test_the_first_and_the_last_of_all_numbers_are_finite_and_below_one():
    bits = np.array([[0, 2**64 - 1]], np.uint64)
    assert np.isfinite(chance.normals(bits)).all()
    assert chance.uniforms(bits).max() < 1
    assert chance.uniform(bits).max() < 1


# ---- blocks


def small_kernel():
    torch.manual_seed(0)
    memory = Memory(6, 3, 24, 4).eval()
    begun = memory.begin(torch.randn(50, 6))
    return Blocks(Kernel(memory, 1.1, 10.0), begun, 2 * torch.rand(50, 3) - 1), begun


BLOCKS, BEGUN = small_kernel()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_an_imagined_step_has_the_same_bits_in_a_batch_of_any_width_and_order(data):
    width = data.draw(st.integers(1, 40) | st.sampled_from([64, 127, 128, 129, 300]))
    rows = torch.tensor(data.draw(st.lists(st.integers(0, 49), min_size=width, max_size=width)))
    noise = [torch.rand(50, size, generator=torch.Generator().manual_seed(size)) for size in (3, 6, 6)]
    whole, many = BLOCKS.imagine(BEGUN, *noise), BLOCKS.imagine(BEGUN.at(rows), *(part[rows] for part in noise))
    for together, chosen in zip(itertools.chain(*whole), itertools.chain(*many), strict=True):
        assert torch.equal(together[rows], chosen)


def test_blocks_imagine_what_the_world_model_imagines():
    torch.manual_seed(0)
    memory = Memory(6, 3, 24, 4).eval()
    noise = [torch.rand(50, size) for size in (3, 6, 6)]
    plain = Kernel(memory, 1.1, 10.0).imagine(BEGUN, *noise)
    for one, other in zip(itertools.chain(*plain), itertools.chain(*BLOCKS.imagine(BEGUN, *noise)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda x: [x + 1], 128),
        (lambda x: [x - x.mean(0)], 1),  # a row that knows the others
        (lambda x: [x + torch.arange(len(x))[:, None]], 1),  # and one that knows its place
        (lambda x: [x if len(x) <= 32 else x * torch.arange(len(x))[:, None]], 32),
    ],
)
def test_rows_that_depend_on_others_or_on_their_place_are_computed_in_smaller_blocks(function, wanted):
    assert block_size(function, [torch.rand(7, 3)]) == wanted


@given(st.integers(1, 40), st.integers(1, 20))
def test_no_row_is_lost_or_added_in_blocks(count, size):
    rows = torch.arange(3.0 * count).view(count, 3)
    assert torch.equal(by_blocks(lambda x: [2 * x], size, [rows])[0], 2 * rows)


# ---- the same bits everywhere (the demo's own networks)


@pytest.fixture(scope="module")
def crowd():
    return driven(vector(150, horizon=9), range(150), 20)


@pytest.mark.parametrize("width", [1, 2, 7, 31, 64, 129])
def test_copies_have_the_same_bits_in_vectors_of_any_width_and_order(crowd, width):
    seeds = [int(seed) for seed in np.random.default_rng(width).permutation(150)[:width]]
    assert equal(driven(vector(width, horizon=9), seeds, 20), [part[:, seeds] for part in crowd])


@pytest.mark.slow
def test_a_thousand_copies_have_the_bits_of_a_hundred_and_fifty(crowd):
    assert equal([part[:, :150] for part in driven(vector(1000, horizon=9), range(1000), 20)], crowd)


def test_one_environment_has_the_bits_of_a_copy(crowd):
    env = gymnasium.make(DREAM, run="demo", horizon=9)
    told, t = [(env.reset(seed=17)[0], 0.0, False, False)], 0
    while t < 20:  # the vector environment begins anew in the step after an end, which counts in its time
        over = told[-1][2] or told[-1][3]
        told.append((env.reset()[0], 0.0, False, False) if over else env.step(action_of(17, t))[:4])
        t += 1
    assert equal([np.stack(part) for part in zip(*told, strict=True)], [part[:, 17] for part in crowd])


def test_pictures_have_the_same_bits_too():
    many, one = (vector(num, observation="pixels") for num in (40, 1))
    assert equal([part[:, 33:34] for part in driven(many, range(40), 3)], driven(one, [33], 3))


def test_a_seed_repeats_all_that_follows_and_another_does_not():
    envs = vector(3)
    first, again, other = (driven(envs, seeds, 4) for seeds in ([1, 2, 3], [1, 2, 3], [4, 5, 6]))
    assert equal(first, again)
    assert not np.array_equal(first[0][0], other[0][0])
    assert np.array_equal(envs.reset(seed=5)[0], envs.reset(seed=[5, 6, 7])[0])
    assert not np.array_equal(vector(3).reset()[0], vector(3).reset()[0])


def test_a_copy_without_a_seed_of_its_own_goes_on_in_its_stream():
    envs = vector(2, horizon=3)
    begun, _ = envs.reset(seed=[1, 2])
    next_, _ = envs.reset(seed=[1, None])
    assert np.array_equal(next_[0], begun[0])
    assert not np.array_equal(next_[1], begun[1])


# ---- Gymnasium's rules


@pytest.mark.parametrize("observation", ["features", "latent", "pixels"])
def test_gymnasium_finds_nothing_to_say(observation):
    check_env(gymnasium.make(DREAM, run="demo", observation=observation).unwrapped)


def test_what_is_shown_lies_in_the_space_that_is_declared():
    for observation, size in (("features", (288,)), ("latent", (32,)), ("pixels", (64, 64, 3))):
        envs = vector(3, observation=observation, render_mode="rgb_array")
        shown, _ = envs.reset(seed=1)
        assert shown.shape == (3, *size)
        assert shown in envs.observation_space
        assert [picture.shape for picture in envs.render()] == [(64, 64, 3)] * 3
    features, latent = (vector(2, observation=name).reset(seed=1)[0] for name in ("features", "latent"))
    assert np.array_equal(features[:, :32], latent)


MODES = ["NextStep", "SameStep", "Disabled"]


class Coin(VectorWorld):
    """A world in which each step ends the episode with the probability 0.3, and pays 2, or -10 where it ends."""

    reward_scale = 2.0

    def imagine(self, state, action, uniform, normal):
        ones = torch.ones(len(action))
        return self.advance(state, action), Outcome(ones, -5 * ones, 0.3 * ones)


@pytest.fixture
def coin(monkeypatch):
    points = torch.linspace(-1, 1, 64).view(32, 2)
    source = Source(Coin(), BoxActions([-1, -1], [1, 1]), State(points, points[:, :0]), EnvConfig(episode_frames=8))
    monkeypatch.setattr(copies, "dreamt", lambda run, iteration, device: source)
    return source


def test_steps_end_as_often_as_the_world_model_says_and_pay_what_it_says_then(coin):
    envs = DreamVectorEnv(500, "coin", autoreset_mode="SameStep")
    envs.reset(seed=1)
    told = [envs.step(np.zeros((500, 2)))[1:4] for _ in range(40)]
    rewards, terminated, truncated = (np.stack(part) for part in zip(*told, strict=True))
    assert terminated.mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / terminated.size))
    assert set(rewards[terminated]) == {-10.0}
    assert set(rewards[~terminated]) == {2.0}
    assert not (terminated & truncated).any()
    # of eight steps the last truncates, if nothing has ended before: an episode of a real one's length
    assert truncated.any()


@pytest.mark.usefixtures("coin")
def test_a_dream_is_as_long_as_a_real_episode_unless_a_horizon_is_given():
    for horizon, length in ((None, 8), (3, 3), (20, 20)):
        envs, taken, cut = DreamVectorEnv(1000, "coin", horizon=horizon, autoreset_mode="SameStep"), np.zeros(1000), []
        envs.reset(seed=0)
        for _ in range(2 * length):
            _, _, terminated, truncated, _ = envs.step(np.zeros((1000, 2)))
            taken += 1
            cut += [*taken[truncated]]
            taken[terminated | truncated] = 0
            assert (taken < length).all()
        assert set(cut) == {length}


@pytest.mark.parametrize(("frames", "repeat", "steps"), [(10, 3, 4), (1000, 4, 250), (2, 5, 1)])
def test_the_last_agent_step_of_a_dream_may_have_fewer_frames_as_a_real_episode_s_has(
    coin, monkeypatch, frames, repeat, steps
):
    env = EnvConfig(episode_frames=frames, action_repeat=repeat)
    monkeypatch.setattr(copies, "dreamt", lambda *_: coin._replace(env=env))
    assert copies.Copies(1, "coin", None, 1.0, None, "features", "cpu", None).horizon == steps


@pytest.mark.usefixtures("coin")
def test_episodes_are_the_same_whenever_an_ended_copy_begins_anew():
    """One after the other, without what shows only that they ended."""

    def episodes(mode):
        envs, found = DreamVectorEnv(6, "coin", autoreset_mode=mode), [[] for _ in range(6)]
        shown, _ = envs.reset(seed=3)
        current = [[row] for row in shown]
        while min(map(len, found)) < 4:
            shown, reward, terminated, truncated, infos = envs.step(np.full((6, 2), 0.5))
            over = terminated | truncated
            for i in range(6):
                if mode == "NextStep" and not current[i]:
                    current[i] = [shown[i]]  # the step after an end only begins
                    continue
                last = infos["final_obs"][i] if mode == "SameStep" and over[i] else shown[i]
                current[i] += [last, reward[i]]
                if over[i]:
                    found[i].append(np.concatenate([np.ravel(part) for part in current[i]]))
                    current[i] = [] if mode == "NextStep" else [shown[i]]
            if mode == "Disabled" and over.any():
                shown, _ = envs.reset(options={"reset_mask": over})
                for i in np.flatnonzero(over):
                    current[i] = [shown[i]]
        return [[episode.tolist() for episode in copy[:4]] for copy in found]

    next_step, same_step, disabled = map(episodes, MODES)
    assert next_step == same_step == disabled


@pytest.mark.usefixtures("coin")
def test_each_mode_is_declared_and_does_what_gymnasium_says_of_it():
    for mode in MODES:
        envs = DreamVectorEnv(300, "coin", autoreset_mode=mode)
        assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode(mode)
        envs.reset(seed=1)
        _, _, ended, _, infos = envs.step(np.zeros((300, 2)))
        assert ("final_obs" in infos) == (mode == "SameStep")
        if mode == "SameStep":
            assert np.array_equal(infos["_final_obs"], ended)
            assert all((shown is not None) == over for shown, over in zip(infos["final_obs"], ended, strict=True))
        if mode == "Disabled":
            envs.reset(options={"reset_mask": ended})
        before = envs.state
        _, rewards, terminated, truncated, _ = envs.step(np.ones((300, 2)))
        going = ~(terminated | truncated)
        assert 0 < going.sum() < 300
        if mode == "NextStep":
            assert not any(told[ended].any() for told in (rewards, terminated, truncated))
            assert (rewards[~ended] != 0).all()
        else:
            np.testing.assert_allclose(envs.state[going], (before + PUSH)[going], atol=1e-6)


# ---- where dreams begin


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = tiny_config() | {"preset": "smoke", "seed": 4, "budget": {"iterations": 2}}
    config["env"] = config["env"] | {"mirrored_actions": [0]}
    config["dream"] = config["dream"] | {"burn_in": 3}
    return wmloop.train(config, name="tiny", runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def exported(run):
    file = run.path.parent / "tiny.safetensors"
    assert command("export", str(run.path), "--to", str(file)).exit_code == 0
    return file


def remembered(run):
    history = History(Store.open(run.path), WORLD_MODEL)
    served = Served.of(history, run.best)
    return history, served, starts_of(history, served, run.config, CPU)


def test_dreams_begin_at_states_that_the_memory_had_in_real_episodes_after_the_burn_in(run):
    history, served, starts = remembered(run)
    assert len(starts.features) == KEPT
    rollouts = history.collected(run.best + 1)
    replay = Replay([list(episodes_of(one, observed=False)) for one in rollouts], actions_of(rollouts[-1]))
    experience = LatentReplay.of(run.config, replay, served.versions["vision"], 1.0, CPU)
    agent = served.agent(run.config, replay.spec, CPU)
    known = filter_states(agent.world.memory, experience)
    spans = zip(replay.first, replay.length, strict=True)
    inside = torch.from_numpy(np.concatenate([np.arange(min(3, length), length) + first for first, length in spans]))
    rows = torch.cat([known.at((side, inside)).pack() for side in (0, 1)])
    assert farthest(starts.pack(), rows) < 1e-5
    assert len(torch.unique(starts.pack(), dim=0)) > KEPT // 8
    shown, _ = vector(40, run=run.path).reset(seed=0)
    assert farthest(torch.from_numpy(shown), starts.features) == 0


def farthest(rows, known):
    """Return how far the farthest of rows is from the nearest of those that are known."""
    return float(torch.cdist(rows, known, compute_mode="donot_use_mm_for_euclid_dist").min(1).values.max())


def test_no_dream_begins_before_anything_was_seen():
    """The zeros of a memory that has just begun are no state to dream from."""
    envs = vector(64)
    envs.reset(seed=0)
    hidden = envs.unwrapped.state[:, 32:]
    assert (np.abs(hidden).max(1) > 0.1).all()


def test_an_exported_agent_dreams_as_its_run_does_and_so_does_one_that_was_imported(run, exported, tmp_path):
    def dreams(where):
        envs = vector(5, run=where)
        shown, _ = envs.reset(seed=1)
        return [shown, *(envs.step(np.full((5, 2), 0.3, np.float32))[0] for _ in range(4))]

    assert command("import", str(exported), "guest", runs=tmp_path).exit_code == 0
    again = tmp_path / "again.safetensors"
    assert command("export", "guest", "--to", str(again), runs=tmp_path).exit_code == 0
    wanted = dreams(run.path)
    for where in (exported, tmp_path / "guest", again):
        assert equal(dreams(where), wanted)


def changed(exported, tmp_path, change):
    tensors, notes = read(exported)
    change(tensors, notes)
    path = tmp_path / "changed.safetensors"
    path.write_bytes(encode(tensors, notes))
    return path


def test_an_agent_of_earlier_days_plays_and_says_what_to_do_before_it_dreams_for_others(exported, tmp_path):
    def earlier(tensors, notes):
        for name in [name for name in tensors if name.startswith("starts.")]:
            del tensors[name]

    old = changed(exported, tmp_path, earlier)
    assert wmloop.load(old, trust_env=True).iteration == 0
    with pytest.raises(UsageError, match=r"does not tell where dreams begin.*wmloop export RUN --to FILE"):
        gymnasium.make(DREAM, run=str(old))


def _other(name, array):
    return lambda tensors, notes: tensors.update({f"starts.{name}": array})


@pytest.mark.parametrize(
    "change",
    [
        _other("features", np.zeros((4, 9), np.float32)), _other("inner", np.zeros((KEPT, 3), np.float32)),
        _other("inner", np.zeros((KEPT, 32))), _other("more", np.zeros((KEPT, 1), np.float32)),
        _other("inner", np.full((KEPT, 32), np.nan, np.float32)),
        lambda tensors, notes: tensors.pop("starts.inner"),
        lambda tensors, notes: tensors.update({name: tensors[name][:0] for name in ("starts.features", "starts.inner")}),
    ],
)  # fmt: skip
def test_states_that_are_none_of_its_memory_are_refused_with_the_file(exported, tmp_path, change):
    path = changed(exported, tmp_path, change)
    with pytest.raises(StoreCorruptError, match=r"changed\.safetensors.*remembered states"):
        gymnasium.make(DREAM, run=path)


def test_pruned_episodes_are_missed_and_that_is_said(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "tiny")
    done = command("prune", "tiny", "--keep-last", "1", "--keep-every", "1", runs=tmp_path)
    assert done.exit_code == 0, done.stderr
    with pytest.raises(UsageError, match="does not tell where dreams begin"):
        gymnasium.make(DREAM, run=tmp_path / "tiny", iteration=0)


def test_to_dream_needs_no_environment_and_no_trust_and_reality_needs_both(exported):
    make = f"gymnasium.make({DREAM!r}, run={str(exported)!r}).reset()"
    program = f"import gymnasium, wmloop, sys; {make}; print('tests.tiny_env' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    with pytest.raises(UsageError, match="trust"):
        gymnasium.make(REAL, run=exported)


# ---- states and reality


def test_a_dream_begins_at_a_state_that_is_given_to_all_copies_or_to_each():
    env, envs = gymnasium.make(DREAM, run="demo"), vector(3)
    env.reset(seed=1)
    shown = env.step(action_of(0, 0))[0]
    state = env.unwrapped.state
    together, _ = envs.reset(seed=9, options={"state": state})
    assert np.array_equal(together, np.stack([shown] * 3))
    after = envs.step(np.stack([action_of(0, 1)] * 3))[0]
    assert not np.array_equal(after[0], after[1])  # each has its own chance
    each, _ = envs.reset(options={"state": envs.unwrapped.state})
    assert np.array_equal(each, after)
    assert np.array_equal(env.reset(options={"state": state})[0], shown)


def test_reality_shows_what_a_dream_begins_with_and_is_driven_as_inside(run):
    check_env(gymnasium.make(REAL, run=run.path).unwrapped)
    env, dream = gymnasium.make(REAL, run=run.path), gymnasium.make(DREAM, run=run.path)
    assert (env.observation_space, env.action_space) == (dream.observation_space, dream.action_space)
    agent = wmloop.load(run.path)
    raw = gymnasium.make(run.config.env.id, max_episode_steps=run.config.env.episode_frames)
    seen, _ = env.reset(seed=5)
    observation, _ = raw.reset(seed=5)
    over, score, total = False, 0.0, 0.0
    while not over:
        action = agent.act(observation)
        observation, paid, *_ = raw.step(action)
        assert np.array_equal(dream.reset(options={"state": env.unwrapped.state})[0], seen)
        seen, reward, terminated, truncated, _ = env.step(action)
        over, score, total = terminated or truncated, score + reward, total + float(paid)
    assert score == pytest.approx(total)
    for name, shape in (("latent", (32,)), ("pixels", (64, 64, 3))):
        shown, _ = gymnasium.make(REAL, run=run.path, observation=name).reset(seed=5)
        assert shown.shape == shape


def test_a_real_environment_is_closed_where_it_cannot_be_shown(run, monkeypatch):
    closed = []
    close = RealEnv.close
    monkeypatch.setattr(RealEnv, "close", lambda self: closed.append(close(self)))
    with pytest.raises(UsageError, match="did you mean 'latent'"):
        gymnasium.make(REAL, run=run.path, observation="latnet")
    assert closed == [None]


# ---- what does not fit


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"temperature": 0}, "temperature=0"), ({"temperature": float("nan")}, "temperature=nan"),
        ({"horizon": 0}, "horizon=0"), ({"observation": "pixel"}, "did you mean 'pixels'"),
        ({"run": "nowhere"}, "nowhere"), ({"iteration": 7}, "no agent of iteration 7"), ({"device": "tpu"}, "no device 'tpu'"),
        ({"num_envs": 0}, "num_envs=0"), ({"temperature": float("inf")}, "temperature=inf"), ({"temperature": "1"}, "'1'"),
        ({"horizon": float("nan")}, "horizon=nan"), ({"horizon": 1.5}, "horizon=1.5"), ({"horizon": True}, "horizon=True"),
        ({"temperature": 1e-31}, "temperature=1e-31"), ({"temperature": 1e31}, r"temperature=1e\+31"),
        ({"render_mode": "human"}, "render_mode='human' is not valid: give 'rgb_array'"),
        ({"run": 5}, "run=5 is not valid: give a run's name"), ({"run": ""}, "run='' is not valid"),
        ({"iteration": "0"}, "iteration='0' is not valid"), ({"iteration": False}, "iteration=False is not valid"),
        ({"num_envs": "4"}, "num_envs='4' is not valid"), ({"num_envs": 2.0}, "num_envs=2.0 is not valid"),
        ({"autoreset_mode": "Never"}, "autoreset_mode='Never' is not valid: it is 'NextStep', 'SameStep', 'Disabled'"),
        ({"observation": None}, "no observation None"), ({"observation": ["pixels"]}, r"no observation \['pixels'\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(arguments, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=match):
        DreamVectorEnv(**{"num_envs": 2, "run": "demo", **arguments})


def test_reality_is_rendered_as_the_dream_is_or_not_at_all():
    with pytest.raises(UsageError, match="render_mode='human' is not valid: give 'rgb_array'"):
        RealityEnv("demo", render_mode="human")


@pytest.mark.usefixtures("coin")
def test_a_world_that_is_not_drawn_has_no_pictures():
    with pytest.raises(UsageError, match="draws no pictures"):
        DreamVectorEnv(2, "coin", render_mode="rgb_array")
    with pytest.raises(UsageError, match=r"no observation 'pixels'.*it has 'features'"):
        DreamVectorEnv(2, "coin", observation="pixels")


@pytest.mark.parametrize(
    ("seed", "options", "match"),
    [
        (None, {"states": 0}, "did you mean 'state'"), (None, {1: 2}, "no option 1"),
        (None, {"state": np.zeros(3)}, "is no state of this world model"),
        (None, {"state": np.zeros((3, 288))}, r"shape \(3, 288\): give one state"), (None, {"state": 0.0}, r"shape \(\)"),
        (None, {"state": np.full(288, np.nan)}, "not finite"), (None, {"state": "here"}, "no array of numbers"),
        (None, {"state": [[1], [2, 3]]}, "no array of numbers"), (1.5, None, "a number from 0 on"),
        ([1.7, 2], None, "such numbers"), ("12", None, "such numbers"),
        ([1], None, "a list of 2"), ([1, -1], None, "from 0 on"), (-1, None, "from 0 on"),
        (None, {"reset_mask": np.zeros(2, bool)}, "one of them true"),
        (None, {"reset_mask": [True, False]}, "array of 2 bools"),
    ],
)  # fmt: skip
def test_a_reset_that_does_not_fit_is_refused(seed, options, match):
    with pytest.raises(UsageError, match=match):
        vector(2).reset(seed=seed, options=options)


@pytest.mark.parametrize("state", [np.zeros(3), np.full(288, np.nan), 0.0, [[1], [2, 3]]])
def test_a_reset_that_is_refused_changes_nothing_of_what_follows(state):
    for envs in (vector(2), gymnasium.make(DREAM, run="demo")):
        envs.reset(seed=1)
        before = envs.reset()[0]
        envs.reset(seed=1)
        with pytest.raises(UsageError, match="state"):
            envs.reset(seed=9, options={"state": state})
        with pytest.raises((UsageError, gymnasium.error.Error)):
            envs.reset(seed=-1)
        assert np.array_equal(envs.reset()[0], before)


@pytest.mark.parametrize(
    ("actions", "match"),
    [(np.zeros((2, 2)), "shape"), (np.full((2, 3), np.nan), "finite"), (np.zeros((3, 3)), "were given to 2 copies"),
     (None, "were given to 2 copies"), ([["a", "b", "c"]] * 2, "no finite numbers")],
)  # fmt: skip
def test_actions_that_are_none_are_refused(actions, match):
    envs = vector(2)
    envs.reset(seed=0)
    with pytest.raises(UsageError, match=match):
        envs.step(actions)


def test_numbers_beyond_their_bounds_count_as_these(crowd):
    beyond, within = vector(2), vector(2)
    for envs in (beyond, within):
        envs.reset(seed=3)
    assert equal(beyond.step(np.array([[9, 9, -9], [0, 0, 0]]))[:2], within.step(np.array([[1, 1, 0], [0, 0, 0]]))[:2])


@pytest.mark.usefixtures("coin")
def test_a_step_before_any_reset_is_refused_as_gymnasium_does():
    with pytest.raises(gymnasium.error.ResetNeeded, match="before reset: copy 0 and 1 more were never reset"):
        DreamVectorEnv(2, "coin").step(np.zeros((2, 2)))


@pytest.mark.usefixtures("coin")
def test_a_copy_that_no_reset_meant_cannot_be_stepped():
    envs = DreamVectorEnv(3, "coin")
    envs.reset(seed=0, options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(gymnasium.error.ResetNeeded, match="copy 1 and 1 more were never reset"):
        envs.step(np.zeros((3, 2)))
    envs.reset(options={"reset_mask": np.array([False, True, True])})
    envs.step(np.zeros((3, 2)))


@pytest.mark.usefixtures("coin")
def test_where_nothing_resets_an_ended_copy_it_cannot_be_stepped_on():
    envs = DreamVectorEnv(2, "coin", horizon=1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.step(np.zeros((2, 2)))
    with pytest.raises(gymnasium.error.ResetNeeded, match="copy 0 and 1 more were not reset since the episode ended"):
        envs.step(np.zeros((2, 2)))
    envs.reset(options={"reset_mask": np.array([True, True])})
    envs.step(np.zeros((2, 2)))


def test_a_damaged_episode_costs_an_exported_agent_its_dreams_for_others_and_not_its_weights(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "tiny")
    for shard in tmp_path.glob("tiny/iterations/*/rollout/episodes-*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    file = tmp_path / "rescued.safetensors"
    assert command("export", "tiny", "--to", str(file), runs=tmp_path).exit_code == 0
    assert wmloop.load(file, trust_env=True).config == run.config
    with pytest.raises(UsageError, match="does not tell where dreams begin"):
        gymnasium.make(DREAM, run=file)


def test_discrete_actions_are_read_by_number(coin, monkeypatch):
    class Counted(Coin):
        def advance(self, state, action):
            assert set(action.sum(1).tolist()) == {1.0}
            return State(state.features + action[:, :2], state.inner)

    monkeypatch.setattr(copies, "dreamt", lambda *_: coin._replace(world=Counted(), actions=DiscreteActions(3)))
    envs = DreamVectorEnv(3, "coin", autoreset_mode="Disabled")
    assert envs.single_action_space == gymnasium.spaces.Discrete(3)
    begun, _ = envs.reset(seed=0)
    moved = envs.step(np.array([0, 1, 2]))[0] - begun
    np.testing.assert_allclose(moved, [[1, 0], [0, 1], [0, 0]], atol=1e-6)
    envs.reset()
    with pytest.raises(UsageError, match="from 0 to 2"):
        envs.step(np.array([0, 1, 3]))


def test_a_run_without_a_world_model_is_no_dream(tmp_path):
    Store.create(tmp_path, "plain", to_toml(build_config("smoke", {"pipeline": "vanilla-ppo"})), {})
    with pytest.raises(UsageError, match="has no dreams"):
        gymnasium.make(DREAM, run=tmp_path / "plain")


def test_the_demo_carries_the_states_that_it_dreams_from():
    own = Store.open(wmloop.Run("demo").path).version(0, "controller")
    assert {"starts.safetensors", "actions.json"} <= own.files.keys()
    assert own.files["starts.safetensors"].size < 600_000
    assert json.loads(own.bytes("actions.json")) == BoxActions([-1, 0, 0], [1, 1, 1]).record()
