"""The real environment, in the eyes of a world model: what acts in its dreams acts here."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from wmloop.dream_env import source
from wmloop.dream_env.options import require_known, require_render_mode
from wmloop.dream_env.views import METADATA, action_space, encode, metadata, view, views
from wmloop.models.world_model import State
from wmloop.seeding import HELD_OUT


class RealityEnv(gymnasium.Env[np.ndarray, Any]):
    """Act in the real environment of a run and see what its world model makes of it: `wmloop/Real-v0`.

    Spaces, steps and rewards are those of `wmloop/Dream-v0`: whatever acts there can be scored here. Features and latents are
    what the world model says after it has seen each observation; pixels and vectors are those observed, as it reads them.
    `state` is where the dream would begin.
    """

    metadata = METADATA

    def __init__(
        self, run: str, iteration: int | None = None, observation: str = "features", render_mode: str | None = None,
        device: str = "cpu", trust_env: bool = False,
    ) -> None:  # fmt: skip
        """Make the real environment of `run`, which is what `wmloop.load` takes.

        Raises:
            UsageError: an argument does not fit, or the run was imported and names a module that `trust_env` does not allow.
            StoreCorruptError: the run is damaged.
        """
        require_render_mode(render_mode)
        self._env, self._world = source.real(run, iteration, device, trust_env, render_mode)
        try:
            self._state = self._see(self._env.reset(0), None)
            there = views(self._world, self._state.features)
            self._shown, self._name = view(observation, there), observation
        except BaseException:
            self._env.close()
            raise
        self.metadata = metadata(True, self._env.repeat, self._env.frames_per_second)
        self.render_mode = render_mode
        self.action_space, self.observation_space = action_space(self._env.actions), self._shown.space

    @property
    def state(self) -> np.ndarray:
        """Return where the world model is, (S,) float32."""
        return np.array(self._state.pack()[0].cpu().numpy(), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the episode of a seed, else of one that chance draws of those for training."""
        super().reset(seed=seed)
        require_known(options, ())
        own = int(self.np_random.integers(HELD_OUT)) if seed is None else seed
        self._state = self._see(self._env.reset(own), None)
        return self._observed(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one agent step."""
        encoded = torch.from_numpy(encode(self._env.actions, np.asarray(action)[None]))
        seen, reward, terminated, truncated, _ = self._env.step(np.asarray(action))
        self._state = self._see(seen, encoded.to(self._state.features.device))
        return self._observed(), float(reward), terminated, truncated, {}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the environment's own picture, (H, W, 3) uint8, with render_mode="rgb_array"."""
        return None if self.render_mode is None else self._env.render()

    def close(self) -> None:
        """Free the environment's window and memory."""
        self._env.close()

    def _see(self, observation: np.ndarray, action: torch.Tensor | None) -> State:
        self._seen = observation
        return self._world.observe(None if action is None else self._state, action, observation[None])

    def _observed(self) -> np.ndarray:
        spec, seen = self._env.observations, self._seen
        real = {"pixels": spec.picture, "vector": spec.numbers}.get(self._name)
        return self._shown.show(self._state.features)[0] if real is None else np.array(real(seen))
