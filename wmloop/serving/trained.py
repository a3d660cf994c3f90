"""A trained agent in other people's hands: it takes what their environment shows, and tells what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from wmloop.config import RunConfig
from wmloop.envs import RealEnv
from wmloop.errors import EnvironmentFailedError


class TrainedAgent:
    """Act in one environment, frame by frame, as Gymnasium shows them.

    It chooses an action every `env.action_repeat` frames, and repeats it in between. Call `reset` as an episode begins.
    `config` are the settings it was trained with, `iteration` is the one it is of.

        agent, env = wmloop.load("demo"), gymnasium.make("CarRacing-v3")
        print(agent.run_episode(env, seed=1))
    """

    def __init__(self, agent: Any, env: RealEnv, config: RunConfig, iteration: int) -> None:
        """Take an agent (see wmloop.agents) and an environment like those that it will act in."""
        self.config, self.iteration = config, iteration
        self._agent, self._look, self._in_range = agent, env.look, env.in_range
        self.reset()

    def __repr__(self) -> str:
        return f"TrainedAgent({self.config.env.id!r}, iteration {self.iteration})"

    def reset(self) -> None:
        """Begin an episode."""
        self._carry = self._agent.start(1)
        self._action, self._left = np.zeros(0), 0

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the action for the next frame, as the environment takes it, for the `observation` that it shows.

        Raises:
            EnvironmentFailedError: that is no observation of the environment that it was trained in.
        """
        if self._left == 0:
            try:
                seen = self._look(observation)
            except EnvironmentFailedError as error:
                trained = f"no observation of {self.config.env.id}, in which this agent was trained"
                raise EnvironmentFailedError(f"{trained}: the environment {error}") from None
            actions, self._carry = self._agent.act(self._carry, seen[None])
            self._action, self._left = self._in_range(actions[0]), self.config.env.action_repeat
        self._left -= 1
        return self._action.copy()

    def run_episode(self, env: Any, seed: int | None = None) -> float:
        """Play one episode of a Gymnasium environment to its end and return the sum of its rewards."""
        self.reset()
        observation, _ = env.reset(seed=seed)
        score, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(self.act(observation))
            score, over = score + float(reward), terminated or truncated
        return score
