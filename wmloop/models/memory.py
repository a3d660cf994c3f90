"""M, the MDN-RNN: P(z', r', d', a' | z, a, h) with an LSTM (HS18, A.2; Learning to Think's M predicts the rest too)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wmloop.models.mixed import LSTM
from wmloop.models.mixture import Mixture, from_outputs, log_prob, sample
from wmloop.models.state import Arrays
from wmloop.models.world_model import State

Hidden = tuple[Tensor, Tensor]
"""The LSTM's (h, c), each (B, D)."""

_HEAD_WIDTH = 128


class Prediction(NamedTuple):
    """What M believes follows (z[t], a[t]): fields share leading dimensions (B, T) or (B,).

    `mixture` is over z[t+1], and all else is believed where z[t+1] is known: the picture that comes shows the goal or the
    crash. `reward` is r[t] expected if the episode goes on and `terminal_reward` if it ends there, both
    in units of `reward_scale`; `done_logit` is the log odds of `terminated`; `next_action` (..., A) is the mean of a[t+1].
    """

    mixture: Mixture
    reward: Tensor
    terminal_reward: Tensor
    done_logit: Tensor
    next_action: Tensor


class Memory(nn.Module):
    """An LSTM of width D over (z, a), a mixture head of 3*K*Z outputs and a small head for r, d and a'.

    Without that extra head it has 422,368 parameters at Z=32, A=3, D=256, K=5, the paper's number: one bias vector.
    torch's LSTM has two that only ever add up, so the second stays at zero and is not trained.

    `reward_scale` () is the unit of all that M says of rewards, in the environment's; `terminal_scale` () is what the
    terminal head's output is multiplied by: how large the rewards of ends are, in units of reward_scale. Both are stored
    with the weights.
    """

    reward_scale: Tensor
    terminal_scale: Tensor

    def __init__(
        self, latent: int = 32, actions: int = 3, hidden: int = 256, mixtures: int = 5, reward_scale: float = 1.0
    ) -> None:
        """Begin with random weights; `reward_scale` is also that of older weights, which do not tell theirs."""
        super().__init__()
        self._unit = reward_scale
        self.latent, self.actions, self.hidden, self.mixtures = latent, actions, hidden, mixtures
        self.features = latent + hidden  # [z, h], what C sees
        self.lstm = LSTM(latent + actions, hidden, batch_first=True)
        nn.init.zeros_(self.lstm.get_parameter("bias_hh_l0")).requires_grad_(False)
        self.mixture_head = nn.Linear(hidden, 3 * mixtures * latent)
        self.outcome_head = nn.Sequential(
            nn.Linear(hidden + latent, _HEAD_WIDTH), nn.SiLU(), nn.Linear(_HEAD_WIDTH, 3 + actions)
        )
        self.register_buffer("reward_scale", torch.tensor(reward_scale))
        self.register_buffer("terminal_scale", torch.ones(()))

    def start(self, batch: int, device: torch.device | None = None) -> Hidden:
        """Return the state before anything was seen: zeros (B, D)."""
        zeros = torch.zeros(batch, self.hidden, device=device)
        return zeros, zeros.clone()

    def forward(self, z: Tensor, actions: Tensor, state: Hidden) -> tuple[Tensor, Hidden]:
        """Consume z (B, T, Z) and actions (B, T, A); return the hidden states after each step (B, T, D) and the last."""
        out, (h, c) = self.lstm(torch.cat([z, actions], -1), (state[0].unsqueeze(0), state[1].unsqueeze(0)))
        return out, (h[0], c[0])

    def begin(self, z: Tensor) -> State:
        """Return where episodes (...) are that have just begun and show z (..., Z): features are [z, h]."""
        zeros = z.new_zeros(*z.shape[:-1], self.hidden)
        return State(torch.cat([z, zeros], -1), zeros)

    def split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the z (..., Z) and h (..., D) of features, each in a row of its own as torch's LSTM wants it."""
        z, h = features.split([self.latent, self.hidden], -1)
        return z.contiguous(), h.contiguous()

    def follower(self) -> Follower:
        """Return what takes M along real episodes, a step at a time, with its weights stacked once for all steps."""
        from_input, from_h, bias = self.gate_weights()
        return Follower(self, torch.cat([from_input, from_h], 1).t(), bias)

    @torch.no_grad()
    def gate_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the LSTM's weights from (z, a), (4D, Z + A), and from h, (4D, D), and its bias (4D,), for `lstm_cell`.

        Those of the third gate are doubled, for tanh x = 2 / (1 + exp(-2x)) - 1: all four gates pass one logistic function.
        torch's own tanh goes to a library that is ten times as slow on some processors.
        """
        doubled = torch.ones(4, 1, device=self.mixture_head.weight.device)
        doubled[2] = 2
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
        from_input, from_h, bias = (
            (self.lstm.get_parameter(name).unflatten(0, (4, -1)).flatten(1) * doubled) for name in names
        )
        return from_input.view(4 * self.hidden, -1), from_h.view(4 * self.hidden, -1), bias.flatten()

    def mixture_linear(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the mixture head with outputs in the order (3, K, Z); it is stored as (3, Z, K)."""
        shape = (3, self.latent, self.mixtures)
        weight = self.mixture_head.weight.unflatten(0, shape).transpose(1, 2).flatten(0, 2)
        return weight, self.mixture_head.bias.unflatten(0, shape).transpose(1, 2).flatten()

    def outcome_linears(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the two layers of the outcome head, which a dream stacks with the rest."""
        first, _, second = self.outcome_head
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        return first, second

    def from_older(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """Return the weights of an M of any age: one whose outcomes knew only h, in units of reward_scale, says the same."""
        name = "outcome_head.0.weight"
        arrays = {
            "reward_scale": np.array(self._unit, np.float32),
            "terminal_scale": np.ones((), np.float32),
            **arrays,
        }
        if arrays.get(name, np.empty(0)).shape == (_HEAD_WIDTH, self.hidden):
            arrays[name] = np.pad(arrays[name], ((0, 0), (0, self.latent)))
        return arrays

    @torch.no_grad()
    def rescale_terminal(self, scale: float) -> None:
        """Let the terminal head's output count in other units, and all it says stay as it is (van Hasselt et al. 2016)."""
        _, last = self.outcome_linears()
        for part in (last.weight, last.bias):
            part[1] *= self.terminal_scale / scale
        self.terminal_scale.fill_(scale)

    def density(self, hidden: Tensor) -> Mixture:
        """Return what M believes of z', a mixture, after hidden states (..., D)."""
        return from_outputs(F.linear(hidden, *self.mixture_linear()), self.latent, self.mixtures)

    def predict(self, hidden: Tensor, z: Tensor) -> Prediction:
        """Return what M believes after hidden states (..., D): of z', and of the rest where that is `z` (..., Z)."""
        outcome = self.outcome_head(torch.cat([hidden, z], -1)).float()
        terminal = outcome[..., 1] * self.terminal_scale
        return Prediction(self.density(hidden), outcome[..., 0], terminal, outcome[..., 2], outcome[..., 3:])

    def loss(
        self, z: Tensor, actions: Tensor, start: State, targets: Targets, reward_weight: float, terminated_weight: float,
        action_weight: float,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """Return M's loss over sequences z (B, T, Z) and actions (B, T, A) from `start` (B), and its parts (`memory_loss`)."""
        _, h = self.split(start.features)
        hidden, _ = self(z, actions, (h, start.inner))
        weights, coming = (reward_weight, terminated_weight, action_weight), targets.z
        if targets.noise is not None:
            with torch.no_grad():
                coming = sample(self.density(hidden), *targets.noise)
        return memory_loss(self.predict(hidden, coming), targets, *weights, self.terminal_scale)


def actions_of(arrays: Mapping[str, np.ndarray], latent: int) -> int:
    """Return how many action dimensions an M reads whose stored weights these are; KeyError where they are no M's."""
    return int(arrays["lstm.weight_ih_l0"].shape[1]) - latent


def lstm_cell(gates: Tensor, c: Tensor) -> Hidden:
    """Return the LSTM's new (h, c) from its four pre-activations (B, 4D), as `gate_weights` has them, and its old c (B, D).

    The pre-activations are overwritten.
    """
    i, f, g, o = gates.sigmoid_().chunk(4, -1)
    c = torch.addcmul(f * c - i, i, g, value=2)  # f c + i tanh
    return torch.addcmul(-o, o, torch.sigmoid(2 * c), value=2), c  # o tanh(c)


@dataclass(frozen=True)
class Follower:
    """What takes M along real episodes, a step at a time, with its weights `stacked` (Z + A + D, 4D) as they are now."""

    memory: Memory
    stacked: Tensor
    bias: Tensor

    def __call__(self, state: State, action: Tensor, z: Tensor) -> State:
        """Return where N episodes are that were in `state`, took `action` (N, A), and now show `z` (N, Z)."""
        before, h = self.memory.split(state.features)
        h, c = lstm_cell(torch.addmm(self.bias, torch.cat([before, action, h], -1), self.stacked), state.inner)
        return State(torch.cat([z, h], -1), c)


class Targets(NamedTuple):
    """What really followed each of (B, T) steps; `mask` is 1 where a real step is, 0 where a sequence is padded.

    `reward` is in units of reward_scale. With `noise` (uniform and normal, each (B, T, Z) as in `mixture.sample`) the z of
    terminated steps are not known: none is a target, and outcomes are told at a z' drawn from M's own mixture. `steps` and
    `action_steps` () are what means are over where this is a part of a batch: the sums of the whole batch's masks.
    """

    z: Tensor
    reward: Tensor
    terminated: Tensor
    next_action: Tensor
    mask: Tensor
    action_mask: Tensor
    noise: tuple[Tensor, Tensor] | None = None
    steps: Tensor | None = None
    action_steps: Tensor | None = None

    def part(self, rows: slice) -> Targets:
        """Return the targets of some of B rows; means are still over all."""
        drawn = None if self.noise is None else (self.noise[0][rows], self.noise[1][rows])
        own = {name: getattr(self, name)[rows] for name in self._fields[:6]}
        return Targets(**own, noise=drawn, steps=self.mask.sum(), action_steps=self.action_mask.sum())


def memory_loss(
    prediction: Prediction, targets: Targets, reward_weight: float, terminated_weight: float, action_weight: float,
    terminal_scale: float | Tensor = 1.0,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Return M's loss, the mean over real steps, and its parts; of a part of a batch, its part of the batch's mean.

    z': negative log-likelihood in nats, summed over latent dimensions. r': squared error, by the ordinary head on
    steps that go on and by the terminal head on those that end, there in units of `terminal_scale`, so that a crash of
    -100 does not drown a batch; another loss than the square would learn another thing than the mean.
    d': binary cross-entropy with terminated steps counted `terminated_weight` times (HS18's Doom model does so).
    a': squared error. The parts are `nll`, `reward_loss`, `terminal_reward_loss`, `terminated_loss` and `action_loss`.
    """
    steps = (targets.mask.sum() if targets.steps is None else targets.steps).clamp(min=1.0)
    acted = (targets.action_mask.sum() if targets.action_steps is None else targets.action_steps).clamp(min=1.0)
    continues = targets.mask * (1 - targets.terminated)
    shown = targets.mask if targets.noise is None else continues
    nll = (-log_prob(prediction.mixture, targets.z).sum(-1) * shown).sum() / steps
    ends = targets.mask * targets.terminated
    reward_loss = ((prediction.reward - targets.reward).square() * continues).sum() / steps
    terminal = ((prediction.terminal_reward - targets.reward) / terminal_scale).square()
    terminal_loss = (terminal * ends).sum() / steps
    weight = targets.mask * (1 + (terminated_weight - 1) * targets.terminated)
    done = F.binary_cross_entropy_with_logits(prediction.done_logit, targets.terminated, reduction="none")
    done_loss = (done * weight).sum() / steps
    error = (prediction.next_action - targets.next_action).square().mean(-1)
    action_loss = (error * targets.action_mask).sum() / acted
    loss = nll + reward_weight * (reward_loss + terminal_loss) + done_loss + action_weight * action_loss
    parts = {
        "nll": nll,
        "reward_loss": reward_loss,
        "terminal_reward_loss": terminal_loss,
        "terminated_loss": done_loss,
    }
    return loss, {name: part.detach() for name, part in {**parts, "action_loss": action_loss}.items()}


def done_probability(done_logit: Tensor, terminated_weight: float) -> Tensor:
    """Return P(terminated), calibrated: training counted ends `terminated_weight` times, which raised their odds by as much."""
    return torch.sigmoid(done_logit - math.log(terminated_weight))
