"""Dreams that branch off real episodes: the real actions go on, and nothing real is seen any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.world_model import WorldModelAgent
from wmloop.dreams import Noise, unroll
from wmloop.episodes import Episode
from wmloop.models.world_model import State
from wmloop.seeding import derive_seed

#: Dreams, each for so many decisions, and those that are shown.
_DREAMS, AHEAD, _SHOWN = 8, 50, 3
#: M has seen so many decisions before it is asked; some games zoom in as they begin.
WARM = 20


class Seen(NamedTuple):
    """Where the agent was at each of T decisions of one episode, and what it did there, (T, A)."""

    state: State
    action: Tensor


class Branches(NamedTuple):
    """N open-loop dreams: where each branched off, (episode, decision), and the features (N, F) after each of its decisions."""

    places: Sequence[tuple[int, int]]
    features: Sequence[Tensor]

    def some(self) -> Sequence[int]:
        """Return the numbers of a few, from all over."""
        return [int(n) for n in np.linspace(0, len(self.places) - 1, min(_SHOWN, len(self.places)))]

    def real(self, episodes: Sequence[Episode], ahead: int, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return what was really observed so many decisions after each place, as `read` makes it of an observation."""
        return np.stack([read(episodes[i].observations[t + ahead]) for i, t in self.places])


def branch(agent: WorldModelAgent, episodes: Sequence[Episode], seen: Sequence[Seen]) -> Branches:
    """Branch dreams off all over the episodes."""
    longest = max(map(len, episodes))
    ahead, warm = min(AHEAD, (longest + 1) // 2), min(WARM, longest // 4)
    places = [(i, t) for i, e in enumerate(episodes) for t in range(warm, len(e) - ahead + 1)]
    chosen = [places[k] for k in np.linspace(0, len(places) - 1, min(_DREAMS, len(places))).astype(int)]
    return open_loop(agent, seen, chosen, ahead, episodes[0].seed)


def open_loop(
    agent: WorldModelAgent, seen: Sequence[Seen], places: Sequence[tuple[int, int]], ahead: int, seed: int
) -> Branches:
    """Branch a dream of `ahead` decisions off each place, (episode, decision); `seed` is that of its noise."""
    start = State.cat([seen[i].state.at([t]) for i, t in places])
    taken = torch.stack([seen[i].action[t : t + ahead] for i, t in places], 1)
    generator = torch.Generator(taken.device).manual_seed(derive_seed(seed, "report"))
    imagination = agent.world.imagination(1.0)
    noise = Noise.draw(ahead, len(places), imagination.noise_size, taken.shape[2], generator)
    steps = unroll(imagination, start, lambda k, state: (state, taken[k]), noise)
    return Branches(places, [state.features for state, _ in steps])
