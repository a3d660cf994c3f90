"""How long one waits: for `wmloop --help`, and from `wmloop start` to the first real frames.

python benchmarks/starting.py [--times 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WMLOOP = [sys.executable, "-m", "wmloop"]


def help_seconds() -> float:
    """Return the seconds `wmloop --help` takes."""
    begun = time.perf_counter()
    subprocess.run([*WMLOOP, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def first_frame_seconds(runs: Path) -> float:
    """Return the seconds from `wmloop start` to its first word of frames driven."""
    command = [*WMLOOP, "start", "--preset", "laptop", "--progress", "json", "--runs", str(runs)]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            record = json.loads(line)
            if record.get("event") == "Progress" and record.get("done", 0) > 0:
                seconds = time.perf_counter() - begun
                process.kill()
                return seconds
    raise SystemExit("the run ended before it drove")


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    times = range(parser.parse_args().times)
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "--help": [help_seconds() for _ in times],
            "start to the first frames": [first_frame_seconds(Path(folder)) for _ in times],
        }
    for name, seconds in found.items():
        print(f"{name:26} median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f}")


if __name__ == "__main__":
    main()
