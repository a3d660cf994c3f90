"""What M predicts of the rewards of a real episode's next decisions, and what they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import WorldModelAgent
from wmloop.calibration.ends import by_bin
from wmloop.calibration.windows import HORIZON, ReturnForecast, time_limit, windows
from wmloop.config import RunConfig
from wmloop.dreams import Noise, foretell, open_loop_returns, rollout
from wmloop.episodes import Episode
from wmloop.models.policies import Deterministic
from wmloop.models.world_model import State
from wmloop.seeding import derive_seed

#: M predicts a distribution: so many dreams of C's own driving are averaged for each moment.
_DREAMS = 4
#: Open-loop prediction takes many dreams, so it is asked for every sixth moment: from the first on in even episodes,
#: from the fourth on in odd ones.
_OPEN_LOOP_EVERY = 6
#: Moments of open-loop prediction at once: of more, a step's intermediate results would not stay in the processor's cache.
_TOGETHER = 4
#: Decisions that are told of together.
_ROWS = 1024


@torch.inference_mode()
def forecast(
    agent: WorldModelAgent, trace: Recorder, config: RunConfig, episodes: Sequence[Episode], open_loop: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> list[ReturnForecast]:  # fmt: skip
    """Return M's predictions over each of `episodes`, those of the wave in order, which the agent drove and the trace saw.

    Returns are predicted only by an M that learns rewards. What M predicts of the actions really taken is asked only if
    `open_loop`: it takes many dreams, and `tick` is called between them.
    """
    steps: list[list[int]] = [[] for _ in episodes]
    told = [
        ReturnForecast([], [], [], steps[i], len(episode), ends)
        for i, (episode, ends) in enumerate(zip(episodes, _ends(agent, trace, episodes), strict=True))
    ]
    limit = time_limit(episodes, config)
    asked = [windows(episode, config.burn_in, limit, config.max_unrewarded) for episode in episodes]
    starts = [(i, number, window) for i, some in enumerate(asked) for number, window in enumerate(some)]
    if not starts or not config.learns_rewards:
        return told
    seen = [trace.of(i, slice(window.start, window.start + window.length)) for i, _, window in starts]
    begin = State.cat([states.at(slice(1)) for states, _ in seen])
    scale, device = agent.world.reward_scale, begin.features.device
    generator = torch.Generator(device).manual_seed(derive_seed(episodes[0].seed, "promise"))
    imagination = agent.world.imagination(1.0)
    begins = begin.at(torch.arange(len(starts), device=device).repeat_interleave(_DREAMS))
    actions = seen[0][1].shape[1]
    noise = Noise.draw(HORIZON, len(starts) * _DREAMS, imagination.noise_size, actions, generator)
    batch = rollout(imagination, lambda features: Deterministic(agent.actor(features)), begins, noise)
    due = (batch.survival[:-1] * batch.expected).cumsum(0).unflatten(1, (-1, _DREAMS)).mean(2).cpu().numpy() * scale
    for place, (i, _, window) in enumerate(starts):
        told[i].predicted.append(float(due[window.horizon - 1, place]))
        told[i].real.append(float(episodes[i].rewards[window.start : window.start + window.length].sum()))
        steps[i].append(window.length)
    if not open_loop:
        return told
    chosen = [place for place, (i, number, _) in enumerate(starts) if _is_open_loop(number, i)]
    answers: dict[int, float] = {}
    for k in range(0, len(chosen), _TOGETHER):
        tick()
        some = chosen[k : k + _TOGETHER]
        taken = nn.utils.rnn.pad_sequence([seen[place][1] for place in some])
        count = torch.tensor([starts[place][2].length for place in some], device=device)
        predicted: Tensor = open_loop_returns(imagination, agent.actor, begin.at(some), taken, count, generator) * scale
        answers |= dict(zip(some, predicted.tolist(), strict=True))
    for place, (i, _, _) in enumerate(starts):
        told[i].open_loop.append(answers.get(place))
    return told


def _ends(agent: WorldModelAgent, trace: Recorder, episodes: Sequence[Episode]) -> list[list[list[float]]]:
    """Return for each episode how often M expected it to end, and whether it did (see ends)."""
    imagination = agent.world.imagination(1.0)
    seen = [trace.of(i, slice(0, len(episode))) for i, episode in enumerate(episodes)]
    states, actions = State.cat([states for states, _ in seen]), torch.cat([actions for _, actions in seen])
    generator = torch.Generator(actions.device).manual_seed(derive_seed(episodes[0].seed, "ends"))
    parts = []
    for k in range(0, len(actions), _ROWS):
        some = slice(k, k + _ROWS)
        parts.append(foretell(imagination, states.at(some), actions[some], _DREAMS, generator)[1])
    expected = torch.cat(parts).cpu().double().numpy()
    found, first = [], 0
    for episode in episodes:
        p = expected[first : first + len(episode)]
        came = np.zeros(len(episode))
        came[-1] = episode.terminated
        found.append(by_bin(p, came))
        first += len(episode)
    return found


def _is_open_loop(number: int, episode: int) -> bool:
    return number % _OPEN_LOOP_EVERY == episode % 2 * _OPEN_LOOP_EVERY // 2
