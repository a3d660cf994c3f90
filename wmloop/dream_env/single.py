"""One dream as an environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from wmloop.dream_env import chance
from wmloop.dream_env.copies import Copies
from wmloop.dream_env.options import read_state, require_known
from wmloop.dream_env.views import METADATA

_ALL = np.zeros(1, np.int64)


class DreamEnv(gymnasium.Env[np.ndarray, Any]):
    """Act inside the world model of a run: `gymnasium.make("wmloop/Dream-v0", run="demo")`.

    A step is one agent step: as many frames of the real environment as its action is repeated for. An episode begins at a state
    that the world model remembers of a real one. Actions and rewards are in the environment's units. Each step ends the episode
    (`terminated`) with the probability that the world model predicts; what is paid then is what it predicts of an end.

    `reset(seed=s)` decides all that follows, given the actions: the same bits as copy i of the vector environment after
    `reset(seed=s - i)`. `reset(options={"state": state})` begins at a `state` of this environment or of `wmloop/Real-v0`.
    """

    metadata = METADATA

    def __init__(
        self, run: str, iteration: int | None = None, temperature: float = 1.0, horizon: int | None = None,
        observation: str = "features", render_mode: str | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        """Dream in the world model of `run`, which is what `wmloop.load` takes.

        `horizon` is after how many agent steps an episode is truncated, by default a real one's limit. `observation` is
        `features` (what the policy sees), `latent` (of what is observed), `pixels` or `vector` (as the environment shows it).

        Raises:
            UsageError: an argument does not fit; the message says what would.
            StoreCorruptError: the run is damaged.
        """
        self._copies = Copies(1, run, iteration, temperature, horizon, observation, device, render_mode)
        self.metadata = self._copies.metadata
        self.render_mode = render_mode
        self.action_space, self.observation_space = self._copies.action_space, self._copies.view.space
        self._seeded = self._begun = False

    @property
    def state(self) -> np.ndarray:
        """Return where the dream is, (S,) float32."""
        return self._copies.packed()[0]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode, at a remembered state or at `options["state"]` (S,)."""
        state = require_known(options, ("state",)).get("state")
        begun = None if state is None else self._copies.unpacked(read_state(state)[None])
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            own = self.np_random.integers(2**63) if seed is None else seed
            self._copies.seed(_ALL, chance.keys([int(own)]))
            self._seeded = True
        self._copies.begin(_ALL, begun)
        self._begun = True
        return self._copies.observe()[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one agent step; raises ResetNeeded where it was never reset."""
        if not self._begun:
            raise ResetNeeded("cannot step before reset")
        reward, terminated, truncated = self._copies.step(np.asarray(action)[None])
        return self._copies.observe()[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the picture (H, W, 3) uint8 of where the dream is, with render_mode="rgb_array"."""
        return None if self.render_mode is None else self._copies.draw()[0]
