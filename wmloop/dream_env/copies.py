"""Copies of a dream side by side, each of which is a function of its seed, its episodes and its actions alone."""

from __future__ import annotations

import numpy as np
import torch

from wmloop.dream_env import chance
from wmloop.dream_env.options import read_state, require_horizon, require_positive, require_render_mode
from wmloop.dream_env.source import dreamt
from wmloop.dream_env.views import action_space, encode, metadata, view, views
from wmloop.dreams import Noise, unroll
from wmloop.errors import UsageError
from wmloop.models.blocks import Blocks
from wmloop.models.world_model import State

#: What is drawn of a step before the world model's noise: where an episode begins, and whether the step ends it.
_START, _END, _LANES = 0, 1, 2
_ALL = slice(None)


class Copies:
    """N dreams of one world model, driven together.

    All chance is a function of a copy's seed, the number of its episode since it was seeded, and the agent step in that. No
    copy's numbers depend on how many others there are, to the last bit (see models.blocks).
    """

    def __init__(
        self, count: int, run: str, iteration: int | None, temperature: float, horizon: int | None, observation: str,
        device: str, render_mode: str | None,
    ) -> None:  # fmt: skip
        """Make `count` copies; with a `render_mode` they can be drawn.

        Raises:
            UsageError: the run does not fit (see source.dreamt), the temperature or the horizon is not positive, or there is no
                such observation or mode.
        """
        require_positive(temperature)
        require_horizon(horizon)
        require_render_mode(render_mode)
        draws = render_mode is not None
        self.source = source = dreamt(run, iteration, device)
        self.horizon = horizon or source.env.most_decisions
        there = views(source.world, source.starts.features)
        self.metadata = metadata("pixels" in there, source.env.action_repeat)
        if draws and "pixels" not in there:
            raise UsageError(
                f"this world model draws no pictures, so it has no render_mode; it shows {', '.join(there)}"
            )
        self.view, self._picture = view(observation, there), there["pixels"]() if draws else None
        self.action_space = action_space(source.actions)
        rng, starts = np.random.default_rng(0), source.starts
        taken = source.actions.encode(np.stack([source.actions.sample(rng) for _ in starts.features]))
        examples = torch.from_numpy(taken).to(starts.features.device)
        self._imagination = Blocks(source.world.imagination(float(temperature)), starts, examples)
        self._noises = (self._imagination.noise_size + 1) // 2
        self.state = source.starts.at([0] * count)
        self.steps = np.zeros(count, np.int64)
        self._seeds, self._streams = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        self._episodes = np.zeros(count, np.int64)

    def seed(self, rows: np.ndarray, seeds: np.ndarray) -> None:
        """Begin the chance of the copies `rows` (K,) anew, at `seeds` (K,) uint64."""
        self._seeds[rows], self._episodes[rows] = seeds, 0

    def unpacked(self, states: np.ndarray) -> State:
        """Return packed states (K, S) as the world model has them.

        Raises:
            UsageError: they are none of its states.
        """
        features = self.source.starts.features
        try:
            return self.source.starts.unpack(torch.from_numpy(read_state(states)).to(features.device))
        except ValueError as error:
            raise UsageError(f"options={{'state': ...}} is no state of this world model: {error}") from None

    def begin(self, rows: np.ndarray, states: State | None = None) -> None:
        """Begin an episode in the copies `rows` (K,): at remembered states that chance chooses, or at `states` (K, ...)."""
        starts, streams = self.source.starts, chance.streams(self._seeds[rows], self._episodes[rows])
        if states is None:
            drawn = chance.draw(streams, np.zeros(len(rows), np.int64), 1)[:, _START]
            states = starts.at(torch.from_numpy((chance.uniform(drawn) * len(starts.features)).astype(np.int64)))
        self._streams[rows] = streams
        self._episodes[rows] += 1
        self.steps[rows] = 0
        self.state.put(torch.from_numpy(rows), states)

    @torch.no_grad()
    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take actions (N, ...) in the environment's units; return rewards (N,) float64, terminated and truncated (N,).

        Raises:
            UsageError: these are no actions of the environment, or not as many as there are copies.
        """
        if actions.shape[:1] != self.steps.shape:
            raise UsageError(f"actions of shape {actions.shape} were given to {len(self.steps)} copies")
        source = self.source
        bits = chance.draw(self._streams, self.steps, _LANES + 2 * self._noises)
        first, second = np.split(bits[:, _LANES:], 2, 1)
        size, device = self._imagination.noise_size, self.state.features.device
        drawn = (chance.uniforms(first)[:, :size], chance.normals(second)[:, :size], encode(source.actions, actions))
        noise = Noise(*(torch.from_numpy(part).to(device).unsqueeze(0) for part in drawn))
        dream = unroll(self._imagination, self.state, lambda t, begun: (begun, noise.action[t]), noise)
        self.state, outcome = next(dream)
        self.steps += 1
        reward, terminal_reward, done = (part.cpu().numpy().astype(np.float64) for part in outcome)
        terminated = chance.uniform(bits[:, _END]) < done
        reward = np.where(terminated, terminal_reward, reward) * source.world.reward_scale
        return reward, terminated, (self.steps >= self.horizon) & ~terminated

    def observe(self, rows: np.ndarray | slice = _ALL) -> np.ndarray:
        """Return what the copies `rows` show, (K, ...)."""
        return self.view.show(self.state.features[rows])

    def draw(self) -> np.ndarray:
        """Return pictures (N, H, W, 3) uint8 of all copies, which were made to be drawn."""
        assert self._picture is not None, "it was asked for when they were made"
        return self._picture.show(self.state.features)

    def packed(self) -> np.ndarray:
        """Return where the copies are, (N, S) float32: `begin` takes it."""
        return np.array(self.state.pack().cpu().numpy(), np.float32)
