"""The worlds to play in: reality with what V and M make of it, M's dream, and two agents on one track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents.world_model import Agent, Carry
from wmloop.dreams import Noise, unroll
from wmloop.envs import PixelEnv, RemoteEnv
from wmloop.models.world_model import Imagination, Outcome, State
from wmloop.seeding import derive_seed

#: Real decisions before a dream branches off: M should know where it is, and some games zoom in as they begin.
BURN_IN = 20
#: With both worlds side by side, M dreams with closed eyes for so many decisions before it looks again.
OPEN_LOOP = 25
#: Temperatures that a person can turn to.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 3.0


class Moment(NamedTuple):
    """What there is to see at one decision: pictures (H, W, 3) uint8 by name, and how the episode stands.

    `score` and `frames` count what came before it; `ended` is empty until the last moment, which says how it ended.
    `reward` is what the decision before was paid, `done` M's probability, given what came, that it ended the episode; NaN
    without an M.
    `action` (A,), in the environment's units, and `value`, in rewards still to come, are C's of this moment; NaN without a
    critic.
    """

    pictures: Mapping[str, np.ndarray]
    decision: int
    score: float
    frames: int
    ended: str = ""
    reward: float = 0.0
    done: float = 0.0
    action: np.ndarray = np.zeros(0, np.float32)
    value: float = float("nan")


class World(Protocol):
    """A place to play in. `step` takes an action (A,) in the environment's units, or None for C's own."""

    moment: Moment

    def reset(self, track: int) -> None:
        """Begin on a track."""

    def step(self, action: np.ndarray | None = None) -> None:
        """Go on by a decision; nothing happens after the end."""


class Real:
    """A real episode; `env` renders RGB arrays.

    The pictures are the `real` one, its `reconstruction` by V, and the `expected` one: what M expected to see now, one
    step ago. While `dreaming`, there is the `dream` too: M with its eyes closed for up to EYES_CLOSED decisions.
    """

    def __init__(self, env: PixelEnv | RemoteEnv, agent: Agent, done_weight: float) -> None:
        """Prepare to drive; `done_weight` is M's, as it was trained with."""
        self.env, self.agent, self.dreaming = env, agent, False
        self.critic, self.scale, self.done_weight = agent.critic, agent.world.reward_scale, done_weight
        self.temperature = 1.0

    @property
    def temperature(self) -> float:
        """Return the temperature at which M dreams, along with reality or instead of it."""
        return self._temperature

    @temperature.setter
    def temperature(self, tau: float) -> None:
        self._temperature = min(max(tau, MIN_TEMPERATURE), MAX_TEMPERATURE)
        self.imagination = self.agent.world.imagination(self._temperature, self.done_weight)

    def reset(self, track: int) -> None:
        """Begin the episode of a track."""
        self._observation = self.env.reset(track)
        self._carry = self.agent.start(1)
        self._closed: State | None = None
        self._generator = torch.Generator(self.agent.device).manual_seed(derive_seed(track, "play"))
        self._look(0, 0.0, 0, "", 0.0)

    def step(self, action: np.ndarray | None = None) -> None:
        """Take one decision."""
        before = self.moment
        if before.ended:
            return
        taken = self._action if action is None else self.agent.from_units(action[None])
        in_units = self.agent.in_units(taken)[0]
        if not self.dreaming:
            self._closed = None
        else:
            start = self.state if self._closed is None or before.decision % OPEN_LOOP == 0 else self._closed
            self._closed, _ = dream_on(self.imagination, start, taken, self._generator)
        self._carry = Carry(self.state, taken)
        self._observation, reward, terminated, truncated, count = self.env.step(in_units)
        ended = how_it_ended(reward, terminated, truncated)
        self._look(before.decision + 1, before.score + reward, before.frames + count, ended, reward)

    def _look(self, decision: int, score: float, frames: int, ended: str, reward: float) -> None:
        world = self.agent.world
        self.state = self.agent.observe(self._carry, self._observation[None])  # also at the end: V sees what it was
        self._action = self.agent.decide(self.state)
        seen = _decode(self.agent, self.state)
        pictures = {
            "real": self.env.render(), "reconstruction": seen,
            "expected": _decode(self.agent, world.expected(self.state)) if decision else seen,
        }  # fmt: skip
        if self.dreaming:
            pictures["dream"] = seen if self._closed is None else _decode(self.agent, self._closed)
        done = float(world.terminated(self.state, self.done_weight)) if decision else 0.0
        action, value = self.agent.in_units(self._action)[0], worth(self.critic, self.state, self.scale)
        self.moment = Moment(pictures, decision, score, frames, ended, reward, done, action, value)


class Dreamt:
    """M's dream, which branches off a real episode; the `dream` is all there is to see, `score` what M promises.

    What a decision promises counts with the probability that the dream has come to it. The dream is over where it has
    more probably ended than not, or after as many frames as a real episode has.
    """

    def __init__(self, real: Real, frames: int, repeat: int) -> None:
        """Prepare to dream off `real`, whose episodes have `frames` frames, `repeat` a decision."""
        self.real, self.agent = real, real.agent
        self._length, self._repeat = max(1, frames // repeat), repeat

    def reset(self, track: int) -> None:
        """Let C drive RUN_UP real decisions on a track, or half of a shorter episode, and dream on from there."""
        self.real.reset(track)
        for _ in range(BURN_IN):
            self.real.step()
        if self.real.moment.ended:
            half = self.real.moment.decision // 2
            self.real.reset(track)
            for _ in range(half):
                self.real.step()
        self.begin(track)

    def begin(self, seed: int) -> None:
        """Dream on from where the real episode is now."""
        self._generator = torch.Generator(self.agent.device).manual_seed(derive_seed(seed, "play"))
        self._state, self._survival = self.real.state, 1.0
        over = self.real.moment.ended
        self._look(0, 0.0, f"the real episode was over before the dream began: {over}" if over else "", 0.0, 0.0)

    def step(self, action: np.ndarray | None = None) -> None:
        """Dream one decision."""
        before = self.moment
        if before.ended:
            return
        taken = self._action if action is None else self.agent.from_units(action[None])
        self._state, outcome = dream_on(self.real.imagination, self._state, taken, self._generator)
        reward, done = self._survival * float(outcome.expected) * self.real.scale, float(outcome.done)
        self._survival *= 1 - done
        decision = before.decision + 1
        ended = "time was up" if decision >= self._length else ""
        if self._survival < 0.5:
            ended = "ended by the dream: M's done head says so"
        self._look(decision, before.score + reward, ended, reward, done)

    def _look(self, decision: int, score: float, ended: str, reward: float, done: float) -> None:
        self._action = self.agent.decide(self._state)
        self.moment = Moment(
            {"dream": _decode(self.agent, self._state)}, decision, score, decision * self._repeat, ended, reward, done,
            self.agent.in_units(self._action)[0], worth(self.real.critic, self._state, self.real.scale),
        )  # fmt: skip


class Comparison:
    """Several agents on the same track, each in its own real episode; it ends when all have ended."""

    def __init__(self, worlds: Mapping[str, World]) -> None:
        """Take a world for each agent, by the names to show them under."""
        self._worlds = worlds

    def reset(self, track: int) -> None:
        """Begin the episode of a track for each."""
        for world in self._worlds.values():
            world.reset(track)
        self._look()

    def step(self, action: np.ndarray | None = None) -> None:
        """Let each C take one decision; nobody else drives here."""
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
            ended = "; ".join(f"{name}: score {moment.score:.1f}, {moment.ended}" for name, moment in self.standing())
        leader = max(moments, key=lambda moment: moment.score)
        pictures = {name: world.moment.pictures["real"] for name, world in self._worlds.items()}
        decision = max(moment.decision for moment in moments)
        self.moment = leader._replace(pictures=pictures, ended=ended, decision=decision)


def how_it_ended(reward: float, terminated: bool, truncated: bool) -> str:
    """Return how a real episode ended with a decision that was paid `reward`; nothing where it goes on."""
    return f"ended by the environment (last reward {reward:.1f})" if terminated else "time was up" if truncated else ""


@torch.inference_mode()
def worth(critic: nn.Module | None, state: State, scale: float) -> float:
    """Return the rewards that a critic expects from here on, discounted; NaN without one."""
    return float("nan") if critic is None else float(critic(state.features)) * scale


@torch.inference_mode()
def dream_on(
    imagination: Imagination, state: State, action: Tensor, generator: torch.Generator
) -> tuple[State, Outcome]:
    """Imagine one decision, action (1, A); noise comes from `generator`."""
    noise = Noise.draw(1, 1, imagination.noise_size, 0, generator)  # what C does is not left to chance
    return next(unroll(imagination, state, lambda t, begun: (begun, action), noise))


def _decode(agent: Agent, state: State) -> np.ndarray:
    frame: np.ndarray = agent.world.decode(state.features)[0]
    return frame
