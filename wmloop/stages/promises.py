"""Promises: what M says the next decisions of a real episode will pay, held against what reality paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.config import RunConfig
from wmloop.dream import Dream, DreamState, Noise
from wmloop.episodes import Episode
from wmloop.models.agent import Agent, Exploration
from wmloop.models.controller import Policy
from wmloop.seeding import derive_seed

#: Decisions over which a promise is compared, and decisions between two comparisons.
HORIZON = 25
_EVERY = 20
#: M's word is a distribution: dreams averaged for each moment, of C's own driving and given what was really done.
_DREAMS, _FORESEEING = 4, 1024
#: These are many, so they are dreamt for every sixth moment, in every second episode three moments later.
_FORESEEN_EVERY = 6 * _EVERY
#: Moments foreseen together: of more, a step's intermediate results would not stay in the processor's cache.
_TOGETHER = 4
#: With so few dreams none has just the real action: C's deviations count so many times, and no dream is impossible.
_SLACK, _FLOOR = 2.0, 0.02


class Promises(NamedTuple):
    """Reward sums over HORIZON decisions from the same moments of one episode, in the environment's units.

    `promised` is dreamt with C acting inside M, `foreseen` is what M expects given the actions that were really taken
    (see `foresee`; None, or nothing at all, where that was not asked), `paid` is what reality paid for these.
    """

    promised: list[float]
    foreseen: list[float | None]
    paid: list[float]


class Trace:
    """An agent that drives a wave of episodes, and what it saw and did at each decision."""

    def __init__(self, agent: Agent, parts: Sequence[range]) -> None:
        """Begin a wave whose copies are driven in `parts`, each at its own pace."""
        self.agent = agent
        self._agents = {copies: agent.beside(len(copies)) for copies in parts}
        self._moments: dict[range, list[tuple[Tensor, ...]]] = {copies: [] for copies in parts}

    def act(self, copies: range, frames: np.ndarray, exploration: Exploration | None = None) -> np.ndarray:
        """Decide for `copies`, one of the parts, and keep what was seen and done; otherwise as `Agent.act`."""
        agent = self._agents[copies]
        action = agent.act(frames, exploration)
        self._moments[copies].append((agent.z, agent.h, agent.c, agent.action))
        return action

    def of(self, copy: int, decisions: slice) -> tuple[Tensor, ...]:
        """Return what one copy saw and did: z (T, Z), h, c (T, D) and its action (T, A) in [-1, 1]."""
        copies = next(copies for copies in self._moments if copy in copies)
        chosen = [[field[copies.index(copy)] for field in moment] for moment in self._moments[copies][decisions]]
        return tuple(map(torch.stack, zip(*chosen, strict=True)))

    @torch.inference_mode()
    def promises(
        self, config: RunConfig, episodes: Sequence[Episode], foreseeing: bool = False,
        tick: Callable[[], None] = lambda: None,
    ) -> list[Promises]:  # fmt: skip
        """Return M's promises over each of `episodes`, those of the wave in order, driven from the trace's beginning.

        What M foresees of the actions really taken is asked only if `foreseeing`: it takes many dreams, and `tick` is
        called between them.
        """
        asked = [moments(episode.rewards, config.rollout.patience) for episode in episodes]
        starts = [(t, i) for i, times in enumerate(asked) for t in times]
        told = [Promises([], [], []) for _ in episodes]
        if not starts:
            return told
        agent = self.agent
        seen = [self.of(i, slice(t, t + HORIZON)) for t, i in starts]
        begin = DreamState(*(torch.stack([moment[k][0] for moment in seen]) for k in range(3)))
        taken = torch.stack([moment[3] for moment in seen], 1)
        generator = torch.Generator(agent.device).manual_seed(derive_seed(episodes[0].seed, "promise"))
        dream = Dream(agent.memory, 1.0, config.memory.done_weight)
        begins = begin.at(torch.arange(len(starts), device=agent.device).repeat_interleave(_DREAMS))
        noise = Noise.draw(HORIZON, len(begins.z), begin.z.shape[1], taken.shape[2], generator)
        batch = dream.rollout(agent.policy, begins, noise._replace(action=torch.zeros_like(noise.action)))
        promised = batch.total.view(-1, _DREAMS).mean(1)
        scale = config.memory.reward_scale
        for (t, i), promise in zip(starts, (promised * scale).tolist(), strict=True):
            told[i].promised.append(promise)
            told[i].paid.append(float(episodes[i].rewards[t : t + HORIZON].sum()))
        chosen = [k for k, (t, i) in enumerate(starts) if _is_foreseen(t, i)]
        if foreseeing and chosen:
            foreseen: list[float] = []
            for k in range(0, len(chosen), _TOGETHER):
                tick()
                some = chosen[k : k + _TOGETHER]
                foreseen += (foresee(dream, agent.actor, begin.at(some), taken[:, some], generator) * scale).tolist()
            answers = iter(foreseen)
            for t, i in starts:
                told[i].foreseen.append(next(answers) if _is_foreseen(t, i) else None)
        return told


def foresee(
    dream: Dream, policy: Callable[[Tensor], Policy], begin: DreamState, taken: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the reward sum M expects from `begin` (N) given the actions really taken (T, N, A), (N,), open loop.

    A driver's actions are evidence of the road that called for them: a dream whose road bends elsewhere would be driven
    off it by them. So each moment's dreams are drawn again at every decision, in proportion to how probable `policy`
    makes the real action where each dream is (a particle filter, Gordon et al. 1993). No real picture is seen.
    """
    count, dreams, device = len(begin.z), _FORESEEING, begin.z.device
    first = torch.arange(count, device=device).unsqueeze(1) * dreams
    state = begin.at(torch.arange(count, device=device).repeat_interleave(dreams))
    noise = Noise.draw(len(taken), count * dreams, state.z.shape[1], taken.shape[2], generator)
    total, alive = torch.zeros(count * dreams, device=device), torch.ones(count * dreams, device=device)
    for t, action in enumerate(taken.repeat_interleave(dreams, 1)):
        chosen = policy(state.features)
        likely = Policy(chosen.expected(), chosen.log_std + math.log(_SLACK)).logprob(action).exp()
        weight = ((1 - _FLOOR) * likely + _FLOOR * 0.5 ** action.shape[1]).view(count, dreams).cumsum(1)
        at = torch.rand(count, 1, generator=generator, device=device) + torch.arange(dreams, device=device)
        drawn = torch.searchsorted(weight, at / dreams * weight[:, -1:]).clamp_(max=dreams - 1)
        drawn = (first + drawn).flatten()
        state, total, alive = state.at(drawn), total[drawn], alive[drawn]
        state, outcome = dream.step(state, action, noise.uniform[t], noise.normal[t])
        total += outcome.reward * alive
        alive *= outcome.done < 1
    return total.view(count, dreams).mean(1)


def moments(rewards: np.ndarray, patience: int | None) -> list[int]:
    """Return the decisions of an episode at which M is asked what the next HORIZON will pay, given rewards (T,).

    Where nothing has paid for `patience` decisions rollouts stop, so of what comes then M knows nothing: most such
    moments are a car that missed a tile and drives its second lap, over tiles that have paid already.
    """
    asked = range(_EVERY, len(rewards) - HORIZON + 1, _EVERY)
    return [t for t in asked if patience is None or (rewards[max(0, t - patience) : t] > 0).any()]


def _is_foreseen(moment: int, episode: int) -> bool:
    return (moment - _EVERY) % _FORESEEN_EVERY == episode % 2 * _FORESEEN_EVERY // 2


def gap(promises: Sequence[Promises], config: RunConfig) -> dict[str, float]:
    """Return how the dream's promises stood against reality over several episodes; nothing where no moment was asked.

    Only episodes without exploration: C did there what it did in the dream. `promised`, `paid`: rewards an episode of
    `env.episode_frames`; `paid_best`: those of the episode that paid most. `gap`: the difference of promised and paid in
    parts of what was paid; `gap_error`: its standard error (a ratio of means, episodes being independent).
    """
    told = [episode for episode in promises if episode.paid]
    if not told:
        return {}
    promised = np.array([sum(episode.promised) for episode in told])
    paid = np.array([sum(episode.paid) for episode in told])
    count, total = sum(len(episode.paid) for episode in told), max(abs(paid.sum()), 1e-6)
    scale = config.env.episode_frames / (HORIZON * config.env.action_repeat)
    ratio = (promised.sum() - paid.sum()) / total
    residual = promised - (1 + ratio) * paid
    metrics = {
        "promised": promised.sum() / count * scale,
        "paid": paid.sum() / count * scale,
        "paid_best": max(np.mean(episode.paid) for episode in told) * scale,
        "gap": ratio,
        "gap_error": math.sqrt(len(told)) * residual.std() / total,
    }
    return {name: float(value) for name, value in metrics.items()}


def foresight(promises: Sequence[Promises]) -> dict[str, float]:
    """Return how well M foresaw what the actions that were really taken would pay, explored or not; nothing if unasked.

    `open_loop_bias` is the difference in parts of what was paid, `open_loop_correlation` that over moments.
    """
    told = [pair for episode in promises for pair in zip(episode.foreseen, episode.paid, strict=False)]
    asked = [(foreseen, paid) for foreseen, paid in told if foreseen is not None]
    if not asked:
        return {}
    foreseen, paid = np.array(asked).T
    metrics = {"open_loop_bias": (foreseen.sum() - paid.sum()) / max(abs(paid.sum()), 1e-6)}
    if foreseen.std() > 0 and paid.std() > 0:
        metrics["open_loop_correlation"] = np.corrcoef(foreseen, paid)[0, 1]
    return {name: float(value) for name, value in metrics.items()}
