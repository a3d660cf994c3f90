"""What the waves of a rollout came to, as figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmloop.calibration.ends import ends
from wmloop.calibration.gap import gap
from wmloop.calibration.open_loop import open_loop_metrics
from wmloop.calibration.windows import ReturnForecast
from wmloop.episodes import Cut, Episode


class Tally:
    """Count finished waves; `episodes`, `decisions` and `frames` are those of all so far."""

    def __init__(self) -> None:
        self.episodes = self.decisions = self.frames = 0
        self._paying = 0
        self._scores: list[float] = []
        self._forecasts: list[ReturnForecast] = []
        self._deterministic: list[bool] = []
        self._squares, self._cuts = np.zeros((2, 2)), np.zeros(len(Cut))

    @property
    def score(self) -> float:
        """Return the mean score."""
        return float(np.mean(self._scores))

    def add(self, said: Mapping[str, Any], deterministic: Sequence[bool] = ()) -> None:
        """Take in what `summarise` returned of a wave; `deterministic` tells of its episodes in which nothing was explored."""
        self._scores += said["scores"]
        self.frames += said["frames"]
        self.decisions += said["decisions"]
        self._paying += said["paying"]
        self.episodes += len(said["scores"])
        self._cuts += np.array(said.get("cuts", [0] * len(Cut)))
        self._squares += np.array(said.get("squares", np.zeros((2, 2))))
        told = said["forecasts"] if "forecasts" in said else said["promises"]  # as drafts of earlier days have it
        self._forecasts += [ReturnForecast(*lists) for lists in told]
        self._deterministic += deterministic

    def metrics(self) -> dict[str, float]:
        """Return the metrics of all waves.

        - `frames`, `decisions`, `episodes`: environment steps, agent steps and episodes collected.
        - `score`: mean return; `rewarded_fraction`: fraction of agent steps with a positive reward.
        - `truncations_environment`, `_frames`, `_decisions`, `_unrewarded`: episodes truncated by the environment itself, by
          env.episode_frames, by the random policy's limit, and by rollout.max_unrewarded; left out where there are none.
        - `reward_rms`: root mean square of the nonzero rewards, those of terminal steps only where there are no others.

        Those of the world model's predictions are described in `gap.gap` (over episodes without exploration),
        `open_loop.open_loop_metrics` and `ends.ends`.
        """
        undisturbed = [one for one, quiet in zip(self._forecasts, self._deterministic, strict=False) if quiet]
        counts = {
            "frames": float(self.frames),
            "episodes": float(self.episodes),
            "decisions": float(self.decisions),
            "score": self.score,
            "rewarded_fraction": self._paying / self.decisions,
        }
        counts |= {f"truncations_{cut.name.lower()}": float(self._cuts[cut]) for cut in Cut if cut and self._cuts[cut]}
        total, number = self._squares[0] if self._squares[0, 1] else self._squares[1]
        counts |= {"reward_rms": math.sqrt(total / number)} if number else {}
        return counts | gap(undisturbed) | open_loop_metrics(self._forecasts) | ends(self._forecasts)


def summary_file(wave: int) -> str:
    """Return the name of the file that holds what `summarise` returned of a wave."""
    return f"summary-{wave:04d}.json"


def summarise(episodes: list[Episode], forecasts: list[ReturnForecast]) -> dict[str, Any]:
    """Return what is kept of a wave beside its episodes, as JSON."""
    return {
        "scores": [episode.score for episode in episodes],
        "frames": sum(episode.frames for episode in episodes),
        "decisions": sum(len(episode) for episode in episodes),
        "paying": sum(int((episode.rewards > 0).sum()) for episode in episodes),
        "cuts": [sum(episode.cut == cut for episode in episodes) for cut in Cut],
        "squares": [_squares(episodes, False), _squares(episodes, True)],
        "forecasts": forecasts,
    }


def _squares(episodes: list[Episode], ended: bool) -> tuple[float, int]:
    """Return the sum of squares, and the number, of all rewards that are not zero: those of ends, or all others."""
    rewards = [e.rewards[-1:] if ended else e.rewards[:-1] for e in episodes if e.terminated]
    rewards += [] if ended else [e.rewards for e in episodes if not e.terminated]
    every = np.concatenate(rewards).astype(np.float64) if rewards else np.zeros(0)
    return float(np.square(every).sum()), int(np.count_nonzero(every))
