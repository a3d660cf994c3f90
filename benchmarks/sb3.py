"""DQN and A2C of stable-baselines3 in wmloop's environment, as rows of a study: python -m benchmarks.sb3 WAY ...

    pip install -e '.[sb3]'
    python -m benchmarks.sb3 dqn --seed 0 --frames 300000 --minutes 30 --first-episode 1075741824 --to scores.jsonl

Settings are those of RL Baselines3 Zoo 2.9.2 for games from pictures (its group `atari`; for CarRacing it has none of these
two): four grey pictures, NatureCNN. What differs, beside what the functions below name:

* pictures have the profile's size, not 84x84; there is no maximum over two frames, and there are no idle first steps;
* rewards are divided by the profile's `memory.reward_scale` instead of cut to their signs; other settings stay;
* an episode is cut after `rollout.max_unrewarded` agent steps without a reward.

`dqn` and `a2c-discrete` take Gymnasium's five discrete actions of CarRacing, `a2c` its Box; those settings are of games with
discrete actions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.row import FIVE, Act, Face, Row, options, settings_of
from wmloop import machine

#: More than any study asks for: the callback ends it.
_ENDLESS = 1_000_000_000


def dqn(env: DummyVecEnv, given: Any, repeat: int) -> DQN:
    """Return DQN with the zoo's settings, for fewer steps than its 10 million.

    `learning_starts`, 100,000 there, is the same part of the study's frames, and no less than 1,000. The replay, 100,000
    there, holds no more than all steps. Epsilon falls over a tenth of the steps, as there.
    """
    steps = (given.frames or 300_000) / repeat
    return DQN(
        "CnnPolicy", env, learning_rate=1e-4, buffer_size=int(min(1e5, max(1e4, steps))), batch_size=32, train_freq=4,
        gradient_steps=1, learning_starts=int(max(1_000, steps / 100)),
        target_update_interval=1_000, exploration_fraction=0.1 * steps / _ENDLESS, exploration_final_eps=0.01, seed=given.seed,
    )  # fmt: skip


def a2c(env: DummyVecEnv, given: Any, repeat: int) -> A2C:
    """Return A2C with the zoo's settings."""
    policy = {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
    return A2C("CnnPolicy", env, ent_coef=0.01, vf_coef=0.25, policy_kwargs=policy, seed=given.seed)


def choices(environment: str) -> np.ndarray | None:
    """Return the actions that are chosen among where the environment's own are numbers; None: its own."""
    return FIVE if environment.startswith("CarRacing-") else None


class Way(NamedTuple):
    """An algorithm, how many environments it drives, and the actions that it chooses among.

    `sampled` says that its actions are drawn in evaluations, too, as the zoo does for such games. The likeliest of five actions
    that are nearly equally likely would always be the same one.
    """

    make: Callable[[DummyVecEnv, Any, int], BaseAlgorithm]
    environments: int
    actions: Callable[[str], np.ndarray | None]
    sampled: bool = False


WAYS = {
    "dqn": Way(dqn, 1, choices),
    "a2c": Way(a2c, 16, lambda environment: None),
    "a2c-discrete": Way(a2c, 16, choices, sampled=True),
}


class Evaluations(BaseCallback):
    """Let a row evaluate the policy when it is due, and end the training when nothing more counts."""

    def __init__(self, row: Row, step: float, sampled: bool) -> None:
        super().__init__()
        self._row, self._step, self._sampled, self._frames = row, step, sampled, 0.0

    def _on_step(self) -> bool:
        self._frames += sum(info["frames"] for info in self.locals["infos"])
        if self._row.due(self._frames, self._step):
            weights = copy.deepcopy(self.model.policy.state_dict())
            self._row.evaluate(self._frames, acting(self.model, self._sampled), weights)
        return self._row.goes_on


def acting(model: BaseAlgorithm, sampled: bool) -> Act:
    """Return what a model does: what it draws, or the action that it holds to be best."""
    return lambda observation: model.predict(observation, deterministic=not sampled)[0]


def main() -> None:
    """Train, and write what came of it."""
    parser = options(__doc__ or "")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads or machine.cores())
    config = settings_of(given.env)
    way = WAYS[given.way]
    actions, count = way.actions(given.env), way.environments
    memory = config.model_dump()["memory"]
    scale = memory["reward_scale"] if memory["reward_scale"] != "auto" else 1.0

    def face(place: int) -> Face:
        return Face(config, 1_000 * given.seed + place, actions=actions, unrewarded=config.max_unrewarded, scale=scale)

    env = DummyVecEnv([lambda place=place: face(place) for place in range(count)])
    repeat = config.env.action_repeat
    row = Row(given, Face(config, actions=actions), config.evaluate.episodes)
    model = way.make(env, given, repeat)
    model.learn(_ENDLESS, callback=Evaluations(row, count * repeat, way.sampled))

    def again(weights: dict[str, np.ndarray]) -> Act:
        model.policy.load_state_dict(weights)
        return acting(model, way.sampled)

    row.finish(again)


if __name__ == "__main__":
    main()
