"""A person at the keys, as an agent."""

from __future__ import annotations

import numpy as np

from wmloop.agents.agent import Exploration
from wmloop.display.showing import Showing
from wmloop.spaces import ActionSpec


class Hand:
    """Decide by the keys that are held, for one episode; what a person remembers is nobody's affair."""

    def __init__(self, showing: Showing, actions: ActionSpec) -> None:
        """Take the place where keys are pressed, and the environment's actions."""
        self._showing, self._actions = showing, actions

    def start(self, num_envs: int) -> None:
        """Return nothing: there is nothing to carry."""

    def act(
        self, carry: None, observations: np.ndarray, exploration: Exploration | None = None
    ) -> tuple[np.ndarray, None]:
        """Return the action (1, ...) of the keys that are held now."""
        return self._actions.from_keys(*self._showing.hand())[None], None
