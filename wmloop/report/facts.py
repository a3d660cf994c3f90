"""What a report says of a run without asking its networks: its scores, its time, its settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wmloop.config import BASIS, RunConfig, beside_preset
from wmloop.history import History
from wmloop.pipelines import Pipeline, get
from wmloop.ranking import merit
from wmloop.report.curves import Curve, curves
from wmloop.store import Evaluation, Store, Version
from wmloop.training.tracks import saved_results


class Point(NamedTuple):
    """One iteration with an evaluation. `frames` (collected, without evaluations) and `hours` are those of all so far.

    The rest are figures of the evaluation (see calibration.scores.summarise) and of M's predictions on this iteration's
    rollouts (see calibration.open_loop.open_loop_metrics); what was not measured is NaN. `gap_points` is the gap in units of
    reward; `gap`, in parts of the real return, is NaN where that says nothing, being as large as what it is a part of.
    `ends`: see calibration.ends.
    """

    iteration: int
    frames: float
    hours: float
    score: float
    std: float
    worst: float
    merit: float
    confirmed: float
    predicted_return: float
    real_return: float
    gap: float
    gap_points: float
    gap_points_error: float
    correlation: float
    bias: float
    ends: Mapping[str, float]


class ScoredEpisode(NamedTuple):
    """An episode's seed, the score in it, and whether it is one of the confirming episodes that confirm a goal."""

    seed: int
    score: float
    further: bool


@dataclass(frozen=True)
class Facts:
    """One run: its evaluations, the scored episodes of the served agent, seconds by iteration and stage, and what made it.

    `rates` are units a second (frames, images, sequence steps, dream steps) by stage, over all iterations. `collected` and
    `evaluated` count real frames, `bytes` what is stored, `parent` is the run it was forked from. `created` and `ended` are
    UTC times: when it began, and when its last version was committed. `evaluations` are those of `wmloop eval`, by time,
    and `served` those among them that scored the served agent as it is now.
    """

    name: str
    config: RunConfig
    pipeline: Pipeline
    points: Sequence[Point]
    tracks: Sequence[ScoredEpisode]
    seconds: Mapping[int, Mapping[str, float]]
    rates: dict[str, float]
    collected: float
    evaluated: float
    made: dict[str, Any]
    bytes: int
    parent: dict[str, Any]
    created: str
    ended: str
    evaluations: Sequence[Evaluation]
    served: Sequence[Evaluation]
    curves: Sequence[Curve]

    @classmethod
    def of(cls, store: Store, config: RunConfig) -> Facts:
        """Read the run."""
        pipeline = get(config.pipeline)
        history = History(store, pipeline)
        scored = {version.iteration: version for version in history.scored()}
        whole = list(itertools.takewhile(scored.__contains__, itertools.count()))
        imported = [iteration for iteration in scored if iteration not in whole]
        points, frames, hours, evaluated = [], 0.0, 0.0, 0.0
        seconds: dict[int, dict[str, float]] = {}
        begun = {version.iteration for version in history.everything()}
        for iteration in [*whole, *sorted(begun.difference(whole, imported)), *imported]:
            versions, evaluation = history.made(iteration), scored.get(iteration)
            spent = {name: version.seconds for name, version in versions.items()}
            rollouts = [versions[name].metrics for name in pipeline.collectors if name in versions]
            driven = rollouts[-1] if rollouts else {}
            frames += sum(rollout.get("frames", math.nan) for rollout in rollouts) if rollouts else math.nan
            hours += sum(spent.values()) / 3600
            seconds[iteration] = spent
            if evaluation is None:  # it was stopped in it
                continue
            evaluated += evaluation.metrics.get("frames", 0.0) + evaluation.metrics.get("confirmed_frames", 0.0)
            points.append(point_of(iteration, frames, hours, evaluation.metrics, driven))
        best = history.best_evaluation()
        agent = history.version(best.iteration, pipeline.agent) if best else None
        evaluations = store.evaluations.all()
        versions_, forked = store.versions(), store.facts.get("forked_from")
        return cls(
            store.name, config, pipeline, points, _tracks(best) if best else [], seconds,
            _rates(versions_, pipeline.names), frames, evaluated, dict(store.facts),
            sum(version.num_bytes for version in versions_),
            forked if isinstance(forked, dict) else {},
            store.created, max((version.created for version in versions_), default=""),
            evaluations, [kept for kept in evaluations if agent and kept.hash == agent.hash],
            curves(history, store.journal.events()[0]),
        )  # fmt: skip

    @property
    def best(self) -> Point | None:
        """Return the evaluation whose agent is served."""
        return max(self.points, key=lambda point: point.merit, default=None)

    @property
    def fresh(self) -> list[float]:
        """Return the scores of the served agent on the episodes of `wmloop eval`; one that was played twice counts once."""
        scores: dict[Any, float] = {}
        for kept in self.served:
            for episode, score in zip(kept.record["tracks"], kept.scores, strict=True):
                scores[episode.get("seed", len(scores))] = score
        return list(scores.values())

    @property
    def scores(self) -> dict[str, list[float]]:
        """Return the served agent's scores on episodes of each kind, by what these are called."""
        return {
            "held-out": [track.score for track in self.tracks if not track.further],
            "confirming": [track.score for track in self.tracks if track.further],
            "fresh": self.fresh,
        }

    @property
    def worked(self) -> float:
        """Return the seconds of work in all committed versions; 0 where they are not recorded."""
        return sum(sum(spent.values()) for spent in self.seconds.values())

    @property
    def dreams(self) -> bool:
        """Return whether there is a world model, whose word is held against reality."""
        return self.pipeline.dreams

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Return by name the settings that differ from the preset's, with both values; the run's basis is always among them.

        The run's own value is first. What says where it ran, and its seed, is left out.
        """
        told = beside_preset(self.config)
        return {
            name: pair for name, pair in told.items() if name in BASIS or (pair[0] != pair[1] and name not in PLACE)
        }


#: What a run has of its own wherever it is begun.
PLACE = ("seed", "device", "threads", "precision")


def _rates(versions: Sequence[Version], stages: Sequence[str]) -> dict[str, float]:
    """Return units a second by stage, of the versions that say how many units they were."""
    work, took = dict.fromkeys(stages, 0.0), dict.fromkeys(stages, 0.0)
    for version in versions:
        told = version.metrics
        units = told.get("units", told.get("frames", 0.0) + told.get("confirmed_frames", 0.0))
        if units > 0 and version.stage in work:
            work[version.stage] += units
            took[version.stage] += version.seconds
    return {stage: work[stage] / took[stage] for stage in stages if took[stage] > 0}


def point_of(
    iteration: int, frames: float, hours: float, scored: Mapping[str, float], driven: Mapping[str, float]
) -> Point:
    """Return one iteration's place in the curves, by the figures of its evaluation and of what was driven; NaN: not told."""

    def told(name: str, figures: Mapping[str, float] = scored) -> float:
        return figures.get(name, math.nan)

    def part(name: str, figures: Mapping[str, float]) -> float:
        return told(name, figures) if abs(told(name, figures)) < 1 else math.nan

    gap_points = told("return_gap_points")
    if not math.isfinite(gap_points):  # from before it was a figure
        gap_points = told("predicted_return") - told("real_return")
    return Point(
        iteration, frames, hours, scored["score"], told("score_std"), told("score_min"), merit(scored),
        told("confirmed_score"), told("predicted_return"), told("real_return"), part("return_gap", scored), gap_points,
        told("return_gap_points_se"), told("open_loop_correlation", driven), part("open_loop_bias", driven),
        {name: value for name, value in scored.items() if name.startswith(("terminat", "predicted_terminations"))},
    )  # fmt: skip


def _tracks(evaluation: Version) -> list[ScoredEpisode]:
    return [ScoredEpisode(result.seed, result.score, further) for further, result in saved_results(evaluation)]
