"""The worlds to play in: reality with what V and M make of it, M's dream, and two agents in the same episode.

Where vectors are observed there are the vectors of each moment besides its pictures, or in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmloop.agents.agent import Agent
from wmloop.agents.world_model import WorldModelAgent
from wmloop.dreams import Noise, unroll
from wmloop.envs import RealEnv, RemoteEnv
from wmloop.models.world_model import Imagination, Outcome, State, decode_vector
from wmloop.player.moment import Moment, World, decided, how_it_ended, observed, points
from wmloop.seeding import derive_seed
from wmloop.spaces import PictureAndVector, Vector

#: Real decisions before a dream branches off: M should know where it is, and some games zoom in as they begin.
BURN_IN = 20
#: With both worlds side by side, M dreams with closed eyes for so many decisions before it looks again.
OPEN_LOOP = 25
Draw = Callable[[np.ndarray], np.ndarray | None]
"""(vector) -> the picture (H, W, 3) uint8 of it, or None."""


class Real:
    """A real episode; `env` renders RGB arrays.

    The pictures are the `real` one, its `reconstruction` by the world model, and the `expected` one: what it expected to see
    now, one step ago. While `dreaming`, there is the `dream` too: the world model with its eyes closed for up to OPEN_LOOP
    decisions. Of vectors there are the `real` one, the `expected` one and the `dream`, and pictures of the latter two where
    `draw` makes one of a vector (see RemoteEnv.draw). Of a world model that tells neither there is the `real` picture alone.
    """

    def __init__(self, env: RealEnv | RemoteEnv, agent: WorldModelAgent, draw: Draw | None = None) -> None:
        """Prepare to drive."""
        self.env, self.agent, self.dreaming, self._draw = env, agent, False, draw
        self.temperature = 1.0

    @property
    def temperature(self) -> float:
        """Return the temperature at which M dreams, along with reality or instead of it."""
        return self._temperature

    @temperature.setter
    def temperature(self, tau: float) -> None:
        self._temperature = tau
        self.imagination = self.agent.world.imagination(self._temperature)

    @property
    def state(self) -> State:
        """Return where the episode is."""
        assert self._carry.state is not None, "it has been looked at"
        return self._carry.state

    @property
    def draws(self) -> bool:
        """Return whether the world model tells what it expects to be observed, so that there is a dream to look at."""
        return "expected" in {**self.moment.pictures, **self.moment.vectors}

    def legend(self, both: bool) -> str:
        """Return what is shown where, in `both` worlds or in reality alone."""
        dream = ", and M's open-loop dream" if both else ""
        match self.env.observations:
            case Vector():
                return f"left: the environment; right: its observation, number by number: real, M's prediction{dream}"
            case PictureAndVector():
                beside = "; at the right the numbers that are observed"
            case _:
                beside = ""
        told = f"the VAE's reconstruction, below it the world model's prediction{dream}{beside}"
        return f"left: the environment; right, if the world model predicts images: {told}"

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed."""
        self._observation = self.env.reset(seed)
        self._carry = self.agent.start(1)
        self._closed: State | None = None
        self._look(0, 0.0, 0, "", 0.0)
        self._generator = _generator(seed, self.state)

    def step(self, driver: Agent[Any] | None = None) -> None:
        """Take one decision."""
        before = self.moment
        if before.ended:
            return
        action = before.action
        if driver is not None:
            action = decided(driver, self._observation)
            self._carry = self._carry._replace(action=as_read(self.agent, action, self.state))
        assert self._carry.action is not None, "its agent has decided"
        if not self.dreaming:
            self._closed = None
        else:
            start = self.state if self._closed is None or before.decision % OPEN_LOOP == 0 else self._closed
            self._closed, _ = dream_on(self.imagination, start, self._carry.action, self._generator)
        self._observation, reward, terminated, truncated, count = self.env.step(action)
        ended = how_it_ended(reward, terminated, truncated)
        self._look(before.decision + 1, before.score + reward, before.frames + count, ended, reward)

    def _look(self, decision: int, score: float, frames: int, ended: str, reward: float) -> None:
        world = self.agent.world
        # also at the end: V sees what it was
        (action,), self._carry = self.agent.act(self._carry, self._observation[None])
        pictures, vectors = observed(self.env, self._observation)
        if (seen := picture_of(self.agent, self.state)) is not None:
            pictures["reconstruction"] = seen
        self.show("expected", world.expected(self.state) if decision else self.state, pictures, vectors)
        if self.dreaming:
            self.show("dream", self.state if self._closed is None else self._closed, pictures, vectors)
        done = float(world.terminated(self.state)) if decision else 0.0
        self.moment = Moment(
            pictures, decision, score, frames, ended, reward, done, action, worth(self.agent, self.state), vectors
        )

    def show(self, name: str, state: State, pictures: dict[str, np.ndarray], vectors: dict[str, np.ndarray]) -> None:
        """Add the picture and the vector of a state under a name, as far as there are any."""
        picture, vector = picture_of(self.agent, state), vector_of(self.agent, state)
        if vector is not None:
            vectors[name] = vector
            if picture is None and self._draw is not None:
                picture = self._draw(vector)
        if picture is not None:
            pictures[name] = picture


class Dreamt:
    """M's dream, which branches off a real episode; the `dream` is all there is to see, `score` what M predicts.

    What is predicted for a decision counts with the probability that the dream has come to it. The dream is over where it has
    more probably ended than not, or after as many decisions as a real episode has at most. Of a world model that tells neither
    pictures nor vectors there is nothing to see.
    """

    moment: Moment

    def __init__(self, real: Real, decisions: int, repeat: int) -> None:
        """Prepare to dream off `real`, whose episodes have at most so many `decisions`, of `repeat` frames each."""
        self.real, self.agent = real, real.agent
        self._length, self._repeat = decisions, repeat

    def reset(self, seed: int) -> None:
        """Let the agent drive BURN_IN real decisions of a seed's episode, or half of a shorter one, and dream on from there."""
        self.real.reset(seed)
        for _ in range(BURN_IN):
            self.real.step()
        if self.real.moment.ended:
            half = self.real.moment.decision // 2
            self.real.reset(seed)
            for _ in range(half):
                self.real.step()
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Dream on from where the real episode is now."""
        self._state, self._survival = self.real.state, 1.0
        self._generator = _generator(seed, self._state)
        over = self.real.moment.ended
        self._look(0, 0.0, f"the real episode ended before the dream began: {over}" if over else "", 0.0, 0.0)

    def step(self, driver: Agent[Any] | None = None) -> None:
        """Dream one decision."""
        before = self.moment
        if before.ended:
            return
        if driver is not None:
            shown = picture_of(self.agent, self._state)
            seen = self._state.features.cpu().numpy()[0] if shown is None else shown
            self._action = as_read(self.agent, decided(driver, seen), self._state)
        self._state, outcome = dream_on(self.real.imagination, self._state, self._action, self._generator)
        scale = self.agent.world.reward_scale
        reward, done = self._survival * float(outcome.expected) * scale, float(outcome.done)
        self._survival *= 1 - done
        decision = before.decision + 1
        ended = "truncated at the time limit" if decision >= self._length else ""
        if self._survival < 0.5:
            ended = "terminated, as M predicts"
        self._look(decision, before.score + reward, ended, reward, done)

    @torch.inference_mode()
    def _look(self, decision: int, score: float, ended: str, reward: float, done: float) -> None:
        self._action = self.agent.actor(self._state.features).mode()
        pictures: dict[str, np.ndarray] = {}
        vectors: dict[str, np.ndarray] = {}
        self.real.show("dream", self._state, pictures, vectors)
        self.moment = Moment(
            pictures, decision, score, decision * self._repeat, ended, reward, done,
            self.agent.actions.decode(self._action.cpu().numpy())[0], worth(self.agent, self._state), vectors,
        )  # fmt: skip


class Comparison:
    """Several agents on the same seed, each in its own real episode; it ends when all have ended."""

    def __init__(self, worlds: Mapping[str, World]) -> None:
        """Take a world for each agent, by the names to show them under."""
        self._worlds = worlds

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed for each."""
        for world in self._worlds.values():
            world.reset(seed)
        self._look()

    def step(self, driver: Agent[Any] | None = None) -> None:
        """Let each agent take one decision; nobody else drives here."""
        for world in self._worlds.values():
            world.step()
        self._look()

    def standing(self) -> Sequence[tuple[str, Moment]]:
        """Return each agent's name and moment."""
        return [(name, world.moment) for name, world in self._worlds.items()]

    def _look(self) -> None:
        moments = [world.moment for world in self._worlds.values()]
        ended = ""
        if all(moment.ended for moment in moments):
            ended = "; ".join(
                f"{name}: score {points(moment.score)}, {moment.ended}" for name, moment in self.standing()
            )
        leader = max(moments, key=lambda moment: moment.score)
        pictures = {name: m.pictures["real"] for name, m in self.standing() if "real" in m.pictures}
        vectors = {name: m.vectors["real"] for name, m in self.standing() if "real" in m.vectors}
        decision = max(moment.decision for moment in moments)
        self.moment = leader._replace(pictures=pictures, ended=ended, decision=decision, vectors=vectors)


def as_read(agent: WorldModelAgent, action: np.ndarray, state: State) -> Tensor:
    """Return an action (...) in the environment's units as the world model reads it, (1, A)."""
    return torch.as_tensor(agent.actions.encode(action[None]), device=state.features.device)


@torch.inference_mode()
def worth(agent: WorldModelAgent, state: State) -> float:
    """Return the rewards that an agent's critic expects from here on, discounted; NaN without one."""
    return float("nan") if agent.critic is None else float(agent.critic(state.features)) * agent.world.reward_scale


@torch.inference_mode()
def dream_on(
    imagination: Imagination, state: State, action: Tensor, generator: torch.Generator
) -> tuple[State, Outcome]:
    """Imagine one decision, action (1, A); noise comes from `generator`."""
    noise = Noise.draw(1, 1, imagination.noise_size, 0, generator)  # what C does is not left to chance
    return next(unroll(imagination, state, lambda t, begun: (begun, action), noise))


def picture_of(agent: WorldModelAgent, state: State) -> np.ndarray | None:
    """Return the picture of where an episode is, (H, W, 3) uint8; None where the world model draws none."""
    pictures = agent.world.decode(state.features)
    return None if pictures is None else pictures[0]


def vector_of(agent: WorldModelAgent, state: State) -> np.ndarray | None:
    """Return the vector (n,) that is observed where an episode is; None where the world model tells none."""
    vectors = decode_vector(agent.world, state.features)
    return None if vectors is None else vectors[0]


def _generator(seed: int, state: State) -> torch.Generator:
    return torch.Generator(state.features.device).manual_seed(derive_seed(seed, "play"))
