"""Promises: what M says the next decisions of a real episode will pay, held against what reality paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

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
#: These are many, so they are dreamt for every sixth moment, in every second episode from the fourth on.
_FORESEEN_EVERY = 6
#: Moments foreseen together: of more, a step's intermediate results would not stay in the processor's cache.
_TOGETHER = 4
#: Decisions that are told of together.
_ROWS = 1024
#: With so few dreams none has just the real action: C's deviations count so many times, and no dream is impossible.
_SLACK, _FLOOR = 2.0, 0.02
#: Bounds of the bins of probabilities in which ends are counted.
BINS = (0.0, 0.001, 0.01, 0.1, 0.5, 1.0)


class Window(NamedTuple):
    """Decisions that a promise is held against: from `start` on `promised` ones, of which the episode lived `lived`."""

    start: int
    promised: int
    lived: int


class Promises(NamedTuple):
    """What M said over the windows of one episode (see `windows`), and what came of it; rewards in the environment's units.

    `promised` is dreamt with C acting inside M, `foreseen` is what M expects given the actions that were really taken
    (see `foresee`; None, or nothing at all, where that was not asked), `paid` is what reality paid, all sums over a window;
    `lived` are its real decisions. `decisions` is the episode's length. `ends` has a row for each of BINS: decisions for
    which M expected an end with such a probability, the sum of these, and the ends that came.
    """

    promised: list[float]
    foreseen: list[float | None]
    paid: list[float]
    lived: Sequence[int] = ()
    decisions: int = 0
    ends: Sequence[Sequence[float]] = ()


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
        lived: list[list[int]] = [[] for _ in episodes]
        told = [
            Promises([], [], [], lived[i], len(episode), ends)
            for i, (episode, ends) in enumerate(zip(episodes, self._ends(config, episodes), strict=True))
        ]
        limit = _limit(episodes, config)
        asked = [windows(episode, config.dream.warmup, limit, config.rollout.patience) for episode in episodes]
        starts = [(i, number, window) for i, some in enumerate(asked) for number, window in enumerate(some)]
        if not starts:
            return told
        agent, scale = self.agent, float(self.agent.memory.reward_scale)
        seen = [self.of(i, slice(window.start, window.start + window.lived)) for i, _, window in starts]
        begin = DreamState(*(torch.stack([moment[k][0] for moment in seen]) for k in range(3)))
        generator = torch.Generator(agent.device).manual_seed(derive_seed(episodes[0].seed, "promise"))
        dream = Dream(agent.memory, 1.0, config.memory.done_weight)
        begins = begin.at(torch.arange(len(starts), device=agent.device).repeat_interleave(_DREAMS))
        noise = Noise.draw(HORIZON, len(begins.z), begin.z.shape[1], agent.memory.actions, generator)
        batch = dream.rollout(agent.policy, begins, noise._replace(action=torch.zeros_like(noise.action)))
        due = (batch.survival[:-1] * batch.expected).cumsum(0).unflatten(1, (-1, _DREAMS)).mean(2).cpu().numpy() * scale
        for place, (i, _, window) in enumerate(starts):
            told[i].promised.append(float(due[window.promised - 1, place]))
            told[i].paid.append(float(episodes[i].rewards[window.start : window.start + window.lived].sum()))
            lived[i].append(window.lived)
        if not foreseeing:
            return told
        chosen = [place for place, (i, number, _) in enumerate(starts) if _is_foreseen(number, i)]
        answers: dict[int, float] = {}
        for k in range(0, len(chosen), _TOGETHER):
            tick()
            some = chosen[k : k + _TOGETHER]
            taken = nn.utils.rnn.pad_sequence([seen[place][3] for place in some])
            real = torch.tensor([starts[place][2].lived for place in some], device=agent.device)
            foreseen: Tensor = foresee(dream, agent.actor, begin.at(some), taken, real, generator) * scale
            answers |= dict(zip(some, foreseen.tolist(), strict=True))
        for place, (i, _, _) in enumerate(starts):
            told[i].foreseen.append(answers.get(place))
        return told

    def _ends(self, config: RunConfig, episodes: Sequence[Episode]) -> list[list[list[float]]]:
        """Return for each episode how often M expected it to end, and whether it did (see Promises)."""
        agent = self.agent
        dream = Dream(agent.memory, 1.0, config.memory.done_weight)
        generator = torch.Generator(agent.device).manual_seed(derive_seed(episodes[0].seed, "ends"))
        rows = [
            torch.cat(part)
            for part in zip(*(self.of(i, slice(0, len(e))) for i, e in enumerate(episodes)), strict=True)
        ]
        parts = []
        for z, h, c, action in zip(*(part.split(_ROWS) for part in rows), strict=True):
            parts.append(dream.foretell(DreamState(z, h, c), action, _DREAMS, generator)[1])
        expected = torch.cat(parts).cpu().double().numpy()
        found, first = [], 0
        for episode in episodes:
            p = expected[first : first + len(episode)]
            came = np.zeros(len(episode))
            came[-1] = episode.terminated
            found.append(by_bin(p, came))
            first += len(episode)
        return found


def foresee(
    dream: Dream, policy: Callable[[Tensor], Policy], begin: DreamState, taken: Tensor, lived: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Return the reward sum M expects from `begin` (N) given the actions really taken (T, N, A), (N,), open loop.

    A driver's actions are evidence of the road that called for them: a dream whose road bends elsewhere would be driven
    off it by them. So each moment's dreams are drawn again at every decision, in proportion to how probable `policy`
    makes the real action where each dream is, and to how probably the dream has not ended before: somebody acted (a
    particle filter, Gordon et al. 1993). Each of the first `lived` (N,) decisions counts what is then expected of it,
    whether it ends the episode or not. No real picture is seen.
    """
    count, dreams, device = len(begin.z), _FORESEEING, begin.z.device
    first = torch.arange(count, device=device).unsqueeze(1) * dreams
    state = begin.at(torch.arange(count, device=device).repeat_interleave(dreams))
    noise = Noise.draw(len(taken), count * dreams, state.z.shape[1], taken.shape[2], generator)
    total, goes_on = torch.zeros(count, device=device), torch.ones(count * dreams, device=device)
    for t, action in enumerate(taken.repeat_interleave(dreams, 1)):
        chosen = policy(state.features)
        likely = Policy(chosen.expected(), chosen.log_std + math.log(_SLACK)).logprob(action).exp()
        likely = ((1 - _FLOOR) * likely + _FLOOR * 0.5 ** action.shape[1]) * goes_on.clamp(min=1e-6)
        weight = likely.view(count, dreams).cumsum(1)
        at = torch.rand(count, 1, generator=generator, device=device) + torch.arange(dreams, device=device)
        drawn = torch.searchsorted(weight, at / dreams * weight[:, -1:]).clamp_(max=dreams - 1)
        drawn = (first + drawn).flatten()
        state, outcome = dream.step(state.at(drawn), action, noise.uniform[t], noise.normal[t])
        total += outcome.expected.view(count, dreams).mean(1) * (t < lived)
        goes_on = 1 - outcome.done
    return total


def windows(episode: Episode, warmup: int, limit: int, patience: int | None) -> list[Window]:
    """Return where in an episode M is asked, and how far: from decision `warmup` on, where dreams begin, up to the end.

    After an end nothing is paid, and M has to know. But a time limit, of `limit` decisions, says nothing about what would
    have come: the dream is cut where it would cut, whether the episode came so far or not. Where rollouts stop because
    nothing has paid for `patience` decisions, M knows nothing of what comes then: windows that reach beyond such a place
    are left out, also where the episode went on.
    """
    length, stopped = len(episode), _stopped(episode.rewards, patience)
    found = []
    for start in range(warmup, length, _EVERY):
        if start + HORIZON > stopped and not (episode.terminated and stopped == length):
            break
        lived = min(HORIZON, length - start)
        found.append(Window(start, min(HORIZON, limit - start) if episode.terminated else lived, lived))
    return found


def _limit(episodes: Sequence[Episode], config: RunConfig) -> int:
    """Return the decisions that an episode has at most: as configured, or fewer where the environment cut one before."""
    cut = [len(e) for e in episodes if not e.terminated and _stopped(e.rewards, config.rollout.patience) > len(e)]
    return min([-(-config.env.most_frames // config.env.action_repeat), *cut])


def _stopped(rewards: np.ndarray, patience: int | None) -> float:
    """Return after how many decisions that paid `rewards` (T,) a rollout stops for want of a positive one; inf: never."""
    vain = 0
    for t, reward in enumerate(rewards):
        vain = 0 if reward > 0 else vain + 1
        if vain == patience:
            return t + 1
    return math.inf


def _is_foreseen(number: int, episode: int) -> bool:
    return number % _FORESEEN_EVERY == episode % 2 * _FORESEEN_EVERY // 2


def gap(promises: Sequence[Promises]) -> dict[str, float]:
    """Return how the dream's promises stood against reality over several episodes; nothing where no moment was asked.

    Only episodes without exploration: C did there what it did in the dream. `promised`, `paid`: rewards an episode, as long
    as these episodes were on average; `paid_best`: those of the episode that paid most; `paid_a_decision`. `gap_points` is
    the difference of promised and paid, `gap` the same in parts of what was paid, where that is more than twice its error;
    `gap_points_error`, `gap_error`: their standard errors (episodes being independent), where there are two episodes.
    """
    told = [episode for episode in promises if episode.lived]
    if not told:
        return {}
    sums = [(sum(episode.promised), sum(episode.paid), sum(episode.lived)) for episode in told]
    promised, paid, lived = np.array(sums, np.float64).T
    scale = np.mean([episode.decisions for episode in promises]) / lived.sum()
    metrics = {
        "promised": promised.sum() * scale,
        "paid": paid.sum() * scale,
        "paid_best": (paid / lived).max() * lived.sum() * scale,
        "paid_a_decision": paid.sum() / lived.sum(),
        "gap_points": (promised.sum() - paid.sum()) * scale,
    }
    if len(told) > 1:
        total, difference = paid.sum(), promised - paid

        def error(residual: np.ndarray) -> float:
            return math.sqrt(len(told)) * float(residual.std(ddof=1))

        metrics["gap_points_error"] = error(difference - difference.sum() / lived.sum() * lived) * scale
        if abs(total) > 2 * error(paid - total / lived.sum() * lived):
            metrics["gap"] = difference.sum() / abs(total)
            metrics["gap_error"] = error(promised - promised.sum() / total * paid) / abs(total)
    return {name: float(value) for name, value in metrics.items()}


def by_bin(expected: np.ndarray, came: np.ndarray) -> list[list[float]]:
    """Return for each of BINS the number of decisions whose `expected` (T,) is in it, their sum, and that of `came` (T,)."""
    bins, count = np.digitize(expected, BINS[1:-1]), len(BINS) - 1
    rows: list[list[float]] = np.stack([np.bincount(bins, part, count) for part in (None, expected, came)], 1).tolist()
    return rows


def ends(promises: Sequence[Promises]) -> dict[str, float]:
    """Return how often M expected episodes to end, and how often they did, over all their decisions and by bin.

    `ends_expected` is the sum of the probabilities that M gave to each decision's ending its episode, before it saw what
    came; `ends` is how many did, time limits not counted. `done_LOW_HIGH_decisions`, `_expected` and `_ended` are the
    decisions that were given a probability between LOW and HIGH, their mean one, and the share that ended: these two are
    alike where M is calibrated.
    """
    told = [episode.ends for episode in promises if episode.ends]
    if not told:
        return {}
    rows = np.sum(told, 0)
    metrics = {"ends_expected": rows[:, 1].sum(), "ends": rows[:, 2].sum()}
    for low, high, (count, expected, ended) in zip(BINS, BINS[1:], rows, strict=False):
        if count:
            name = f"done_{low:g}_{high:g}"
            metrics |= {
                f"{name}_decisions": count,
                f"{name}_expected": expected / count,
                f"{name}_ended": ended / count,
            }
    return {name: float(value) for name, value in metrics.items()}


def foresight(promises: Sequence[Promises]) -> dict[str, float]:
    """Return how well M foresaw what the actions that were really taken would pay, explored or not; nothing if unasked.

    `open_loop_bias` is the difference in parts of what was paid, where that is more than twice its error,
    `open_loop_correlation` that over moments.
    """
    told = [pair for episode in promises for pair in zip(episode.foreseen, episode.paid, strict=False)]
    asked = [(foreseen, paid) for foreseen, paid in told if foreseen is not None]
    if not asked:
        return {}
    foreseen, paid = np.array(asked).T
    metrics = {}
    if len(paid) > 1 and abs(paid.sum()) > 2 * math.sqrt(len(paid)) * paid.std(ddof=1) and abs(paid.sum()) > 0:
        metrics["open_loop_bias"] = (foreseen.sum() - paid.sum()) / abs(paid.sum())
    if foreseen.std() > 0 and paid.std() > 0:
        metrics["open_loop_correlation"] = np.corrcoef(foreseen, paid)[0, 1]
    return {name: float(value) for name, value in metrics.items()}
