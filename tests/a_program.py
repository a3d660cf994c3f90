"""A program of somebody's own, as a row of a study: python -m tests.a_program --seed S --episodes N --to FILE [--steps T]."""

import argparse
import json
import random
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
parser.add_argument("--episodes", type=int)
parser.add_argument("--to", type=Path)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--fails", type=int, default=0)
parser.add_argument("--short", type=int, default=0)
given = parser.parse_args()
chance = random.Random(given.seed)
with given.to.open("w", buffering=1) as file:
    for step in range(given.steps):
        time.sleep(0.1)
        point = {
            "frames": 100.0 * (step + 1),
            "seconds": 6.0 * step,
            "score": chance.gauss(10 * step, 1),
            "evaluated": 5,
        }
        file.write(json.dumps(point) + "\n")
    for limit in ("frames", "minutes"):
        scores = [chance.gauss(100, 10) for _ in range(given.episodes - given.short)]
        file.write(json.dumps({"limit": limit, "frames": 400, "seconds": 60, "scores": scores}) + "\n")
raise SystemExit(given.fails)
