"""M's dreaming, fast: its weights stacked once for many steps."""

from __future__ import annotations

import torch
from torch import Tensor

from wmloop.models import mixture
from wmloop.models.memory import Memory, done_probability, lstm_cell
from wmloop.models.world_model import Outcome, State


class Kernel:
    """Imagine steps inside M at a mixture temperature (see world_model.Imagination).

    All gates come out of one matrix product, and all that M says of h out of another, which is why weights are stacked here
    once: build a new one when M's weights have changed. What a step pays and whether it ends the episode is told with the
    z' that was drawn, so a dream that shows a crash ends by it.

    An end is an expectation, which is not drawn here: the reward of a step is (1 - p) r + p r_end, and what follows counts
    1 - p.
    """

    def __init__(self, memory: Memory, temperature: float, terminated_weight: float) -> None:
        self.memory, self.temperature, self.terminated_weight = memory, temperature, terminated_weight
        self.noise_size = memory.latent
        from_za, from_h, bias = memory.gate_weights()
        first, second = memory.outcome_linears()
        with torch.no_grad():
            to_mixture, mixture_bias = memory.mixture_linear()
            # The gates' bias is a weight of a constant input: torch would first write it out for every dream.
            from_z, from_a = from_za.split([memory.latent, memory.actions], 1)
            self._gates = torch.cat([from_z, from_h, from_a, bias.unsqueeze(1)], 1).t().contiguous()
            known, coming = first.weight.split([memory.hidden, memory.latent], 1)
            self._heads = torch.cat([to_mixture, known]).t().contiguous()
            self._coming = coming.t().contiguous()
            self._bias = torch.cat([mixture_bias, first.bias])
            weight, bias = second.weight.clone(), second.bias.clone()
            weight[1] *= memory.terminal_scale
            bias[1] *= memory.terminal_scale
            self._outcome = weight, bias
        self._sizes = [len(mixture_bias), len(first.bias)]

    @torch.no_grad()
    def imagine(self, state: State, action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[State, Outcome]:
        """Imagine one step of each dream under action (N, A); noise (N, Z) as in `mixture.sample`."""
        one = torch.ones_like(action[:, :1])
        h, c = lstm_cell(torch.mm(torch.cat([state.features, action, one], -1), self._gates), state.inner)
        raw_mixture, raw_outcome = torch.mm(h, self._heads).add_(self._bias).split(self._sizes, -1)
        density = mixture.from_outputs(raw_mixture, self.memory.latent, self.memory.mixtures)
        z = mixture.sample(density, uniform, normal, self.temperature)
        shown = torch.addmm(raw_outcome, z, self._coming)
        outcome = torch.nn.functional.linear(torch.nn.functional.silu(shown, inplace=True), *self._outcome)
        done = done_probability(outcome[:, 2], self.terminated_weight)
        return State(torch.cat([z, h], -1), c), Outcome(outcome[:, 0], outcome[:, 1], done)

    @torch.no_grad()
    def surprise(self, features: Tensor) -> Tensor:
        """Return M's loss on the z of imagined features (..., Z + D), nats per latent dimension (...,), at its temperature."""
        z, h = self.memory.split(features)
        return -mixture.log_prob(mixture.tempered(self.memory.density(h), self.temperature), z).mean(-1)
