"""The dream: a batch of imagined episodes inside M, in latent space. No real environment is involved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from wmloop.learn.batch import Batch
from wmloop.models import mixture
from wmloop.models.memory import Memory, done_probability, gated
from wmloop.models.policies import Behaviour
from wmloop.models.world_model import State


class Outcome(NamedTuple):
    """What M says one step does to N dreams, each (N,): `done` = P(it ends the episode); rewards in units of reward_scale.

    `reward` is expected if the episode goes on, `terminal_reward` if it ends there.
    """

    reward: Tensor
    terminal_reward: Tensor
    done: Tensor

    @property
    def expected(self) -> Tensor:
        """Return the reward (N,) expected over whether the step ends the episode."""
        return (1 - self.done) * self.reward + self.done * self.terminal_reward


class Noise(NamedTuple):
    """All chance of one dream, drawn ahead: `uniform`, `normal` (T, N, Z) for z', `action` (T, N, A) for C."""

    uniform: Tensor
    normal: Tensor
    action: Tensor

    @classmethod
    def draw(cls, horizon: int, num_dreams: int, latent: int, actions: int, generator: torch.Generator) -> Noise:
        """Draw the noise of a whole dream on the generator's device."""
        shape, device = (horizon, num_dreams), generator.device
        return cls(
            torch.rand(*shape, latent, generator=generator, device=device),
            torch.randn(*shape, latent, generator=generator, device=device),
            torch.randn(*shape, actions, generator=generator, device=device),
        )


class DreamBatch(NamedTuple):
    """T steps of N dreams, time first.

    `features` (T+1, N, F) includes where each dream stopped, for bootstrapping; `action` (T, N, A) is unclipped, as
    `logprob` (T, N) needs it; `reward` and `terminal_reward` (T, N) are expected if the step does not end the episode and
    if it does; `continues` (T, N) is the probability that it does not.
    """

    features: Tensor
    action: Tensor
    logprob: Tensor
    reward: Tensor
    terminal_reward: Tensor
    continues: Tensor

    @property
    def expected(self) -> Tensor:
        """Return the reward (T, N) expected over whether each step ends the episode."""
        return self.continues * self.reward + (1 - self.continues) * self.terminal_reward

    @property
    def survival(self) -> Tensor:
        """Return the probability (T+1, N) that the episode has come to each step, and that it goes on after the last."""
        return torch.cat([torch.ones_like(self.continues[:1]), self.continues.cumprod(0)])

    def learnable(self, worth: Callable[[Tensor], Tensor] | None = None) -> Batch:
        """Return the steps as a learner takes them; `worth` is what rewards are worth to it, of ends and others alike."""
        if worth is not None:
            self = self._replace(reward=worth(self.reward), terminal_reward=worth(self.terminal_reward))
        return Batch(self.features, self.action, self.logprob, self.expected, self.continues, self.survival[:-1])

    @property
    def total(self) -> Tensor:
        """Return the sum of rewards (N,) expected over the horizon: nothing is paid after an end."""
        return (self.survival[:-1] * self.expected).sum(0)


class Dream:
    """Step dreams inside M at a mixture temperature.

    All gates come out of one matrix product, and all that M says of h out of another, which is why weights are stacked here
    once: build a new Dream when M's weights have changed. What a step pays and whether it ends the episode is told with
    the z' that was drawn, so a dream that shows a crash ends by it.

    An end is an expectation, never drawn: the reward of a step is (1 - p) r + p r_end, and what follows counts 1 - p.
    """

    def __init__(self, memory: Memory, temperature: float, done_weight: float) -> None:
        self.memory, self.temperature, self.done_weight = memory, temperature, done_weight
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
    def step(self, state: State, action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[State, Outcome]:
        """Imagine one step of each dream under action (N, A); noise (N, Z) as in `mixture.sample`."""
        one = torch.ones_like(state.z[:, :1])
        h, c = gated(torch.mm(torch.cat([state.z, state.h, action, one], -1), self._gates), state.c)
        raw_mixture, raw_outcome = torch.mm(h, self._heads).add_(self._bias).split(self._sizes, -1)
        density = mixture.from_outputs(raw_mixture, self.memory.latent, self.memory.mixtures)
        z = mixture.sample(density, uniform, normal, self.temperature)
        shown = torch.addmm(raw_outcome, z, self._coming)
        outcome = torch.nn.functional.linear(torch.nn.functional.silu(shown, inplace=True), *self._outcome)
        done = done_probability(outcome[:, 2], self.done_weight)
        return State(z, h, c), Outcome(outcome[:, 0], outcome[:, 1], done)

    @torch.no_grad()
    def foretell(self, state: State, action: Tensor, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the reward in units of reward_scale and the probability of an end, (N,) each, expected of one step.

        What will come is not known: the mean over `draws` of z'.
        """
        noise = Noise.draw(draws, len(state.z), state.z.shape[1], action.shape[1], generator)
        said = [self.step(state, action, noise.uniform[k], noise.normal[k])[1] for k in range(draws)]
        return torch.stack([one.expected for one in said]).mean(0), torch.stack([one.done for one in said]).mean(0)

    @torch.no_grad()
    def rollout(self, policy: Callable[[Tensor], Behaviour], start: State, noise: Noise) -> DreamBatch:
        """Let C act in N dreams for the noise's horizon T, from `start`."""
        horizon, num_dreams = noise.action.shape[:2]
        features = start.z.new_empty(horizon + 1, num_dreams, start.z.shape[1] + start.h.shape[1])
        action = torch.empty_like(noise.action)
        logprob, reward, terminal_reward, continues = (start.z.new_empty(horizon, num_dreams) for _ in range(4))
        state = start
        for t in range(horizon):
            torch.cat([state.z, state.h], -1, out=features[t])
            choice = policy(features[t])
            action[t] = choice.sample(noise.action[t])
            logprob[t] = choice.logprob(action[t])
            state, outcome = self.step(state, choice.executed(action[t]), noise.uniform[t], noise.normal[t])
            reward[t], terminal_reward[t], continues[t] = outcome.reward, outcome.terminal_reward, 1 - outcome.done
        torch.cat([state.z, state.h], -1, out=features[horizon])
        return DreamBatch(features, action, logprob, reward, terminal_reward, continues)
