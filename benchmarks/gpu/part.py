"""One part of the measurement, in a process of its own: what it breaks, a device's context for one, breaks nothing else.

    python -m benchmarks.gpu.part NAME --device cuda --until SECONDS --folder FOLDER --lines FILE

appends a line of JSON to FILE for each thing that it has found, at once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.gpu import agreement, runs, speed
from benchmarks.gpu.given import Given, Line


class Part(NamedTuple):
    """What a part does, the minutes that it may take at most, and the variables that its process must begin with."""

    measure: Callable[[Given], Iterator[Line]]
    minutes: float
    variables: dict[str, str] = {}  # noqa: RUF012


#: In the order in which they are run. The last takes what is left.
PARTS = {
    "facts": Part(speed.facts, 0.7),
    "dream": Part(speed.dream, 1.8),
    "trained": Part(speed.trained, 1.9),
    "agreement": Part(agreement.agreement, 0.8),
    "identity": Part(runs.identity, 1.1),
    # cuBLAS sums in the same order only with workspaces of its own, which it asks for before anything else
    "deterministic": Part(runs.deterministic, 1.1, {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}),
    "training": Part(runs.training, float("inf")),
}


def write(lines: Iterator[Line], file: Path) -> None:
    """Append each of `lines` to a file as soon as it is there."""
    with file.open("a") as out:
        for line in lines:
            out.write(json.dumps(line) + "\n")
            out.flush()


def main() -> None:
    """Measure a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--until", type=float, required=True, help="in seconds since 1970")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    until = time.monotonic() + given.until - time.time()
    measure = PARTS[given.name].measure
    write(measure(Given(torch.device(given.device), given.tiny, until, given.folder, given.seeds)), given.lines)


if __name__ == "__main__":
    main()
