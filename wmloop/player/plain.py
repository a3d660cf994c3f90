"""Reality as an agent without a world model has it: there is the picture, and nothing that anybody makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from wmloop.agents.agent import Agent
from wmloop.envs import RealEnv, RemoteEnv
from wmloop.player.moment import Moment, decided, how_it_ended, observed


class Plain:
    """A real episode; `env` renders RGB arrays, the `real` picture and the `real` vector are all there is to see."""

    moment: Moment

    def __init__(self, env: RealEnv | RemoteEnv, agent: Agent[Any]) -> None:
        """Prepare to drive."""
        self.env, self._agent = env, agent

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed."""
        self._carry = self._agent.start(1)
        self._look(self.env.reset(seed), 0, 0.0, 0, "", 0.0)

    def step(self, driver: Agent[Any] | None = None) -> None:
        """Take one decision."""
        before = self.moment
        if before.ended:
            return
        taken = before.action if driver is None else decided(driver, self._observation)
        observation, reward, terminated, truncated, count = self.env.step(taken)
        ended = how_it_ended(reward, terminated, truncated)
        self._look(observation, before.decision + 1, before.score + reward, before.frames + count, ended, reward)

    def _look(
        self, observation: np.ndarray, decision: int, score: float, frames: int, ended: str, reward: float
    ) -> None:
        self._observation = observation
        (action,), self._carry = self._agent.act(self._carry, observation[None])
        pictures, vectors = observed(self.env, observation)
        self.moment = Moment(pictures, decision, score, frames, ended, reward, float("nan"), action, vectors=vectors)
