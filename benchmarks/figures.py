"""The figures: what is timed against what. Sizes are those of preset laptop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import gymnasium
import numpy as np
import torch
from torch import nn

from benchmarks.costs import dream_flop
from benchmarks.pairs import Ratio, Work, compare, matrix_product
from benchmarks.plain import PlainActor, PlainMemory, plain_ppo
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.random_walk import RandomWalk
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Agent
from wmloop.config import build_config
from wmloop.device import resolve_precision, set_precision
from wmloop.dreams import Noise, rollout
from wmloop.envs import EnvPool
from wmloop.envs.carracing import OnDemandCarRacing
from wmloop.episodes import pack
from wmloop.learn import ppo
from wmloop.learn.optim import adam, clipped_step
from wmloop.models.controller import PlainCritic
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Targets, memory_loss
from wmloop.models.mixed import enable_autocast
from wmloop.models.networks import new_actor, new_critic, new_memory, new_vision
from wmloop.models.vision import Vision, to_images, vae_loss
from wmloop.models.vision_memory import VisionMemory
from wmloop.spaces import BoxActions
from wmloop.store.tensors import encode

CONFIG = build_config("laptop")
CPU = torch.device("cpu")
FEATURES = CONFIG.vision.latent_size + CONFIG.memory.hidden_size
BOX = BoxActions([-1, 0, 0], [1, 1, 1])
ACTIONS = BOX.size
#: FLOPs of one dream step with its policy.
DREAM_FLOP = dream_flop(
    new_memory(CONFIG, CONFIG.vision.latent_size, ACTIONS, CPU), new_actor(CONFIG, FEATURES, BOX, CPU)
)


def _dream(num_dreams: int = CONFIG.dream.num_dreams) -> Work:
    memory, actor = (
        new_memory(CONFIG, CONFIG.vision.latent_size, ACTIONS, CPU).eval(),
        new_actor(CONFIG, FEATURES, BOX, CPU).eval(),
    )
    kernel, horizon = Kernel(memory, 1.15, CONFIG.memory.terminated_weight), CONFIG.dream.horizon
    start = memory.begin(torch.randn(num_dreams, 32))
    generator = torch.Generator().manual_seed(0)

    def work() -> float:
        rollout(kernel, actor, start, Noise.draw(horizon, num_dreams, 32, ACTIONS, generator))
        return num_dreams * horizon

    return work


def _dream_environment(num_envs: int = CONFIG.dream.num_dreams) -> Work:
    """Return steps of the demo's dream as a vector environment, with actions that were drawn before."""
    envs = gymnasium.make_vec("wmloop/Dream-v0", num_envs=num_envs, run="demo")
    envs.reset(seed=0)
    actions = envs.action_space.sample()

    def work() -> float:
        for _ in range(CONFIG.dream.horizon):
            envs.step(actions)
        return num_envs * CONFIG.dream.horizon

    return work


def _flops(work: Work) -> Work:
    return lambda: work() * DREAM_FLOP


def _plain_dream(num_dreams: int) -> Work:
    memory, actor = PlainMemory(), PlainActor()

    def work() -> float:
        with torch.no_grad():
            memory.dream(actor, num_dreams, CONFIG.dream.horizon)
        return num_dreams * CONFIG.dream.horizon

    return work


def _mix(*networks: nn.Module) -> None:
    """Let networks that learn do so in mixed precision, where a run on this machine would choose it."""
    if resolve_precision("auto", "cpu") == "bf16-mixed":
        enable_autocast(*networks)


def _trained() -> Work:
    """Return dream steps with all epochs of PPO on them."""
    num_dreams, horizon = CONFIG.dream.num_dreams, CONFIG.dream.horizon
    memory = new_memory(CONFIG, CONFIG.vision.latent_size, ACTIONS, CPU).eval()
    actor, critic = new_actor(CONFIG, FEATURES, BOX, CPU), new_critic(CONFIG, FEATURES, CPU)
    _mix(actor, critic)
    anchor = copy.deepcopy(actor).requires_grad_(False)
    config = CONFIG.controller.model_copy(update={"update_epochs": 4, "target_kl": 1e9})
    optimizer = adam([*actor.parameters(), *critic.parameters()], 3e-4)
    kernel = Kernel(memory, 1.15, CONFIG.memory.terminated_weight)
    start = memory.begin(torch.randn(num_dreams, 32))
    generator = torch.Generator().manual_seed(0)

    def work() -> float:
        batch = rollout(kernel, actor, start, Noise.draw(horizon, num_dreams, 32, ACTIONS, generator))
        ppo.update(actor, critic, anchor, optimizer, batch.learnable(), config, generator)
        return num_dreams * horizon

    return work


def _plain_trained() -> Work:
    num_dreams, horizon = CONFIG.dream.num_dreams, CONFIG.dream.horizon
    actor, critic = PlainActor(), PlainCritic()
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 3e-4)
    dream = _plain_dream(num_dreams)

    def work() -> float:
        dream()
        features = torch.randn(num_dreams * horizon, 288)
        with torch.no_grad():
            policy = actor.policy(features)
            action = policy.sample()
            logprob = policy.log_prob(action).sum(-1)
        gain = torch.randn(len(features))
        plain_ppo(actor, critic, optimizer, features, action, logprob, gain, gain, 4, 2048)
        return num_dreams * horizon

    return work


def _memory() -> Work:
    memory, config = new_memory(CONFIG, CONFIG.vision.latent_size, ACTIONS, CPU), CONFIG.memory
    _mix(memory)
    optimizer = adam([p for p in memory.parameters() if p.requires_grad], 1e-3)
    size = config.batch_size, config.sequence_length
    ones = torch.ones(size)
    z, action = torch.randn(*size, 32), torch.rand(*size, ACTIONS)
    targets = Targets(torch.randn(*size, 32), torch.randn(size), torch.zeros(size), action, ones, ones)

    def work() -> float:
        hidden, _ = memory(z, action, memory.start(config.batch_size))
        loss, _ = memory_loss(memory.predict(hidden, targets.z), targets, 2.0, 10.0, 0.1)
        clipped_step(loss, optimizer, 1.0)
        return config.batch_size * config.sequence_length

    return work


def _plain_memory() -> Work:
    memory, config = PlainMemory(), CONFIG.memory
    optimizer = torch.optim.Adam(memory.parameters(), 1e-3)
    size = config.batch_size, config.sequence_length
    z, action, target = torch.randn(*size, 32), torch.rand(*size, ACTIONS), torch.randn(*size, 32)
    reward, done = torch.randn(size), torch.zeros(size)

    def work() -> float:
        loss = memory.loss(z, action, target, reward, done)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(memory.parameters(), 1.0)
        optimizer.step()
        return config.batch_size * config.sequence_length

    return work


def _vision(vision: Vision, channels_last: bool = True) -> Work:
    batch = CONFIG.vision.batch_size
    frames = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8)
    vision.look([frames])
    if channels_last:
        optimizer = adam(list(vision.parameters()), 1e-3)
    else:  # as people write it: NCHW, the ordinary Adam
        vision.to(memory_format=torch.contiguous_format)
        optimizer = torch.optim.Adam(vision.parameters(), 1e-3)

    def work() -> float:
        images = to_images(frames)
        if not channels_last:
            images = images.contiguous()
        loss, _, _ = vae_loss(vision, images, torch.randn(batch, vision.latent), 30.0, 0.0)
        clipped_step(loss, optimizer)
        return batch

    return work


def _gymnasium(lazy: int = 0) -> Iterator[Work]:
    """Yield frames of one environment under random actions: gymnasium's, or with `lazy` ours, seen every so many frames."""
    env = OnDemandCarRacing(lazy=lazy > 1) if lazy else gymnasium.make("CarRacing-v3").unwrapped
    env.reset(seed=1)
    rng = np.random.default_rng(0)

    def work() -> float:
        for t in range(40):
            _, _, terminated, truncated, _ = env.step(rng.uniform([-0.3, 0.1, 0], [0.3, 0.5, 0.1]).astype(np.float32))
            if lazy > 1 and t % lazy == lazy - 1:
                env.observe()
            if terminated or truncated:
                env.reset()
        return 40

    yield work
    env.close()


def _rollouts(policy: bool) -> Iterator[Work]:
    """Yield real frames by decisions, 20 copies on all cores, packed for the disk; by C through V and M, or at random."""
    num_envs = CONFIG.env.num_envs
    with EnvPool(CONFIG.env, num_envs) as pool:
        world = VisionMemory(
            new_vision(CONFIG, CPU),
            new_memory(CONFIG, CONFIG.vision.latent_size, ACTIONS, CPU),
            CONFIG.memory.terminated_weight,
        )
        agent = Agent(world, new_actor(CONFIG, FEATURES, pool.actions, CPU), pool.actions)
        rng = np.random.default_rng(0)
        seeds = iter(range(10**6))

        def random(copies: int) -> RandomWalk:
            return RandomWalk(np.stack([[pool.actions.sample(rng) for _ in range(copies)] for _ in range(60)]))

        def work() -> float:
            agents = {copies: agent if policy else random(len(copies)) for copies in halves(num_envs)}
            wave = [EpisodeTask(next(seeds), 60) for _ in range(num_envs)]
            episodes = drive(pool, wave, agents, lambda frames, picture: None, trace=Recorder())
            encode(pack(episodes))
            return sum(episode.frames for episode in episodes)

        yield work


def _in(precision: str, work: Work) -> Work:
    """Return `work` with its matrix products in a precision, whatever the other side of its pair computes in."""

    def run() -> float:
        set_precision(precision)
        return work()

    return run


Figure = Callable[[], Ratio]


def _pair(
    name: str, unit: str, ours: Callable[[], Work | Iterator[Work]], theirs: Callable[[], Work | Iterator[Work]],
    seconds: float = 0.5, precision: str = "auto",
) -> Figure:  # fmt: skip
    def run() -> Ratio:
        torch.manual_seed(0)
        made = [side() for side in (ours, theirs)]
        works = [next(side) if isinstance(side, Iterator) else side for side in made]
        works = [_in(resolve_precision(precision, "cpu"), works[0]), _in("fp32", works[1])]
        ratio = compare(name, unit, works[0], works[1], seconds=seconds)
        for side in made:
            if isinstance(side, Iterator):
                next(side, None)
        return ratio

    return run


def _light() -> Vision:
    return new_vision(CONFIG, CPU).train()


#: Name -> how to measure it. What is ours computes in the precision
#: that a run on this machine would choose, unless one is named; what people use today computes in fp32.
FIGURES: dict[str, Figure] = {
    name: _pair(name, unit, ours, theirs, seconds, *precision)
    for name, unit, ours, theirs, seconds, *precision in (
        ("dream steps / frames of one gymnasium environment", "steps", _dream, _gymnasium, 0.5),
        ("dream FLOP/s in fp32 / fp32 roofline", "FLOP", lambda: _flops(_dream()), matrix_product, 0.5, "fp32"),
        ("dream as the run computes it / in fp32", "steps", _dream, _dream, 0.5),
        ("dream environment of 1024 copies / the dream itself", "steps", _dream_environment, _dream, 0.5, "fp32"),
        ("dream / plain, one dream at a time", "steps", _dream, lambda: _plain_dream(1), 0.5),
        ("dream / plain, as many at a time", "steps", _dream, lambda: _plain_dream(CONFIG.dream.num_dreams), 0.5),
        ("trained dream steps, 4 epochs / plain PPO", "steps", _trained, _plain_trained, 1.0),
        ("real frames with policy and storing / one gymnasium environment", "frames",
         lambda: _rollouts(policy=True), _gymnasium, 1.0),
        ("CarRacing on demand, every frame / gymnasium", "frames", lambda: _gymnasium(1), _gymnasium, 0.5),
        ("CarRacing on demand, every 4th / gymnasium", "frames", lambda: _gymnasium(4), _gymnasium, 0.5),
        ("rollouts with the policy / with random actions", "frames",
         lambda: _rollouts(policy=True), lambda: _rollouts(policy=False), 1.0),
        ("V images / the same network, NCHW, eager", "images",
         lambda: _vision(_light()), lambda: _vision(_light(), channels_last=False), 0.5),
        ("V images / Ha's network, NCHW, eager", "images",
         lambda: _vision(_light()), lambda: _vision(Vision("ha2018"), channels_last=False), 0.5),
        ("M sequence-steps / nn.LSTM and MixtureSameFamily", "steps", _memory, _plain_memory, 0.5),
    )
}  # fmt: skip
