"""Whether V, M and C learn on the device as on the CPU in float32: the same weights, data and noise, step by step."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.given import Given, Line
from benchmarks.gpu.speed import ACTIONS
from wmloop.config import WorldModelConfig
from wmloop.dreams import Noise
from wmloop.learn.optim import adam, clipped_step
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Targets
from wmloop.models.mixed import enable_autocast
from wmloop.models.networks import new_actor, new_critic, new_memory, new_vision
from wmloop.models.vision import Vision, vae_loss
from wmloop.training.dream_ppo import DreamPPO

_CPU = torch.device("cpu")
_STEPS, _TINY_STEPS = 100, 4
#: The mean of so many losses at the end is compared, as one loss alone is noisy.
_LAST = 10

Losses = list[float]


def agreement(given: Given) -> Iterator[Line]:
    """Compare the losses of V, M and C on the device, at each precision, with those on the CPU in float32."""
    steps = _TINY_STEPS if given.tiny else _STEPS
    config = given.config()
    cpu = Given(_CPU, given.tiny, given.until, given.folder)
    there: dict[str, Losses] = {}
    cpu.set_up("fp32")
    for network, learn in LEARNERS.items():
        there[network] = learn(config, _CPU, "fp32", steps, given.tiny)
    torch.set_deterministic_debug_mode("default")  # the CPU's set-up refuses kernels that only the CPU has otherwise

    def measure(line: Line) -> Line:
        if fault := given.set_up(line["precision"]):
            return {"skipped": fault}
        ours = LEARNERS[line["network"]](config, given.device, line["precision"], steps, given.tiny)
        return {"steps": steps, **compared(ours, there[line["network"]])}

    names = ("fp32", "tf32", "bf16-mixed")
    yield from given.lines([{"network": net, "precision": name} for net in LEARNERS for name in names], measure)


def compared(ours: Losses, theirs: Losses) -> Line:
    """Return how far two series of losses are apart, relative to the second: the first, and the mean of the last ten."""
    last = [statistics.fmean(losses[-_LAST:]) for losses in (ours, theirs)]
    return {
        "first": abs(ours[0] - theirs[0]) / abs(theirs[0]), "last": abs(last[0] - last[1]) / abs(last[1]),
        "loss": last[0], "their loss": last[1],
    }  # fmt: skip


def _vision(config: WorldModelConfig, device: torch.device, precision: str, steps: int, tiny: bool) -> Losses:
    settings, random = config.vision, torch.Generator().manual_seed(0)
    batch = 4 if tiny else 32
    frames = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8, generator=random)
    net = _made(lambda: new_vision(config, _CPU), 0)
    assert isinstance(net, Vision)
    net.look([frames])
    net = copy.deepcopy(net).to(device).train()
    optimizer, losses, seen = (
        adam(list(net.parameters()), settings.learning_rate, settings.beta2),
        [],
        frames.to(device),
    )
    for _ in range(steps):
        noise = torch.randn(batch, net.latent, generator=random).to(device)
        loss, _, _ = vae_loss(net, net.images(seen), noise, settings.recon_weight, settings.free_nats)
        clipped_step(loss, optimizer)
        losses.append(float(loss.detach()))
    return losses


def _memory(config: WorldModelConfig, device: torch.device, precision: str, steps: int, tiny: bool) -> Losses:
    settings, random, latent = config.memory, torch.Generator().manual_seed(0), config.vision.latent_size
    size = (4, 6) if tiny else (32, settings.sequence_length)
    net = _made(lambda: new_memory(config, latent, ACTIONS.size, _CPU), 0).to(device)
    if precision == "bf16-mixed":
        enable_autocast(net)
    optimizer = adam([part for part in net.parameters() if part.requires_grad], settings.learning_rate, settings.beta2)
    weights, losses = (settings.reward_weight, settings.terminated_weight, settings.action_weight), []

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(device)

    z, action, ones = draw(*size, latent), draw(*size, ACTIONS.size).clamp(-1, 1), torch.ones(size, device=device)
    begin = net.begin(draw(size[0], latent))
    for _ in range(steps):
        targets = Targets(
            0.9 * z + 0.3 * draw(*size, latent), draw(*size), (draw(*size) > 2).float(), action, ones, ones
        )
        loss, _ = net.loss(z, action, begin, targets, *weights)
        clipped_step(loss, optimizer, settings.max_grad_norm)
        losses.append(float(loss.detach()))
    return losses


def _controller(config: WorldModelConfig, device: torch.device, precision: str, steps: int, tiny: bool) -> Losses:
    """Return PPO's value loss of each update, on a new batch of dreams of its actor each."""
    random, latent = torch.Generator().manual_seed(0), config.vision.latent_size
    count, horizon = (8, 3) if tiny else (256, config.dream.horizon)
    memory = _made(lambda: new_memory(config, latent, ACTIONS.size, _CPU), 0)
    actor = _made(lambda: new_actor(config, memory.features, ACTIONS, _CPU), 1)
    critic = _made(lambda: new_critic(config, memory.features, _CPU), 2)
    memory, actor, critic = memory.to(device).eval(), actor.to(device), critic.to(device)
    if precision == "bf16-mixed":
        enable_autocast(actor, critic)
    settings = config.controller.model_copy(update={"update_epochs": 1, "minibatch_size": count * horizon})
    optimizer = adam([*actor.parameters(), *critic.parameters()], settings.learning_rate)
    learner = DreamPPO(Kernel(memory, 1.15, config.memory.terminated_weight), actor, critic, optimizer, settings)
    start, losses = memory.begin(torch.randn(count, latent, generator=random).to(device)), []
    for _ in range(steps):
        noise = Noise.draw(horizon, count, latent, ACTIONS.size, random)
        _, metrics = learner.update(start, Noise(*(part.to(device) for part in noise)), random)
        losses.append(metrics["v_loss"])
    return losses


def _made(make: Callable[[], Any], seed: int) -> Any:
    """Return what `make` makes with random numbers of this seed."""
    torch.manual_seed(seed)
    return make()


LEARNERS = {"V": _vision, "M": _memory, "C": _controller}
