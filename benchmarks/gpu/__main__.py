"""Measure all that a GPU has to show, and write one JSON file and one page of tables.

    python -m benchmarks.gpu [--minutes 8] [--only PART ...] [--to build/gpu] [--seeds 0 1] [--tiny]

Each part is a process with a time of its own; one that fails is told with its error, and the others go on. Both files are
written after each part; what FOLDER holds of other parts stays. The part `training` takes the time that is left, or all of
it with `--only training`; the same command again goes on with its runs. Where there is no GPU all parts run on the CPU with
tiny sizes, as with --tiny: that proves the command, and its rates mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.given import Line
from benchmarks.gpu.part import PARTS
from benchmarks.gpu.report import page
from wmloop.device import available_devices, machine_facts

#: Seconds that a part may take to end after its time is up, and the least that it is begun with.
_GRACE, _LEAST = 15.0, 20.0


def run_part(command: Sequence[str], variables: dict[str, str], lines: Path, seconds: float) -> Line:
    """Run a part's process for so many seconds at most; return its state, what it found, and its error if it has one."""
    begun, log = time.monotonic(), lines.with_suffix(".log")
    lines.unlink(missing_ok=True)
    error = ""
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **variables}, start_new_session=True
        ) as process,
    ):
        try:
            if code := process.wait(seconds):
                error = f"it ended with {code}" if code > 0 else f"signal {-code} ended it"
        except subprocess.TimeoutExpired:
            error = f"it was still running after {seconds:.0f} s, and was ended"
        finally:  # and what it has started
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if error and (told := log.read_text(errors="replace").strip().splitlines()):
        error += f": {told[-1][:500]}"
    state = {"state": "failed", "error": error} if error else {"state": "done"}
    return {**state, "seconds": round(time.monotonic() - begun, 1), "lines": read_lines(lines)}


def read_lines(file: Path) -> list[Line]:
    """Return the lines that a part has written; one that it was writing as it was ended is left out."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def earlier(file: Path, device: str, tiny: bool) -> dict[str, Any]:
    """Return the parts that a file holds of the same device in the same sizes: `--only` measures the others anew."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        result = json.loads(file.read_text())
        if (result["device"], result["tiny"]) == (device, tiny):
            return dict(result["parts"])
    return {}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--to", type=Path, default=Path("build/gpu"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the training runs")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the command")
    given = parser.parse_args()
    cuda = "cuda" in available_devices()
    measure(given, "cuda" if cuda else "cpu", given.tiny or not cuda)


def measure(given: argparse.Namespace, device: str, tiny: bool) -> None:
    """Run the parts that are asked for one after the other, and write what is known after each."""
    end = time.monotonic() + 60 * given.minutes
    given.to.mkdir(parents=True, exist_ok=True)
    made = machine_facts()
    parts = earlier(given.to / "gpu.json", device, tiny)
    result = {"made": made, "device": device, "tiny": tiny, "minutes": given.minutes, "parts": parts}
    for name in given.only:
        own = float("inf") if tiny else 60 * PARTS[name].minutes  # a part's time is that of a GPU
        seconds = min(own, end - time.monotonic() - _GRACE)
        if seconds < _LEAST:
            parts[name] = {"state": "skipped", "error": f"no time was left of {given.minutes:g} minutes", "lines": []}
        else:
            lines = given.to / f"{name}.jsonl"
            command = [sys.executable, "-m", "benchmarks.gpu.part", name, "--device", device, "--until",
                       str(time.time() + seconds), "--folder", str(given.to), "--lines", str(lines),
                       *(["--tiny"] if tiny else []), "--seeds", *map(str, given.seeds)]  # fmt: skip
            parts[name] = run_part(command, PARTS[name].variables, lines, seconds + _GRACE)
        parts[name]["commit"] = made.get("git", "unknown")
        print(f"{name}: {parts[name]['state']} {parts[name].get('error', '')}".rstrip(), flush=True)
        (given.to / "gpu.json").write_text(json.dumps(result, indent=1))
        (given.to / "gpu.md").write_text(page(result))
    print(f"{given.to / 'gpu.json'}, {given.to / 'gpu.md'}")


if __name__ == "__main__":
    main()
