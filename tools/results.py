"""Results as text and plots: what docs/results and docs/pictures hold, made again from a run or from the text.

    python -m tools.results page TASK RUN RUN RUN   docs/results: a page of the task (TASK is its file's name, such as
                                                    cartpole), its curve, and the list of pages anew
    python -m tools.results index                   docs/results: the list of pages alone, after `wmloop study --to` there
    python -m tools.results picture RUN FILE.png    a held-out episode above M's dream of it; a page shows the picture of
                                                    its own name in docs/results, if there is one
    python -m tools.results tasks RUN... FILE.png   what people see of each run's environment, side by side
    python -m tools.results table RUN COMMAND > docs/results/NAME-run.csv       a run's iterations, one a line
    python -m tools.results scores SCORES.json COMMAND > docs/results/NAME-100-fresh-tracks.csv

A RUN is a run's folder. All but table and scores need matplotlib (pip install -e '.[report]').
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from wmloop import pipelines
from wmloop.errors import WmloopError
from wmloop.history import History
from wmloop.opening import stored_config
from wmloop.store import Store

FIGURES = (
    "score", "score_std", "score_min", "confirmed_score", "confirmed_score_std", "confirmed_score_min",
    "predicted_return", "real_return", "return_gap", "open_loop_bias", "open_loop_correlation",
)  # fmt: skip


def table(run: Path, command: str) -> None:
    """Print one line an iteration; minutes and frames are those of all stages so far."""
    store = Store.open(run)
    pipeline = pipelines.get(stored_config(store).pipeline)
    history = History(store, pipeline)
    print(f"# {command}   ({history.everything()[0].created[:10]})")
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(
        ["iteration", "minutes", "frames_collected", "frames_evaluated", *FIGURES, *(f"{s}_s" for s in pipeline.names)]
    )
    seconds = collected = evaluated = 0.0
    for scored in history.scored():
        made = history.made(scored.iteration)
        # Open-loop predictions are those of the M before, on the rollouts it had not seen.
        open_loop = {k: v for one in made.values() for k, v in one.metrics.items() if k.startswith("open_loop")}
        metrics = scored.metrics | open_loop
        seconds += sum(one.seconds for one in made.values())
        collected += sum(one.metrics["frames"] for name, one in made.items() if name in pipeline.collectors)
        evaluated += metrics["frames"] + metrics.get("confirmed_frames", 0.0)
        figures = [f"{metrics[name]:.3f}" if name in metrics else "" for name in FIGURES]
        totals = [scored.iteration, f"{seconds / 60:.1f}", round(collected), round(evaluated)]
        rows.writerow(
            [*totals, *figures, *(round(made[name].seconds) if name in made else "" for name in pipeline.names)]
        )


def scores(told: Path, command: str) -> None:
    """Print the score of each track that `wmloop eval --json` told of, under two lines that say where they come from."""
    report = json.loads(told.read_text())
    print(f"# {command}")
    said = [f"score {report['score']:.1f}" + (f" +- {report['score_std']:.1f}" if "score_std" in report else "")]
    if report["score_ci95"] is not None:  # of a single episode there is none
        said.append("95% CI of the mean {:.1f} to {:.1f}".format(*report["score_ci95"]))
    said += [f"worst {report['score_min']:.1f}", f"frames {report['frames']:.0f}"]
    if "return_gap" in report:
        said.append(f"gap {report['return_gap']:+.3f} +- {report['return_gap_se']:.3f}")
    print(f"# {', '.join(said)}")
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["track", "score", "frames", "terminated"])
    for track in report["tracks"]:
        rows.writerow([track["seed"], f"{track['score']:.3f}", track["frames"], int(track["terminated"])])


def page(name: str, runs: list[Path]) -> None:
    """Write a task's page and curve, and the list of pages."""
    from tools.page import FOLDER, write

    write(FOLDER, name, runs)
    print(f"docs/results/{name}.md and {name}.svg: look at both before they are committed")


def index() -> None:
    """Write the list of pages."""
    from tools.page import FOLDER, INDEX, index

    (FOLDER / f"{INDEX}.md").write_text(index(FOLDER))


def picture(run: Path, target: Path) -> None:
    """Write the picture of a run, and say what is on it."""
    from tools.gallery import write

    shown = write(run, target)
    print(f"{target} ({target.stat().st_size / 1000:.0f} kB): held-out episode {shown.seed} (score {shown.score:g}) above M's"
          f" dream of it from agent step {shown.decision} on, {', '.join(map(str, shown.steps))} steps later")  # fmt: skip


def tasks(runs: list[Path], target: Path) -> None:
    """Write the picture of several runs' tasks."""
    from tools.gallery import write_tasks

    write_tasks(runs, target)


def main(words: list[str]) -> None:
    """Do what the words of a command line say."""
    match words:
        case ["page", name, *runs] if runs:
            page(name, list(map(Path, runs)))
        case ["index"]:
            index()
        case ["picture", run, target]:
            picture(Path(run), Path(target))
        case ["tasks", *runs, target] if runs:
            tasks(list(map(Path, runs)), Path(target))
        case ["table", run, command]:
            table(Path(run), command)
        case ["scores", told, command]:
            scores(Path(told), command)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WmloopError as error:
        sys.exit(f"error: {error}")
