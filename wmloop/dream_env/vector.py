"""Many dreams as a vector environment: one batch of the world model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmloop.dream_env import chance
from wmloop.dream_env.copies import Copies
from wmloop.dream_env.options import read_state, require_copies, require_known
from wmloop.errors import UsageError


class DreamVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Act in many dreams at once: `gymnasium.make_vec("wmloop/Dream-v0", num_envs=1024, run="demo")`.

    Each copy is a DreamEnv, to the last bit, and the world model computes them as one batch. `reset(seed=s)` seeds copy i with
    s + i, and a list seeds each. `reset(options={"state": states})` begins at states (N, S), or all copies at one (S,).
    """

    def __init__(
        self, num_envs: int, run: str, iteration: int | None = None, temperature: float = 1.0, horizon: int | None = None,
        observation: str = "features", render_mode: str | None = None, device: str = "cpu",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:  # fmt: skip
        """Make `num_envs` copies; the other arguments are those of DreamEnv.

        `autoreset_mode` is Gymnasium's: an ended copy begins anew in the next step (NextStep), in the step that ends it
        (SameStep: what it showed last is in `infos["final_obs"]`), or by `reset(options={"reset_mask": mask})` (Disabled).

        Raises:
            UsageError: an argument does not fit; the message says what would.
            StoreCorruptError: the run is damaged.
        """
        require_copies(num_envs)
        try:
            self._mode = AutoresetMode(autoreset_mode)
        except ValueError:
            there = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise UsageError(f"autoreset_mode={autoreset_mode!r} is not valid: it is {there}") from None
        self._copies = Copies(num_envs, run, iteration, temperature, horizon, observation, device, render_mode)
        self.metadata = self._copies.metadata | {"autoreset_mode": self._mode}
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_action_space, self.single_observation_space = self._copies.action_space, self._copies.view.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._begun, self._ended = np.zeros(num_envs, np.bool_), np.zeros(num_envs, np.bool_)
        self._seeded = False

    @property
    def state(self) -> np.ndarray:
        """Return where the dreams are, (N, S) float32."""
        return self._copies.packed()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in all copies, or in those of `options["reset_mask"]` (N,) bool.

        Raises:
            UsageError: a seed, a mask or a state does not fit.
        """
        given = require_known(options, ("state", "reset_mask"))
        rows = self._masked(given.get("reset_mask"))
        state = given.get("state")
        begun = None if state is None else self._copies.unpacked(self._each(read_state(state))[rows])
        self._seed(rows, seed)
        self._copies.begin(rows, begun)
        self._begun[rows], self._ended[rows] = True, False
        return self._copies.observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one agent step in every copy.

        Raises:
            ResetNeeded: a copy was never reset, or, where nothing resets it by itself, has ended.
            UsageError: these are no actions of the environment.
        """
        if not self._begun.all():
            raise ResetNeeded(f"cannot step before reset: {_copies(~self._begun)} never reset")
        if self._mode is AutoresetMode.DISABLED and self._ended.any():
            raise ResetNeeded(
                f"autoreset_mode is Disabled, and {_copies(self._ended)} not reset since the episode ended: call"
                " reset(options={'reset_mask': mask})"
            )
        rewards, terminated, truncated = self._copies.step(np.asarray(actions))
        infos: dict[str, Any] = {}
        if self._mode is AutoresetMode.NEXT_STEP and self._ended.any():
            self._copies.begin(np.flatnonzero(self._ended))
            for told in (rewards, terminated, truncated):
                told[self._ended] = 0
        self._ended = terminated | truncated
        if self._mode is AutoresetMode.SAME_STEP and self._ended.any():
            rows = np.flatnonzero(self._ended)
            infos = self._final(rows)
            self._copies.begin(rows)
        return self._copies.observe(), rewards, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """Return a picture (H, W, 3) uint8 of each copy, with render_mode="rgb_array"."""
        return None if self.render_mode is None else tuple(self._copies.draw())

    def _final(self, rows: np.ndarray) -> dict[str, Any]:
        """Return what ended copies showed last, as Gymnasium's own vector environments do."""
        shown = np.full(self.num_envs, None, object)
        for row, observation in zip(rows, self._copies.observe(rows), strict=True):
            shown[row] = observation
        return {
            "final_obs": shown,
            "_final_obs": self._ended.copy(),
            "final_info": {},
            "_final_info": self._ended.copy(),
        }

    def _each(self, states: np.ndarray) -> np.ndarray:
        """Return a state for each copy, (N, S), of one for all (S,) or of as many."""
        if states.ndim == 1:
            return np.broadcast_to(states, (self.num_envs, len(states)))
        if states.ndim != 2 or len(states) != self.num_envs:
            raise UsageError(
                f"options={{'state': ...}} is of shape {states.shape}: give one state (S,), or one for each of the"
                f" {self.num_envs} copies"
            )
        return states

    def _masked(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.arange(self.num_envs)
        if (
            not isinstance(mask, np.ndarray)
            or mask.dtype != np.bool_
            or mask.shape != (self.num_envs,)
            or not mask.any()
        ):
            raise UsageError(
                f"options['reset_mask'] has to be an array of {self.num_envs} bools, one of them true at least"
            )
        return np.flatnonzero(mask)

    def _seed(self, rows: np.ndarray, seed: int | Sequence[int | None] | None) -> None:
        """Seed those of the copies `rows` for which there is a seed, and all in any way that never were."""
        one_for_all = int(seed) if isinstance(seed, int | np.integer) else None
        each: Any = [None] * self.num_envs if seed is None else seed
        if one_for_all is not None:
            each = [one_for_all + i for i in range(self.num_envs)]
        if (
            not isinstance(each, Sequence | np.ndarray)
            or len(each) != self.num_envs
            or not all(one is None or (isinstance(one, int | np.integer) and one >= 0) for one in each)
        ):
            raise UsageError(f"seed has to be a number from 0 on, or a list of {self.num_envs} such numbers or None")
        if one_for_all is not None:
            super().reset(seed=one_for_all)
        if not self._seeded:
            everyone = np.arange(self.num_envs)
            self._copies.seed(everyone, self.np_random.integers(2**63, size=self.num_envs).astype(np.uint64))
            self._seeded = True
        told = {int(row): own for row in rows if (own := each[row]) is not None}
        self._copies.seed(np.array(list(told), np.int64), chance.keys(told.values()))


def _copies(chosen: np.ndarray) -> str:
    """Return in words which copies are meant."""
    first = int(np.flatnonzero(chosen)[0])
    return f"copy {first} was" if chosen.sum() == 1 else f"copy {first} and {int(chosen.sum()) - 1} more were"
