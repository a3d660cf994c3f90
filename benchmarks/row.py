"""What programs that are rows of a study have in common: their options, the environment as wmloop drives it, what they write.

The environment is wmloop's own: the same action repeat, pictures, rewards and time limit, with the settings of its profile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from wmloop.config import RunConfig, build_config, with_settings
from wmloop.device import machine_facts
from wmloop.envs import RealEnv
from wmloop.envs.bounded import BoundedEnv
from wmloop.envs.steps import UNLIMITED
from wmloop.models.pixel_policy import grey
from wmloop.ranking import best
from wmloop.seeding import evaluation_seeds, training_seed
from wmloop.spaces import DiscreteActions, Pixels

Act = Callable[[np.ndarray], Any]
#: What Gymnasium's CarRacing takes for the five actions of its discrete form: nothing, left, right, gas, brake.
FIVE = np.array([[0, 0, 0], [-0.6, 0, 0], [0.6, 0, 0], [0, 0.2, 0], [0, 0, 0.8]], np.float32)


def options(description: str) -> argparse.ArgumentParser:
    """Return the options that a study gives to a row's program."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--env", default="CarRacing-v3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=_limit, default=300_000, help="a number, or none")
    parser.add_argument("--minutes", type=_limit, default=None, help="a number, or none")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--first-episode", type=int, required=True, help="environment seed of the first final episode")
    parser.add_argument("--to", type=Path, required=True)
    return parser


def _limit(text: str) -> float | None:
    return None if text == "none" else float(text)


def settings_of(environment: str) -> RunConfig:
    """Return the settings of wmloop's own runs in an environment, its own time limit among them where no profile has one."""
    config = build_config("laptop", {"env": {"id": environment}})
    if config.env.episode_frames is not None:
        return config
    with contextlib.closing(RealEnv(config.env)) as env:
        limit = env.frame_limit
    return with_settings(config, {"env": {"episode_frames": limit or config.env.most_frames}})


class Face(gymnasium.Env[np.ndarray, Any]):
    """Be wmloop's environment for other libraries: the newest `stack` grey pictures (stack, H, W) uint8, a decision a step.

    With `actions` (n, ...) it takes the number of one of these instead. Episodes get seeds that wmloop trains on, unless
    reset is told one. One without a positive reward for `unrewarded` decisions is truncated; rewards are divided by `scale`.
    `info["frames"]` are those of the step.
    """

    def __init__(
        self, config: RunConfig, seed: int = 0, stack: int = 4, actions: np.ndarray | None = None,
        unrewarded: int | None = None, scale: float = 1.0,
    ) -> None:  # fmt: skip
        self._env = BoundedEnv(config.env, unrewarded or UNLIMITED)
        if not isinstance(self._env.env.observations, Pixels):
            raise SystemExit(f"{config.env.id} shows no pictures, which this program learns from")
        self._seed, self._count, self._choices, self._scale = seed, 0, actions, scale
        shape = self._env.env.observations.shape
        self._pictures = np.zeros((stack, *shape[:2]), np.uint8)
        self.observation_space = gymnasium.spaces.Box(0, 255, self._pictures.shape, np.uint8)
        spec = self._env.env.actions
        if actions is not None:
            self.action_space = gymnasium.spaces.Discrete(len(actions))
        elif isinstance(spec, DiscreteActions):
            self.action_space = gymnasium.spaces.Discrete(spec.size)
        else:
            self.action_space = gymnasium.spaces.Box(spec.low, spec.high)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        own = training_seed(self._seed, "episode", self._count) if seed is None else seed
        self._count += 1
        self._env.reset(own, UNLIMITED)
        self._pictures[:] = _grey(self._env.observation)
        return self._pictures.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        taken = action if self._choices is None else self._choices[int(action)]
        decided = self._env.step(taken)
        self._pictures[:-1] = self._pictures[1:].copy()
        self._pictures[-1] = _grey(self._env.observation)
        ended = decided.terminated, decided.truncated
        return self._pictures.copy(), decided.reward / self._scale, *ended, {"frames": decided.frames}

    def close(self) -> None:
        self._env.env.close()


def _grey(picture: np.ndarray) -> np.ndarray:
    return grey(picture) if picture.shape[-1] == 3 else picture[..., 0]


def play(face: Face, act: Act, seeds: Sequence[int]) -> tuple[list[float], float]:
    """Return the scores of the episodes of `seeds`, played by `act`, and the frames that they took."""
    scores, frames = [], 0.0
    for seed in seeds:
        observation, _ = face.reset(seed=seed)
        score, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, info = face.step(act(observation))
            score, frames, over = score + reward, frames + info["frames"], terminated or truncated
        scores.append(score)
    return scores, frames


class Row:
    """The learning curve of a program and its best agent within each limit, written as a study reads them.

    `evaluate` after every tenth of the limit of frames, while `goes_on`; then `finish`.
    """

    def __init__(self, given: argparse.Namespace, face: Face, episodes: int) -> None:
        """Take the options, an environment to score in, and how many episodes an evaluation has."""
        self._given, self._face, self._episodes = given, face, episodes
        self._limits = {name: value for name in ("frames", "minutes") if (value := getattr(given, name)) is not None}
        self._begun, self._evaluated = time.monotonic(), 0.0
        self._every = (given.frames or 300_000) / 10
        self._next = self._every
        self._scored: list[tuple[dict[str, float], dict[str, float], Any]] = []
        given.to.write_text("")
        self._write({"made": machine_facts()})

    def due(self, frames: float, step: float) -> bool:
        """Tell whether an evaluation is due now, for the next step of so many frames would pass its time."""
        return frames + step > self._next

    @property
    def goes_on(self) -> bool:
        """Tell whether an evaluation that is still to come can be within one of the limits."""
        worked = (time.monotonic() - self._begun) / 60
        return self._next <= self._limits.get("frames", 0.0) * 1.0001 or worked < self._limits.get("minutes", 0.0)

    def evaluate(self, frames: float, act: Act, keep: Any) -> None:
        """Score an agent on the held-out episodes; `keep` is what `finish` makes it of again."""
        scores, driven = play(self._face, act, evaluation_seeds(self._episodes))
        self._evaluated += driven
        self._next += self._every * (1 + max(0.0, (frames - self._next) // self._every))
        deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
        metrics = {"score": statistics.fmean(scores), "score_se": deviation / math.sqrt(len(scores))}
        where = {"frames": frames, "seconds": time.monotonic() - self._begun, "evaluated": self._evaluated}
        self._scored.append((where, metrics, keep))
        self._write({**where, "score": metrics["score"]})
        print(f"{frames:,.0f} frames, {where['seconds'] / 60:.1f} min: {metrics['score']:.1f}", flush=True)

    def finish(self, make: Callable[[Any], Act]) -> None:
        """Score the best agent within each limit on the study's episodes; `make` makes an agent of what was kept of it."""
        seeds = [self._given.first_episode + place for place in range(self._given.episodes)]
        scored: dict[int, list[float]] = {}
        for name, limit in self._limits.items():
            unit = ("seconds", 60 * limit) if name == "minutes" else ("frames", limit)
            within = [one for one in self._scored if one[0][unit[0]] <= unit[1]]
            place = best([metrics for _, metrics, _ in within])
            if place is None:
                self._write({"frames": 0, "seconds": 0, "limit": name, "scores": None})
                continue
            if place not in scored:
                scored[place] = play(self._face, make(within[place][2]), seeds)[0]
            self._write({**within[-1][0], "limit": name, "scores": scored[place]})

    def _write(self, line: dict[str, Any]) -> None:
        with self._given.to.open("a") as file:
            file.write(json.dumps(line) + "\n")
