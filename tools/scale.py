"""Print the tables of docs/scale.md: how one run and a study scale with nodes, from what was measured on one.

    python -m tools.scale [--gbit 1]

A node is the machine of the measured run, two cores. Whole episodes are given to its cores one after the other, as each is
free (list scheduling); weights go out to each node once an iteration, and episodes come back, through the one link of the
machine that trains. All else stays as measured, on that machine.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

#: A run of preset laptop on two cores with nothing beside it, with today's amounts of work (docs/experiments, 2026-11-26).
RUN = Path(__file__).parent.parent / "docs" / "results" / "2026-11-26-seed20-50-updates-run.csv"
CORES = 2  # of a node
#: Frames a second that a stage drives on a node (docs/experiments/2026-11-26-driving-time.md).
FRAMES_PER_SECOND = 1900.0
#: The frames of the episodes of an ordinary iteration: seed 40, commit db8d326, iteration 2.
EPISODES = (
    1000, 396, 628, 1000, 644, 364, 432, 648, 1000, 1000, 988, 1000, 816, 680, 552, 944, 1000, 944, 368, 1000, 1000, 448, 556,
    856, 744, 548, 696, 848, 520, 972, 304, 988, 1000, 700, 368, 755, 448, 1000, 188, 388, 944, 712, 860, 825, 896,
)  # fmt: skip
#: Those of random driving, as the profile of CarRacing-v3 plans it, and those of evaluations.
RANDOM, SCORED, CONFIRMING = (200,) * 64 + (320,) * 48 + (600,) * 16, (1000,) * 20, (1000,) * 100
#: Bytes that the same iteration has stored: episodes; V, M and C; the latents of one iteration's episodes, of which V stores
#: those of the newest `REPLAY` iterations anew each time; scores, summaries, manifests and a share of the events.
EPISODE_BYTES, AGENT_BYTES, LATENT_BYTES, JSON_BYTES = 14_080_000, 3_874_000, 2_122_000, 136_000
REPLAY = 30
#: The part of an agent that acts, and so goes out to the nodes: V, M and C's actor; and an exported agent, which has 256 states
#: at which dreams begin besides.
ACTING_BYTES, EXPORTED_BYTES = 3_434_000, 3_991_000
#: Seconds of V a picture that it encodes, and of M's predictions an iteration; GiB of memory without any frames, and a million
#: frames more (docs/performance.md: 0.87 GiB with 70,000 frames stored, 1.84 with a million).
ENCODING, PREDICTIONS, GIB, GIB_A_MILLION = 77 / 250_000, 13.4, 0.80, 1.04
_NODES = (1, 2, 5, 10, 20, 100, 1000)
_YEAR = 365 * 24 * 60  # minutes


class Iteration(NamedTuple):
    """What an iteration took, in seconds, and how many frames were driven in it, to learn from and to score."""

    rollout: float
    vision: float
    memory: float
    controller: float
    evaluate: float
    frames: float
    scored: float
    confirmed: bool

    @property
    def whole(self) -> float:
        """Return its seconds."""
        return self.rollout + self.vision + self.memory + self.controller + self.evaluate

    @property
    def driving(self) -> tuple[float, float]:
        """Return the seconds in which environments were driven, to learn from and to score: all of a stage at most."""
        return (
            min(self.rollout, self.frames / FRAMES_PER_SECOND),
            min(self.evaluate, self.scored / FRAMES_PER_SECOND),
        )


def measured(file: Path = RUN) -> list[Iteration]:
    """Return the iterations of a run from its table."""
    rows = list(csv.DictReader(line for line in file.read_text().splitlines() if not line.startswith("#")))
    made, before = [], (0.0, 0.0)
    for row in rows:
        so_far = float(row["frames_collected"]), float(row["frames_evaluated"])
        stages = [float(row[f"{stage}_s"]) for stage in ("rollout", "vision", "memory", "controller", "evaluate")]
        made.append(Iteration(*stages, so_far[0] - before[0], so_far[1] - before[1], bool(row["confirmed_score"])))
        before = so_far
    return made


def makespan(episodes: Sequence[float], cores: float) -> float:
    """Return how long `episodes` take when each of so many cores takes the next as soon as it is free."""
    free = [0.0] * int(min(cores, len(episodes)))
    for length in episodes:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def driving(seconds: float, episodes: Sequence[float], nodes: float, speed: float = 1.0) -> float:
    """Return what driving takes on so many nodes that took `seconds` on one, where environments are `speed` times as fast."""
    return seconds * makespan(episodes, nodes * CORES) / makespan(episodes, CORES) / speed


def sending(nodes: float, gbit: float) -> float:
    """Return the seconds in which the weights that act go out to all nodes but the one that trains."""
    return (nodes - 1) * ACTING_BYTES * 8 / (gbit * 1e9)


def seconds(one: Iteration, first: bool, nodes: float, gbit: float, speed: float = 1.0, learning: float = 1.0) -> float:
    """Return what an iteration takes on so many nodes, where V, M and C learn `learning` times as fast."""
    collected, scored = one.driving
    at_once = [(scored, SCORED)]
    if one.confirmed:  # the confirming episodes follow the others
        share = len(SCORED) / (len(SCORED) + len(CONFIRMING))
        at_once = [(share * scored, SCORED), ((1 - share) * scored, CONFIRMING)]
    away = 0.0 if first else EPISODE_BYTES * 8 / (gbit * 1e9) * (nodes - 1) / nodes
    drive = max(driving(collected, RANDOM if first else EPISODES, nodes, speed), away)
    drive += sum(driving(part, episodes, nodes, speed) for part, episodes in at_once)
    sent = sending(nodes, gbit) * (1 if first else 2)  # the new agent is scored, and then drives: once a stage
    rest = (one.rollout - collected) + (one.evaluate - scored)
    return sent + drive + rest + (one.vision + one.memory + one.controller) / learning


def minutes(run: Sequence[Iteration], nodes: float, gbit: float, speed: float = 1.0, learning: float = 1.0) -> float:
    """Return what a run takes on so many nodes."""
    return sum(seconds(one, i == 0, nodes, gbit, speed, learning) for i, one in enumerate(run)) / 60


def study_minutes(tasks: int, nodes: int, run_minutes: float) -> float:
    """Return what a study of so many independent runs takes, one to a node."""
    return math.ceil(tasks / nodes) * run_minutes


def run_bytes(iterations: int, kept_all: bool = True) -> int:
    """Return what a run of so many iterations has on the disk; else with keep_last=1, so that it can still go on."""
    latents = [min(i + 1, REPLAY) * LATENT_BYTES for i in range(iterations)]
    if kept_all:
        return iterations * (EPISODE_BYTES + AGENT_BYTES + JSON_BYTES) + sum(latents)
    agents = 2 if iterations > 1 else 1  # the newest, and the best
    return min(iterations, REPLAY) * EPISODE_BYTES + agents * AGENT_BYTES + latents[-1] + iterations * JSON_BYTES


def tables(gbit: float = 1.0) -> Iterator[str]:
    """Yield the page's tables."""
    run = measured()
    whole = minutes(run, 1, gbit)
    yield _shares(run)
    yield table(
        ("nodes", "cores", "an ordinary iteration drives, s", "sends weights, s", "the whole iteration, s",
         "minutes to the goal", "times as fast"),
        [_scaled(run, nodes, gbit, whole) for nodes in _NODES],
    )  # fmt: skip
    fast = {
        "as measured": (1.0, 1.0),
        "environments infinitely fast": (math.inf, 1.0),
        "V, M and C learn twice as fast": (1.0, 2.0),
        "V, M and C learn ten times as fast": (1.0, 10.0),
        "V, M and C learn infinitely fast": (1.0, math.inf),
        "both infinitely fast": (math.inf, math.inf),
    }
    rows = [(name, minutes(run, 1, gbit, *how)) for name, how in fast.items()]
    yield table(
        ("one node", "minutes to the goal", "times as fast"),
        [(name, f"{took:.1f}", f"{whole / took:.2f}") for name, took in rows],
    )
    yield table(
        ("nodes, and so many times the frames", "driving, s", "M's predictions, s", "V encodes 6 iterations, s",
         "episodes come back, s", "memory with 6 iterations, GiB", "disk an iteration"),
        [_grown(run[4], nodes, gbit) for nodes in (1, 10, 100, 1000)],
    )  # fmt: skip
    yield table(
        ("nodes", "60 runs of a study", "runs a year", "all kept, a year", "keep_last=1", "exported agents only"),
        [_year(len(run), nodes, whole) for nodes in (1, 10, 60, 100, 1000)],
    )


def _shares(run: Sequence[Iteration]) -> str:
    ordinary = [one for one in run[1:] if not one.confirmed]
    mean = [sum(values) / len(ordinary) for values in zip(*ordinary, strict=True)]
    collected, scored = (sum(one.driving[i] for one in ordinary) / len(ordinary) for i in range(2))
    total = sum(mean[:5])
    rows = [
        ("drives environments, to learn from", collected, "nodes"),
        ("the rest of that stage: starts workers, M's predictions", mean[0] - collected, "this machine"),
        ("V learns, and encodes all episodes", mean[1], "this machine"),
        ("M learns", mean[2], "this machine"),
        ("C learns in M's dreams", mean[3], "this machine"),
        ("drives environments, to score", scored, "nodes"),
        ("the rest of that stage", mean[4] - scored, "this machine"),
        ("all", total, ""),
    ]
    return table(
        ("an ordinary iteration", "seconds", "share", "can be done by"),
        [(name, f"{took:.1f}", f"{took / total:.0%}", by) for name, took, by in rows],
    )


def _scaled(run: Sequence[Iteration], nodes: int, gbit: float, whole: float) -> tuple[str, ...]:
    one = run[4]
    collected, scored = one.driving
    drives = driving(collected, EPISODES, nodes) + driving(scored, SCORED, nodes)
    took = minutes(run, nodes, gbit)
    return (
        f"{nodes:,}", f"{nodes * CORES:,}", f"{drives:.1f}", f"{2 * sending(nodes, gbit):.1f}",
        f"{seconds(one, False, nodes, gbit):.0f}", f"{took:.1f}", f"{whole / took:.2f}",
    )  # fmt: skip


def _grown(one: Iteration, times: int, gbit: float) -> tuple[str, ...]:
    collected, _ = one.driving
    frames, pictures = one.frames * times, one.frames / 4 * times
    return (
        f"{times:,}", f"{collected:.0f}", f"{PREDICTIONS * times:,.0f}", f"{6 * pictures * ENCODING:,.0f}",
        f"{EPISODE_BYTES * times * 8 / (gbit * 1e9):,.1f}", f"{GIB + 6 * frames / 1e6 * GIB_A_MILLION:,.1f}",
        _amount((EPISODE_BYTES + 6 * LATENT_BYTES) * times + AGENT_BYTES),
    )  # fmt: skip


def _year(iterations: int, nodes: int, whole: float) -> tuple[str, ...]:
    runs = nodes * _YEAR / whole
    stored = (run_bytes(iterations), run_bytes(iterations, kept_all=False), EXPORTED_BYTES)
    return (
        f"{nodes:,}", f"{study_minutes(60, nodes, whole):,.0f} min", f"{runs:,.0f}",
        *(_amount(runs * size) for size in stored),
    )  # fmt: skip


def _amount(size: float) -> str:
    unit = next((unit for unit in (1e15, 1e12, 1e9) if size >= unit), 1e6)
    name = {1e15: "PB", 1e12: "TB", 1e9: "GB", 1e6: "MB"}[unit]
    return f"{size / unit:.3g} {name}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gbit", type=float, default=1.0, help="the link of the machine that trains, in Gbit/s")
    print("\n\n".join(tables(parser.parse_args().gbit)))


if __name__ == "__main__":
    main()
