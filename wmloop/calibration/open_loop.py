"""What M foresees given the actions that were really taken, with no picture seen on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from wmloop.calibration.windows import ReturnForecast
from wmloop.dreams import Noise, unroll
from wmloop.models.policies import Policy
from wmloop.models.world_model import Imagination, State

#: Dreams of a moment, given what was really done.
_PARTICLES = 1024
#: With so few dreams none has just the real action: C's deviations count so many times, and no dream is impossible.
_STD_FACTOR, _UNIFORM_MIX = 2.0, 0.02


def open_loop_returns(
    imagination: Imagination, policy: Callable[[Tensor], Policy], begin: State, taken: Tensor, lived: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Return the reward sum M expects from `begin` (N) given the actions really taken (T, N, A), (N,), open loop.

    A driver's actions are evidence of the road that called for them: a dream whose road bends elsewhere would be driven
    off it by them. So each moment's dreams are drawn again at every decision, in proportion to how probable `policy`
    makes the real action where each dream is, and to how probably the dream has not ended before: somebody acted (a
    particle filter, Gordon et al. 1993). Each of the first `lived` (N,) decisions counts what is then expected of it,
    whether it ends the episode or not. No real picture is seen.
    """
    (count, dreams), device = (len(lived), _PARTICLES), lived.device
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
        total += outcome.expected.view(count, dreams).mean(1) * (t < lived)
        continues = 1 - outcome.done
    return total


def open_loop_metrics(promises: Sequence[ReturnForecast]) -> dict[str, float]:
    """Return the metrics of open-loop predictions: rewards predicted from a real state and the real actions after it.

    No later observation is given to the world model. None where nothing was predicted.

    - `open_loop_correlation`: of predicted and real reward sums, over windows of agent steps.
    - `open_loop_bias`: sum of the predicted rewards less the real ones, as a fraction of the real ones; left out where that
      is not more than twice its standard error.
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
