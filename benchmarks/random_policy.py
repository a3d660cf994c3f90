"""The random policy of iteration 0, as a row of a study: python -m benchmarks.random_policy ... (see benchmarks.row)

It learns nothing: it is what every other row is above. Actions are those of wmloop's own random policy in that environment.
"""

from __future__ import annotations

import json

import numpy as np

from benchmarks.row import Face, options, play, settings_of
from wmloop.device import machine_facts
from wmloop.envs import RealEnv


def main() -> None:
    """Play the study's episodes, and write their scores for each of its limits."""
    given = options(__doc__ or "").parse_args()
    config = settings_of(given.env)
    actions = RealEnv(config.env).actions
    draw = np.random.default_rng(given.seed)
    most = -(-config.env.most_frames // config.env.action_repeat)
    face, scores = Face(config), []
    for place in range(given.episodes):
        walk = iter(actions.random_walk(config.env.random_policy, most, draw))
        scores += play(face, lambda _: next(walk), [given.first_episode + place])[0]  # noqa: B023 - it is used up here
    with given.to.open("w") as file:
        file.write(json.dumps({"made": machine_facts()}) + "\n")
        for limit in ("frames", "minutes"):
            file.write(json.dumps({"frames": 0, "seconds": 0, "limit": limit, "scores": scores}) + "\n")


if __name__ == "__main__":
    main()
