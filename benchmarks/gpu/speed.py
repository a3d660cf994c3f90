"""What the card is, and how many steps a second it dreams and trains on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.costs import dream_bytes, dream_flop, traffic, trained_bytes, trained_flop
from benchmarks.gpu.given import PRECISIONS, Given, Line, Work
from wmloop.config import WorldModelConfig
from wmloop.dreams import DreamBatch, Noise, rollout
from wmloop.graphs import CapturedGraph
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.models.kernel import Kernel
from wmloop.models.mixed import LSTM, enable_autocast, rounding_fault
from wmloop.models.networks import new_actor, new_critic, new_memory
from wmloop.models.world_model import State
from wmloop.spaces import BoxActions

#: CarRacing's: steer, gas and brake.
ACTIONS = BoxActions([-1, 0, 0], [1, 1, 1])
_TEMPERATURE = 1.15
#: More would not tell more: the networks are the same.
_BATCHES, _TINY_BATCHES = (4096, 1024, 16384, 65536, 262144), (32, 16)


class Dreamer:
    """The networks of a preset with random weights, in whose dreams a batch of steps is imagined, and learnt from."""

    def __init__(
        self, config: WorldModelConfig, device: torch.device, precision: str, num_dreams: int, horizon: int, graph: bool
    ) -> None:  # fmt: skip
        torch.manual_seed(0)
        self.config, self.num_dreams, self.horizon = config, num_dreams, horizon
        latent = config.vision.latent_size
        self.memory = new_memory(config, latent, ACTIONS.size, device).eval()
        features = self.memory.features
        self.actor, self.critic = (
            new_actor(config, features, ACTIONS, device),
            new_critic(config, features, device),
        )
        if precision == "bf16-mixed":
            enable_autocast(self.actor, self.critic)
        kernel = Kernel(self.memory, _TEMPERATURE, config.memory.terminated_weight)
        self._start = self.memory.begin(torch.randn(num_dreams, latent, device=device))
        self._generator = torch.Generator(device).manual_seed(0)

        def imagine(features: Tensor, inner: Tensor, *noise: Tensor) -> DreamBatch:
            return rollout(kernel, self.actor, State(features, inner), Noise(*noise))

        self.captured = CapturedGraph(imagine)
        self._imagine = self.captured if graph else imagine

    @property
    def graph(self) -> Line:
        """Tell whether the dream is one graph by now, and why it is none where it was to be one."""
        told = {"captured": self._imagine is self.captured and not self.captured.eager}
        return told | ({"not captured": self.captured.fault} if self.captured.fault else {})

    @property
    def steps(self) -> int:
        """Return the steps of a batch."""
        return self.horizon * self.num_dreams

    def dream(self) -> DreamBatch:
        """Imagine a batch."""
        noise = Noise.draw(self.horizon, self.num_dreams, self.memory.latent, ACTIONS.size, self._generator)
        return self._imagine(*self._start, *noise)

    def dreaming(self) -> Work:
        """Return the imagining of a batch, in steps."""

        def work() -> float:
            self.dream()
            return self.steps

        return work

    def learning(self, minibatch: int) -> Work:
        """Return the imagining of a batch and all epochs of PPO on it, in steps."""
        settings = self.config.controller.model_copy(update={"minibatch_size": minibatch, "target_kl": 1e9})
        reference = copy.deepcopy(self.actor).requires_grad_(False)
        networks: tuple[nn.Module, ...] = (self.actor, self.critic)
        optimizer = adam([part for network in networks for part in network.parameters()], 1e-5)

        def work() -> float:
            batch = self.dream().learnable()
            ppo.update(self.actor, self.critic, reference, optimizer, batch, settings, self._generator)
            return self.steps

        return work


def facts(given: Given) -> Iterator[Line]:
    """Say what the card is, what it does at most, and what its products keep of their factors at each precision."""
    known = given.card()
    told: Line = {"device": str(given.device), "torch": torch.__version__}
    if given.cuda:
        card = torch.cuda.get_device_properties(given.device)
        told |= {
            "device": card.name, "memory": card.total_memory, "multiprocessors": card.multi_processor_count,
            "capability": f"{card.major}.{card.minor}", "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
        }  # fmt: skip
    yield told
    yield {"card": known.source, **known._asdict()}
    if known.source != "measured here":
        yield {"card": "measured here", **given.measured()._asdict()}
    yield from given.lines([{"precision": name} for name in PRECISIONS], lambda line: _rounding(given, line))


def _rounding(given: Given, line: Line) -> Line:
    if fault := given.set_up(line["precision"]):
        return {"skipped": fault}
    told: Line = {
        "product keeps bits": _kept(_eye_product, given),
        "convolution keeps bits": _kept(_convolution, given),
    }
    if line["precision"] == "bf16-mixed" and not rounding_fault(given.device.type):
        lstm, seen = LSTM(16, 16, batch_first=True).to(given.device), []
        enable_autocast(lstm)
        zeros = torch.zeros(1, 2, 16, device=given.device)
        with lstm.rounding(zeros):
            seen.append(nn.LSTM.forward(lstm, torch.ones(2, 3, 16, device=given.device), (zeros, zeros))[0].dtype)
        told["LSTM computes in"] = str(seen[0])
    return told


def _kept(product: Any, given: Given) -> int:
    """Return how many bits of a factor a product keeps, 24 of float32: the most of an 1 + 2^-k that comes out as it is."""
    told = [bits for bits in range(1, 24) if float(product(1 + 2.0**-bits, given.device)) == 1 + 2.0**-bits]
    return 1 + max(told, default=0)


def _eye_product(factor: float, device: torch.device) -> Tensor:
    one = torch.eye(256, device=device)
    return (one * factor @ one)[0, 0]


def _convolution(factor: float, device: torch.device) -> Tensor:
    kernel = torch.zeros(64, 64, 3, 3, device=device)
    kernel[range(64), range(64), 1, 1] = 1.0
    return torch.nn.functional.conv2d(torch.full((8, 64, 16, 16), factor, device=device), kernel, padding=1)[0, 0, 8, 8]


def dream(given: Given) -> Iterator[Line]:
    """Measure dream steps a second by batch, precision, network and whether they are one graph."""
    batches = _TINY_BATCHES if given.tiny else _BATCHES
    asked = [_line("gpu", name, batch, True) for batch in batches for name in PRECISIONS]
    asked += [_line("gpu", name, batch, False) for batch in batches[:4] for name in ("tf32", "fp32")]
    asked += [_line("laptop", name, batch, True) for batch in batches for name in ("tf32", "bf16-mixed")]
    card = given.card()

    def measure(line: Line) -> Line:
        dreamer = _dreamer(given, line)
        flop = dream_flop(dreamer.memory, dreamer.actor)
        least = dream_bytes(dreamer.memory, dreamer.actor, line["batch"])
        most = card.most(line["precision"], flop, least)
        found = given.rate(dreamer.dreaming())
        moved = step_traffic(dreamer.config, dreamer.horizon)
        return found | {
            **dreamer.graph, "flop": flop, "bytes": least, "moved": moved,
            "roofline": most, "share": found["rate"] / most, "bandwidth share": found["rate"] * moved / card.bandwidth,
            "steps": dreamer.steps,
        }  # fmt: skip

    yield from given.lines(asked, lambda line: _possible(given, line) or measure(line))


def trained(given: Given) -> Iterator[Line]:
    """Measure steps a second that are dreamt and that PPO learns from, with as many gradient steps an epoch as the preset."""
    batches = _TINY_BATCHES if given.tiny else _BATCHES
    asked = [_line("gpu", name, batch, True) for batch in batches for name in ("tf32", "bf16-mixed", "fp32")]
    asked += [_line("gpu", "tf32", batch, False) for batch in batches[:3]]
    asked += [_line("laptop", name, batch, True) for batch in batches for name in ("tf32", "bf16-mixed")]
    card = given.card()

    def measure(line: Line) -> Line:
        dreamer = _dreamer(given, line)
        settings, dreams = dreamer.config.controller, dreamer.config.dream
        minibatches = max(1, round(dreams.num_dreams * dreams.horizon / settings.minibatch_size))
        minibatch, epochs = -(-dreamer.steps // minibatches), settings.update_epochs
        flop = trained_flop(dreamer.memory, dreamer.actor, dreamer.critic, dreamer.horizon, epochs)
        least = trained_bytes(dreamer.memory, dreamer.actor, dreamer.critic, line["batch"], epochs, minibatch)
        most = card.most(line["precision"], flop, least)
        found = given.rate(dreamer.learning(minibatch))
        return found | {
            **dreamer.graph, "flop": flop, "bytes": least, "roofline": most,
            "share": found["rate"] / most, "epochs": epochs, "minibatch": minibatch, "steps": dreamer.steps,
        }  # fmt: skip

    yield from given.lines(asked, lambda line: _possible(given, line) or measure(line))


def _line(preset: str, precision: str, batch: int, graph: bool) -> Line:
    return {"preset": preset, "precision": precision, "batch": batch, "graph": graph}


def _possible(given: Given, line: Line) -> Line:
    """Return why a line cannot be measured on the device, or nothing."""
    fault = given.set_up(line["precision"])
    return {"skipped": fault} if fault else {}


def _dreamer(given: Given, line: Line) -> Dreamer:
    config = given.config(line["preset"])
    horizon = 3 if given.tiny else config.dream.horizon
    return Dreamer(config, given.device, line["precision"], line["batch"], horizon, line["graph"])


def step_traffic(config: WorldModelConfig, horizon: int, num_dreams: int = 8) -> float:
    """Return the bytes a step that a dream's operators move one by one, but for its weights: counted on the CPU."""
    counts = [
        traffic(Dreamer(config, torch.device("cpu"), "fp32", count, horizon, graph=False).dream)
        for count in (num_dreams, 2 * num_dreams)
    ]
    return (counts[1] - counts[0]) / (num_dreams * horizon)
