"""What is normal: the ranges of a task's figures over whole runs, for the page of metrics.

    python -m tools.normal COMMAND metrics.csv metrics.csv ... > docs/results/NAME-normal.csv

Each line is a figure: its least and greatest value over the runs in their first iteration, and in their last.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from wmloop.legacy import metrics_now


def table(command: str, runs: list[Path]) -> None:
    """Print the table under a line that says where it comes from."""
    rows = [list(csv.DictReader(path.read_text().splitlines())) for path in runs]
    lasts = ", ".join(run[-1]["iteration"] for run in rows)
    print(f"# {command}; {len(rows)} runs, last iterations {lasts}")
    written = csv.writer(sys.stdout, lineterminator="\n")
    written.writerow(["figure", "first_low", "first_high", "last_low", "last_high"])
    first, last = [_now(run[0]) for run in rows], [_now(run[-1]) for run in rows]
    for name in dict.fromkeys(name for row in [*first, *last] for name in row):
        written.writerow([name, *_range(name, first), *_range(name, last)])


def _now(row: dict[str, str]) -> dict[str, float]:
    """Return the figures of a line under their names of today, `stage.figure`; seconds are the machine's."""
    figures: dict[str, float] = {}
    for name, text in row.items():
        stage, _, figure = name.partition(".")
        if figure and figure != "seconds" and text:
            (now,) = metrics_now({figure: 0.0})
            figures[f"{stage}.{now}"] = float(text)
    return figures


def _range(name: str, rows: list[dict[str, float]]) -> list[str]:
    values = [row[name] for row in rows if name in row]
    return [_short(bound(values)) for bound in (min, max)] if values else ["", ""]


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    table(sys.argv[1], [Path(path) for path in sys.argv[2:]])
