"""The random policy of iteration 0, as a row of a study: python -m benchmarks.random_policy ... (see benchmarks.row)

It learns nothing: it is what every other row is above. Actions are those of wmloop's own random policy in that environment.
"""

from __future__ import annotations

import contextlib
import json

import numpy as np

from benchmarks.row import options, settings_of
from wmloop.config.env import RandomDriving
from wmloop.device import machine_facts
from wmloop.envs import RealEnv


def main() -> None:
    """Play the study's episodes, and write their scores for each of its limits."""
    given = options(__doc__ or "").parse_args()
    config = settings_of(given.env)
    draw = np.random.default_rng(given.seed)
    with contextlib.closing(RealEnv(config.env)) as env:
        scores = [
            score(env, given.first_episode + place, config.env.most_decisions, config.env.random_policy, draw)
            for place in range(given.episodes)
        ]
    with given.to.open("w") as file:
        file.write(json.dumps({"made": machine_facts()}) + "\n")
        for limit in ("frames", "minutes"):
            file.write(json.dumps({"frames": 0, "seconds": 0, "limit": limit, "scores": scores}) + "\n")


def score(env: RealEnv, seed: int, most: int, policy: RandomDriving, draw: np.random.Generator) -> float:
    """Return the score of an episode of at most `most` decisions, acted at random."""
    env.reset(seed)
    total = 0.0
    for action in env.actions.random_walk(policy, most, draw):
        _, reward, terminated, truncated, _ = env.step(action)
        total += reward
        if terminated or truncated:
            break
    return total


if __name__ == "__main__":
    main()
