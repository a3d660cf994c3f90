"""Hold two programs against each other, bit by bit: a commit and the working tree, on this machine.

    python tools/identical.py COMMIT [--keep FOLDER] [--only PART ...]

Both train the same seeds, with one thread and with two; what the commit's program left unfinished inside V, M and C, the
working tree's goes on with; both score the demo and draw its dream. Then every file's hash and every metric is compared.
Prints a line a part; the exit status is 1 where anything differs. The working tree reads settings and figures by the names
that the commit has for them; a figure that is no longer written, or was corrected, is not compared.
What FOLDER already holds of the same commit's trainings is not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmloop.legacy import RETIRED_METRICS, metrics_now

ROOT = Path(__file__).parent.parent
#: Figures that were corrected: by another formula they are other numbers, and nothing is decided by them.
CORRECTED = {
    "best_real_return",  # d626400
    # means over the steps of a training: all steps count from the first on since 526c034
    "recon_loss", "kl_loss", "reward_aux_loss", "nll", "reward_loss", "terminal_reward_loss", "terminated_loss", "action_loss",
    "pg_loss", "v_loss", "explained_variance", "entropy", "approx_kl", "clipfrac", "ref_kl", "policy_epochs", "dream_return",
    "dream_terminated_fraction", "surprise",
}  # fmt: skip
#: Files that are compared by what they say, since words in them have changed: 8d45440.
REWORDED = re.compile(r"(tracks|confirm|summary)-[0-9]+\.json")
_TODAY = {"promised": "predicted", "paid": "real", "lived": "steps", "promises": "forecasts"}

#: The whole loop in half a minute; a stage lasts seconds on a fast processor too, so that it can be interrupted inside.
TINY = """
precision = "fp32"
[env]
id = "tests.tiny_env:wmloop/TinyDrive-v0"
num_envs = 4
episode_frames = 60
[env.driving]
mean = [[-0.2, 0.2], [0.2, 0.6]]
scale = [[0.3, 0.8], [0.1, 0.4]]
memory = [0.5, 0.9]
[rollout]
first = [[8, 30]]
frames = 400
push_rate = 0.03
[vision]
first_images = 4000
tune_images = 300
batch = 16
[memory]
hidden = 64
sequence = 8
batch = 16
first_steps = 500
steps = 50
[dream]
num_dreams = 64
horizon = 5
[controller]
first_updates = 60
updates = 10
minibatch_size = 80
[evaluate]
tracks = 4
confirm_tracks = 2
[store]
snapshot_seconds = 0.0
"""
#: The preset smoke once froze V after iteration 1; today no setting does.
_TINY = ("--preset", "smoke", "--config", "tiny.toml", "--set", "vision.tune_iterations=none")
STAGES = ("vision", "memory", "controller")
PARTS = ["tiny", "resume", "demo", "smoke"]


class Side:
    """One of the two programs, and the folder of what it made."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tiny.toml").write_text(TINY)

    def command(self, *arguments: object) -> list[str]:
        """Return the command line of one of its commands."""
        return [sys.executable, "-m", "wmloop", *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables under which its modules are found, and its runs."""
        return {**os.environ, "PYTHONPATH": str(self.tree), "WMLOOP_RUNS": str(self.folder / "runs")}

    def run(self, *arguments: object) -> str:
        """Perform a command and return what it printed; its errors go where ours do."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def start(self, name: str, *arguments: object) -> None:
        """Train a run to its end, if it is not there yet."""
        if not self._has(f"{name}.done"):
            shutil.rmtree(self.folder / "runs" / name, ignore_errors=True)
            self.run("start", name, "--progress", "none", *arguments)
            self._note(f"{name}.done")

    def interrupt(self, name: str, stage: str, *arguments: object) -> None:
        """Train a run until it is well inside the first `stage`, and interrupt it there."""
        if self._has(f"{name}.done"):
            return
        shutil.rmtree(self.folder / "runs" / name, ignore_errors=True)
        command = self.command("start", name, "--progress", "none", *arguments)
        draft = self.folder / "runs" / name / "iterations" / "0000" / f".draft-{stage}"
        with subprocess.Popen(command, cwd=self.folder, env=self.environment) as process:
            while process.poll() is None and not any(draft.glob("snapshot-*")):
                time.sleep(0.005)
            process.terminate()  # a program in the background may have Ctrl-C ignored
        if not draft.exists():
            sys.exit(f"{name} was not interrupted inside {stage}: {command}")
        self._note(f"{name}.done")

    def _has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def _note(self, name: str) -> None:
        (self.folder / name).touch()


def versions(run: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a run holds: the hash of each committed file, and each version's metrics."""
    for manifest in sorted(run.glob("iterations/*/*/manifest.json")):
        if manifest.parent.name.startswith("."):
            continue
        told = json.loads(manifest.read_text())
        place = f"{manifest.parent.parent.name}/{manifest.parent.name}"
        for file in sorted(told["files"]):
            data = (manifest.parent / file).read_bytes()
            said = _today(json.loads(data)) if REWORDED.fullmatch(file) else hashlib.sha256(data).hexdigest()
            yield f"{place}/{file}", said
        metrics = metrics_now(told["metrics"])
        yield (
            f"{place} metrics",
            {name: value for name, value in metrics.items() if name not in {*RETIRED_METRICS, *CORRECTED}},
        )


def _today(value: Any) -> Any:
    """Return a JSON value with the names of today."""
    if isinstance(value, dict):
        return {_TODAY.get(name, name): _today(part) for name, part in value.items()}
    return [_today(part) for part in value] if isinstance(value, list) else value


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of what differs, or is on one side only, in the order of its making."""
    names = list(theirs) + [name for name in ours if name not in theirs]
    return [name for name in names if ours.get(name) != theirs.get(name)]


def compare(before: Side, after: Side, parts: list[str]) -> bool:
    """Run both sides and print how each part compares; return whether all is equal."""
    equal = True

    def tell(part: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        nonlocal equal
        wrong = differences(ours, theirs)
        equal &= bool(theirs) and not wrong
        print(
            f"{part}: " + (f"{len(theirs)} things equal" if theirs and not wrong else f"DIFFERS first in {wrong[:3]}")
        )

    for seed, threads in ((0, 1), (1, 2)):
        if "tiny" in parts:
            name = f"tiny{seed}"
            for side in (before, after):
                side.start(name, *_TINY, "--seed", seed, "--threads", threads, "--iterations", 3)
            tell(
                f"tiny, seed {seed}, {threads} threads",
                *(dict(versions(s.folder / "runs" / name)) for s in (before, after)),
            )
    if "resume" in parts:
        before.start("whole", *_TINY, "--seed", 2, "--threads", 1, "--iterations", 2)
        whole = dict(versions(before.folder / "runs" / "whole"))
        for stage in STAGES:
            name = f"inside-{stage}"
            before.interrupt(name, stage, *_TINY, "--seed", 2, "--threads", 1, "--iterations", 2)
            copy = after.folder / "runs" / name
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(before.folder / "runs" / name, copy)
            after.run("resume", name, "--progress", "none")
            tell(f"left inside {stage}, gone on with", whole, dict(versions(copy)))
    if "demo" in parts:
        told = []
        for side in (before, after):
            demo = "demo" if side is before else before.tree / "wmloop" / "demo"  # that of the commit, for both
            score = json.loads(side.run("eval", demo, "--tracks", 2, "--json"))
            score = {name: value for name, value in metrics_now(score).items() if name not in {"format", *CORRECTED}}
            dreamt = side.run("play", demo, "--in", "dream", "--render", side.folder / "dream.mp4", "--episodes", 3)
            returns = re.findall(r"([-\d.]+), (\d+) frames", dreamt)  # a film has words on it, which may change
            told.append({"dreams": returns} | {f"score {i}": value for i, value in enumerate(_numbers(score))})
        tell("demo scored, its dreams drawn", *told)
    for seed in (0, 1):
        if "smoke" in parts:
            for side in (before, after):
                side.start(f"smoke{seed}", "--preset", "smoke", "--seed", seed)
            tell(f"smoke, seed {seed}", *(dict(versions(s.folder / "runs" / f"smoke{seed}")) for s in (before, after)))
    return equal


def _numbers(value: Any) -> Iterator[float]:
    """Yield all numbers of a JSON value but clocks; names may change."""
    if isinstance(value, dict):
        for name, part in value.items():
            if "second" not in name:
                yield from _numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, (int, float)):
        yield value


def main() -> None:
    """Make the commit's tree, run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--keep", type=Path, help="a folder for what the commit's side made, to be used again")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    git = ("git", "-C", str(ROOT))
    commit = subprocess.run(
        [*git, "rev-parse", given.commit], capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as scratch:
        kept = (given.keep or Path(scratch)).resolve()
        tree = Path(scratch) / "tree"
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            equal = compare(Side(tree, kept / commit), Side(ROOT, Path(scratch) / "after"), given.only)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)
    sys.exit(not equal)


if __name__ == "__main__":
    main()
