"""The dream: a batch of imagined episodes inside a world model. No real environment is involved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wmloop.entries import require_parts
from wmloop.errors import UsageError
from wmloop.learn.batch import Batch
from wmloop.models.policies import Behaviour
from wmloop.models.world_model import Imagination, Outcome, State

_DESCRIBED = "wmloop.models.world_model.Imagination"


class Noise(NamedTuple):
    """All chance of one dream, drawn ahead: `uniform`, `normal` (T, N, Z) for the world model, `action` (T, N, A) for C."""

    uniform: Tensor
    normal: Tensor
    action: Tensor

    @classmethod
    def draw(cls, horizon: int, num_dreams: int, size: int, actions: int, generator: torch.Generator) -> Noise:
        """Draw the noise of a whole dream on the generator's device, `size` numbers a step (Imagination.noise_size)."""
        shape, device = (horizon, num_dreams), generator.device
        return cls(
            torch.rand(*shape, size, generator=generator, device=device),
            torch.randn(*shape, size, generator=generator, device=device),
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

    def learnable(self) -> Batch:
        """Return the steps as a learner takes them: rewards are those expected over whether a step ends the episode."""
        return Batch(self.features, self.action, self.logprob, self.expected, self.continues, self.survival[:-1])

    def metrics(self, reward_scale: float) -> dict[str, float]:
        """Return `dream_return`, the mean of `total` in the environment's rewards, and `dream_terminated_fraction`.

        The latter is the mean probability that a dream has terminated within its horizon.
        """
        ended = 1 - float(self.survival[-1].mean())
        return {"dream_return": float(self.total.mean()) * reward_scale, "dream_terminated_fraction": ended}

    @property
    def total(self) -> Tensor:
        """Return the sum of rewards (N,) expected over the horizon: nothing is paid after an end."""
        return (self.survival[:-1] * self.expected).sum(0)


def unroll(
    imagination: Imagination, start: State, act: Callable[[int, State], tuple[State, Tensor]], noise: Noise
) -> Iterator[tuple[State, Outcome]]:
    """Dream on from `start` for the noise's horizon; yield where each of T steps has led N dreams, and its outcome.

    `act` returns the action (N, A) of step t, and where it is taken: in the states that it is given, or in others.

    Raises:
        UsageError: the imagination cannot imagine, or what it returns has another shape than it is asked for.
    """
    require_parts(imagination, ("noise_size", "imagine"), "a world model dreams by", _DESCRIBED)
    state = start
    for t, (uniform, normal) in enumerate(zip(noise.uniform, noise.normal, strict=True)):
        state, action = act(t, state)
        before = state.features.shape
        state, outcome = imagination.imagine(state, action, uniform, normal)
        if t == 0:
            _require_shapes(before, state, outcome)
        yield state, outcome


def _require_shapes(before: torch.Size, after: State, outcome: Outcome) -> None:
    wanted = {"features": before, **dict.fromkeys(Outcome._fields, before[:-1])}
    given = {"features": after.features.shape, **{name: part.shape for name, part in outcome._asdict().items()}}
    for name, shape in wanted.items():
        if given[name] != shape:
            raise UsageError(
                f"a world model imagines, from features {tuple(before)} on, {name} {tuple(given[name])} instead of"
                f" {tuple(shape)}: what it has to be is described by {_DESCRIBED}"
            )


@torch.no_grad()
def rollout(imagination: Imagination, policy: Callable[[Tensor], Behaviour], start: State, noise: Noise) -> DreamBatch:
    """Let C act in N dreams for the noise's horizon T, from `start`."""
    horizon, num_dreams = noise.action.shape[:2]
    features = start.features.new_empty(horizon + 1, *start.features.shape)
    action = torch.empty_like(noise.action)
    logprob, reward, terminal_reward, continues = (features.new_empty(horizon, num_dreams) for _ in range(4))

    def act(t: int, state: State) -> tuple[State, Tensor]:
        choice = policy(features[t])
        action[t] = choice.sample(noise.action[t])
        logprob[t] = choice.logprob(action[t])
        return state, choice.executed(action[t])

    features[0] = start.features
    for t, (state, outcome) in enumerate(unroll(imagination, start, act, noise)):
        features[t + 1] = state.features
        reward[t], terminal_reward[t], continues[t] = outcome.reward, outcome.terminal_reward, 1 - outcome.done
    return DreamBatch(features, action, logprob, reward, terminal_reward, continues)


@torch.no_grad()
def foretell(
    imagination: Imagination, state: State, action: Tensor, draws: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the reward in units of reward_scale and the probability of an end, (N,) each, expected of one step.

    What will come is not known: the mean over `draws` of it, each from `state`.
    """
    noise = Noise.draw(draws, len(action), imagination.noise_size, action.shape[1], generator)
    said = [outcome for _, outcome in unroll(imagination, state, lambda t, _: (state, action), noise)]
    return torch.stack([one.expected for one in said]).mean(0), torch.stack([one.done for one in said]).mean(0)
