"""Time lines up from the environment through V's latents and M to the dream: an off-by-one anywhere fails here."""

import numpy as np
import pytest
import torch

from tests.tiny_env import tiny_config
from wmloop.config import build_config
from wmloop.config.text import parse_setting, to_toml
from wmloop.dreams import Noise, unroll
from wmloop.episodes import Replay
from wmloop.models import mixture
from wmloop.models.kernel import Kernel
from wmloop.models.networks import new_memory
from wmloop.models.world_model import State
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store
from wmloop.training.context import StageContext
from wmloop.training.experience import LatentReplay
from wmloop.training.rollouts import actions_of, episodes_of
from wmloop.training.weights import load

CPU = torch.device("cpu")
SETTINGS = (
    "rollout.prefill=[[96, 40]]", "vision.initial_images=4000", "vision.batch_size=8",
    "vision.recon_weight=100", "vision.reward_aux_weight=10",
    "memory.hidden_size=128", "memory.batch_size=16", "memory.sequence_length=12", "memory.initial_steps=1000",
    "memory.input_noise=1.0", "memory.reward_scale=1.0", "memory.learning_rate=5e-3",
)  # fmt: skip
HELD_OUT, DRAWS = 24, 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the configuration, M and the experience of held-out episodes, after the first three stages."""
    config = build_config("smoke", tiny_config(), *map(parse_setting, SETTINGS))
    store = Store.create(tmp_path_factory.mktemp("alignment"), "run", to_toml(config), {})
    for seed, iteration in ((config.seed, 0), (99, 0)):
        folder = store if seed == config.seed else Store.create(store.path.parent, "held-out", to_toml(config), {})
        for stage in WORLD_MODEL.stages[: 3 if folder is store else 1]:
            context = StageContext(
                config.model_copy(update={"seed": seed}), WORLD_MODEL, iteration, stage.name, stage.unit, CPU,
                lambda folder=folder: [folder.version(0, "rollout")], list, folder.draft(0, stage.name),
                lambda event: None, lambda: False,
            )  # fmt: skip
            versions = {name: folder.version(0, name) for name in stage.needs}
            context.draft.commit([], stage.run(context, **versions), 0.0, None)
    rollout = folder.version(0, "rollout")
    episodes = list(episodes_of(rollout))[:HELD_OUT]
    replay = Replay([episodes], actions_of(rollout))
    memory = load(new_memory(config, config.vision.latent_size, 2, CPU), store.version(0, "memory"))
    return config, memory, look(config, store, episodes, replay)


def look(config, store, episodes, replay):
    from wmloop.models.networks import new_vision
    from wmloop.training.latents import see

    vision = load(new_vision(config, CPU), store.version(0, "vision"))
    seen = see(vision, episodes, mirror=False)

    class Latents:
        files = ("latents-0000.safetensors",)

        def tensors(self, name):
            return seen

    return LatentReplay.of(config, replay, Latents(), config.memory.reward_scale, CPU)


@torch.no_grad()
def foreseen(config, memory, experience, shift=0):
    """Return, for each held-out episode, the rewards the dream pays for its real actions and those reality paid.

    The dream is teacher-forced: after each step its z is replaced by what V really saw. What a step pays depends on the z'
    that is drawn: the mean of many. `shift` delays the actions. All episodes are dreamt side by side, beyond the ends of the
    shorter ones, where nothing is looked at.
    """
    generator = torch.Generator().manual_seed(0)
    kernel, replay = Kernel(memory, 1.0, config.memory.terminated_weight), experience.replay
    first, length = (np.repeat(part, DRAWS) for part in (replay.first, replay.length))

    def act(t, state):
        seen, (_, h) = experience.mu[0, first + np.minimum(t, length)], memory.split(state.features)
        taken = experience.actions[0, first + np.clip(t - shift, 0, length - 1)]
        return State(torch.cat([seen, h], 1), state.inner), taken

    noise = Noise.draw(int(length.max()), len(first), memory.latent, 0, generator)
    start = memory.begin(experience.mu[0, first])
    paid = torch.stack([outcome.expected for _, outcome in unroll(kernel, start, act, noise)])
    means = paid.unflatten(1, (-1, DRAWS)).mean(2).numpy() * config.memory.reward_scale
    rows = zip(replay.first, replay.length, strict=True)
    return [(means[:n, i], replay.rewards[begin : begin + n]) for i, (begin, n) in enumerate(rows)]


def correlation(pairs, lag=0):
    a = np.concatenate([p[max(0, -lag) : len(p) - max(0, lag)] for p, _ in pairs])
    b = np.concatenate([r[max(0, lag) : len(r) - max(0, -lag)] for _, r in pairs])
    return float(np.corrcoef(a, b)[0, 1])


@pytest.fixture(scope="module")
def real(trained):
    """Return what is foreseen of the actions as they were taken."""
    return foreseen(*trained)


def test_real_actions_replayed_through_the_dream_pay_what_reality_paid(real):
    assert correlation(real) > 0.7
    sums = np.array([(p.sum(), r.sum()) for p, r in real])
    error = np.abs(sums[:, 0] - sums[:, 1])
    assert error.mean() < 0.5 * sums[:, 1].std() + 0.2


@pytest.mark.parametrize("lag", [-1, 1])
def test_rewards_a_step_early_or_late_fit_clearly_worse(real, lag):
    assert correlation(real, lag) < 0.75 * correlation(real)


@pytest.mark.parametrize("shift", [-1, 1])
def test_actions_a_step_early_or_late_are_found_out(trained, real, shift):
    assert correlation(foreseen(*trained, shift)) < correlation(real) - 0.05


@torch.no_grad()
def test_m_foresees_the_latents_that_come_and_not_those_that_are(trained):
    _, memory, experience = trained
    replay = experience.replay
    near = far = 0.0
    for first, length in zip(replay.first, replay.length, strict=True):
        rows = torch.arange(first, first + length)
        hidden, _ = memory(experience.mu[0, rows][None], experience.actions[0, rows][None], memory.start(1))
        mean = mixture.expected(memory.density(hidden[0]))
        near += float((mean - experience.mu[0, rows + 1]).square().mean())
        far += float((mean - experience.mu[0, rows]).square().mean())
    assert near < far
