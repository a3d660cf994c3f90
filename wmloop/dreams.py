"""The dream: a batch of imagined episodes inside a world model. No real environment is involved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wmloop.entries import require_parts
from wmloop.errors import UsageError
from wmloop.learn.batch import Batch
from wmloop.learn.policy import Behaviour, Policy
from wmloop.models.world_model import Imagination, Outcome, State

_DESCRIBED = "wmloop.models.world_model.Imagination"
#: Dreams of a moment, given what was really done.
_PARTICLES = 1024
#: With so few dreams none has just the real action: C's deviations count so many times, and no dream is impossible.
_STD_FACTOR, _UNIFORM_MIX = 2.0, 0.02
#: What is reached with less probability is not dreamt.
_HARDLY = 1e-3


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

    def at(self, rows: slice) -> Noise:
        """Return the noise of some of the dreams."""
        return Noise(*(part[:, rows] for part in self))

    def repeated(self, times: int) -> Noise:
        """Return the noise of so many groups of dreams, in each of which chance falls alike."""
        return Noise(*(part.repeat(1, times, 1) for part in self))


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
                f"a world model's imagine returned {name} of shape {tuple(given[name])} instead of {tuple(shape)}, for features"
                f" of shape {tuple(before)}: see {_DESCRIBED}"
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


class Returns(NamedTuple):
    """What N dreams come to.

    `total` (N,) is the reward expected of each in units of reward_scale, where nothing is paid after an end, `ended` (N,) the
    probability that it has ended. `features` (T+1, F) and `action` (T, A), as it was executed, are those of the first dream.
    """

    total: Tensor
    ended: Tensor
    features: Tensor
    action: Tensor


@torch.no_grad()
def returns(imagination: Imagination, policy: Callable[[Tensor], Policy], start: State, noise: Noise) -> Returns:
    """Let the deterministic C act in N dreams from `start` for the noise's horizon, or until hardly any has not ended."""
    total, survival = torch.zeros_like(start.features[:, 0]), torch.ones_like(start.features[:, 0])
    features, action = [start.features[0]], list[Tensor]()

    def act(t: int, state: State) -> tuple[State, Tensor]:
        decided = policy(state.features).mode()
        action.append(decided[0])
        return state, decided

    for state, outcome in unroll(imagination, start, act, noise):
        features.append(state.features[0])
        total += survival * outcome.expected
        survival *= 1 - outcome.done
        if survival.max() < _HARDLY:
            break
    return Returns(total, 1 - survival, torch.stack(features), torch.stack(action))


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


def open_loop_returns(
    imagination: Imagination, policy: Callable[[Tensor], Policy], begin: State, taken: Tensor, steps: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Return the reward sum M expects from `begin` (N) given the actions really taken (T, N, A), (N,), open loop.

    The recorded actions tell something of what the agent saw: a dream in which other things happen would be given actions that
    do not fit it. So each moment's dreams are drawn again at every decision, in proportion to how probable `policy`
    makes the real action where each dream is, and to how probably the dream has not ended before: somebody acted (a
    particle filter, Gordon et al. 1993). Each of the first `steps` (N,) decisions counts what is then expected of it,
    whether it ends the episode or not. No real picture is seen.
    """
    (count, dreams), device = (len(steps), _PARTICLES), steps.device
    first = torch.arange(count, device=device).unsqueeze(1) * dreams
    start = begin.at(torch.arange(count, device=device).repeat_interleave(dreams))
    noise = Noise.draw(len(taken), count * dreams, imagination.noise_size, taken.shape[2], generator)
    actions = taken.repeat_interleave(dreams, 1)
    total, continues = torch.zeros(count, device=device), torch.ones(count * dreams, device=device)

    def act(t: int, state: State) -> tuple[State, Tensor]:
        likely = policy(state.features).likelihood(actions[t], _STD_FACTOR, _UNIFORM_MIX) * continues.clamp(min=1e-6)
        weight = likely.view(count, dreams).cumsum(1)
        at = torch.rand(count, 1, generator=generator, device=device) + torch.arange(dreams, device=device)
        drawn = torch.searchsorted(weight, at / dreams * weight[:, -1:]).clamp_(max=dreams - 1)
        return state.at((first + drawn).flatten()), actions[t]

    for t, (_, outcome) in enumerate(unroll(imagination, start, act, noise)):
        total += outcome.expected.view(count, dreams).mean(1) * (t < steps)
        continues = 1 - outcome.done
    return total
