"""Watch the agent: in the real environment beside what V and M make of it, or inside M alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmloop.config import RunConfig
from wmloop.dream import Dream, DreamState, Outcome
from wmloop.envs import PixelEnv
from wmloop.errors import UsageError
from wmloop.history import History
from wmloop.models import mixture
from wmloop.models.agent import Agent
from wmloop.models.vision import to_frames
from wmloop.seeding import derive_seed
from wmloop.stages.weights import Triple
from wmloop.store import Store
from wmloop.view.frames import fit

#: Real decisions before a dream branches off: M should know where it is, and CarRacing zooms in during the first 13.
RUN_UP = 20

_HEIGHT = 400


class Moment(NamedTuple):
    """What there is to see at one decision: pictures (H, W, 3) uint8 by name, and how the episode stands.

    `score` and `frames` count what came before it; `ended` is empty until the last moment, which says how it ended.
    """

    pictures: Mapping[str, np.ndarray]
    decision: int
    score: float
    frames: int
    ended: str = ""


def choose(store: Store, iteration: int | None) -> tuple[int, str]:
    """Return the iteration whose agent to serve, and why: `iteration` if given, else the best, else the newest.

    Raises:
        UsageError: that iteration has no controller (those that have one are listed), or none has.
    """
    history = History(store)
    trained = [version.iteration for version in history.all("controller") if not version.pruned]
    if not trained:
        raise UsageError(
            f"the run {store.name} has no controller yet: `wmloop resume {store.name}` goes on to train its first"
        )
    if iteration is not None:
        if iteration not in trained:
            there = ", ".join(map(str, trained))
            raise UsageError(f"the run {store.name} has no controller of iteration {iteration}: it has {there}")
        return iteration, "as asked"
    best = history.best_evaluation()
    if best is None:
        return trained[-1], "the newest; none is evaluated yet"
    return best.iteration, f"the best, {best.metrics['score']:.1f} on {store.name}'s own tracks"


def load_agent(store: Store, config: RunConfig, iteration: int, env: PixelEnv, device: torch.device) -> Agent:
    """Return the agent of an iteration: its controller with the very V and M it was trained with."""
    return Triple.of(store, iteration).agent(config, env.action_low, env.action_high, device)


def real_episode(env: PixelEnv, agent: Agent, seed: int) -> Iterator[Moment]:
    """Drive one real episode without exploration noise; `env` renders RGB arrays.

    The pictures are the `real` one, its `reconstruction` by V, and the `dream`: what M expected to see now, one step
    ago.
    """
    observation = env.reset(seed)
    agent.start(1)
    score, frames, ended = 0.0, 0, ""
    expected: np.ndarray | None = None
    for decision in itertools.count():
        action = agent.act(observation[None])[0]  # also at the end, where only what V sees is of use
        seen = _decode(agent, agent.z)
        pictures = {"real": env.render(), "reconstruction": seen, "dream": seen if expected is None else expected}
        yield Moment(pictures, decision, score, frames, ended)
        if ended:
            return
        expected = _decode(agent, _expected(agent))
        observation, reward, terminated, truncated, count = env.step(action)
        score, frames = score + reward, frames + count
        if terminated:
            ended = f"ended by the environment (last reward {reward:.1f})"
        elif truncated:
            ended = "time was up"


def dreamt_episode(env: PixelEnv, agent: Agent, config: RunConfig, seed: int) -> Iterator[Moment]:
    """Drive RUN_UP real decisions, then let M dream on from there with C acting: the `dream` is all there is to see.

    `score` is what M promises. It ends when M's done head says so, or after as many frames as a real episode has.
    """
    observation = env.reset(seed)
    agent.start(1)
    for _ in range(RUN_UP):
        observation, _, terminated, truncated, _ = env.step(agent.act(observation[None])[0])
        if terminated or truncated:
            raise UsageError(f"the real episode of seed {seed} ends before a dream can branch off: try another --seed")
    agent.act(observation[None])
    state = DreamState(agent.z, agent.h, agent.c)
    dream = Dream(agent.memory, 1.0, config.memory.done_weight)
    generator = torch.Generator(agent.device).manual_seed(derive_seed(seed, "play"))
    repeat = config.env.action_repeat
    length = max(1, config.env.episode_frames // repeat)
    score, ended = 0.0, ""
    for decision in range(length + 1):
        if decision == length and not ended:
            ended = "time was up"
        yield Moment({"dream": _decode(agent, state.z)}, decision, score, decision * repeat, ended)
        if ended:
            return
        state, outcome = _dream_on(agent, dream, state, generator)
        score += float(outcome.reward) * config.memory.reward_scale
        if float(outcome.done) >= 1:
            ended = "ended by the dream: M's done head fired"


def compose(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return one picture of several: the first at full height, the others one above another at its right."""
    first, *others = pictures.values()
    big = fit(first, _HEIGHT, round(_HEIGHT * first.shape[1] / first.shape[0] / 2) * 2)
    if not others:
        return big
    side = _HEIGHT // len(others)
    return np.concatenate([big, np.concatenate([fit(other, side, side) for other in others])], 1)


@torch.inference_mode()
def _decode(agent: Agent, z: Tensor) -> np.ndarray:
    frame: np.ndarray = to_frames(agent.vision.decode(z))[0].cpu().numpy()
    return frame


@torch.inference_mode()
def _expected(agent: Agent) -> Tensor:
    """Return the mean of M's mixture over the next z, (1, Z), after the decision the agent has just made."""
    return mixture.expected(agent.memory.predict(agent.state[0]).mixture)


@torch.inference_mode()
def _dream_on(agent: Agent, dream: Dream, state: DreamState, generator: torch.Generator) -> tuple[DreamState, Outcome]:
    action = agent.policy(state.features).mean
    uniform = torch.rand(state.z.shape, generator=generator, device=agent.device)
    normal = torch.randn(state.z.shape, generator=generator, device=agent.device)
    return dream.step(state, action, uniform, normal)
