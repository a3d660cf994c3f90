"""`wmloop runs`, `wmloop log`, `wmloop verify`: what is on the disk."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from wmloop import ranking
from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.opening import commits, open_run, play_command, trust_of
from wmloop.cli.options import JsonOption, NameArgument, RunsOption, print_json
from wmloop.cli.tables import print_table
from wmloop.commands import command, wmloop
from wmloop.errors import StoreCorruptError, WmloopError
from wmloop.opening import pipeline_of, ships, stored_config

if TYPE_CHECKING:
    from wmloop.store import Evaluation, Fault, Store, Version


@guarded
def runs(runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """List the runs, those with the latest activity first."""
    from wmloop.store import list_runs

    found = [_summary(runs, name) for name in list_runs(runs)]
    if as_json:
        print_json("runs", runs=found)
        return
    from wmloop.view.words import tenths

    if not found:
        say(f"there are no runs in {runs} yet; start one with `{command('start', runs / 'NAME')}`")
        return
    rows = []
    for run in found:
        if "fault" in run:
            rows.append([run["run"], "", "", "", "", run["fault"]])
            continue
        shown = run["best_score"] if run["best_confirmed_score"] is None else run["best_confirmed_score"]
        score = "" if shown is None else tenths(shown)
        if run["imported"]:
            done = "imported"
        else:
            score += f" (iteration {run['best_iteration']})" if score else ""
            done = f"{run['iterations']} of {max(run['iterations'], run['iterations_at_most'])}"
        rows.append([run["run"], run["created"][:16].replace("T", " "), run["preset"], done, score, run["size"]])
    print_table(["run", "created (UTC)", "preset", "iterations", "score of best agent", "size"], rows)


@guarded
def log(name: NameArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """List a run's stage outputs, each with its main metrics.

    A stage output is what one stage wrote in one iteration. Below them are the results of `wmloop eval`.
    """
    from wmloop.view.words import figure, size, span

    store = open_run(runs, name)
    versions, evaluations = store.versions(), store.evaluations.all()
    if as_json:
        records: list[dict[str, Any]] = [
            {
                "version": v.name, "created": v.created, "seconds": v.seconds, "bytes": v.num_bytes, "hash": v.hash,
                "pruned": sorted(v.pruned), "parents": dict(v.parents), "metrics": dict(v.metrics),
                "evaluations": [e.record for e in evaluations if (e.version, e.hash) == (v.name, v.hash)],
            }
            for v in versions
        ]  # fmt: skip
        print_json("log", run=store.name, versions=records)
        return
    if not versions:
        say(f"the run {store.name} has no stage output yet: `{command('resume', store.path)}` makes the first")
        return
    rows, pipeline, imported = [], pipeline_of(stored_config(store)), "imported" in store.facts
    for version in versions:
        told = _told(pipeline.row(version.stage).headline, version.metrics)
        metrics = " ".join(f"{name}={figure(version.metrics[name])}" for name in told)
        when = version.created[:16].replace("T", " ")
        parents = " ".join(sorted(version.parents))
        there = "pruned" if version.pruned and not version.num_bytes else size(version.num_bytes)
        rows.append([version.name, when, *([] if imported else [span(version.seconds)]), there, metrics, parents])
    print_table(
        ["stage output", "created (UTC)", *([] if imported else ["took"]), "size", "metrics", "made from"], rows
    )
    if evaluations:
        print()
        head = ["wmloop eval of", "when (UTC)", "episodes", "seed", "score", "worst", "on"]
        print_table(head, [_evaluated(evaluation) for evaluation in evaluations])
    if not imported:  # how long it took elsewhere is not in its file
        print(f"\ntime by stage: {_shares(versions)}")


@guarded
def verify(name: NameArgument = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Check every stored byte against its hash.

    Faults are listed; if there are any, the exit code is 65.
    """
    from wmloop.view.words import size, span

    store = open_run(runs, name)
    begun = shown = time.monotonic()

    def tick(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if sys.stderr.isatty() and done and now - shown > 0.5:
            shown = now
            left = span((now - begun) / done * (total - done))
            print(f"\r{done} of {total} stage outputs read, {left} left \x1b[K", end="", file=sys.stderr)

    faults, foreign = store.verify(tick), store.foreign()
    if shown != begun:
        print("\r\x1b[K", end="", file=sys.stderr)
    versions = store.versions()
    total = sum(version.num_bytes for version in versions)
    if as_json:
        print_json("verify", run=store.name, versions=len(versions), bytes=total,
                   faults=[fault._asdict() for fault in faults], foreign=foreign)  # fmt: skip
    elif faults:
        for fault in faults:
            print(f"{fault.version}/{fault.file}: {fault.problem}")
    else:
        print(f"{store.name}: {len(versions)} stage outputs, {size(total)}, every byte matches its hash")
    if foreign:
        say(
            f"files that are not part of the run (harmless): {', '.join(foreign[:8])}"
            + (", ..." if foreign[8:] else "")
        )
    if faults:
        say(f"error: {len(faults)} fault{'s' * (len(faults) > 1)} in the run {store.name}; {_mended(store, faults)}")
        raise typer.Exit(StoreCorruptError.exit_code)
    if "imported" in store.facts:
        say_next({"watch it": play_command(store.path, *trust_of(store))})
    else:
        from wmloop.cli.session import more

        say_next(
            {"continue it": command("resume", store.path, *more(store)), "see what it did": command("log", store.path)}
        )


def _mended(store: Store, faults: Sequence[Fault]) -> str:
    """Return what to do about a damaged run: one that is an agent alone has nothing to compute it again from."""
    from wmloop.store.remedy import remedy
    from wmloop.store.version import STRANGE

    if ships(store):
        return "it comes with wmloop: install wmloop again"
    if "imported" in store.facts:
        return f"remove its folder {store.path}, and import its file again with `{wmloop('import')}`"
    strange = [f"{fault.version}/{fault.file}" for fault in faults if fault.problem == STRANGE]
    told = [f"move {', '.join(strange)} elsewhere"] if strange else []
    if damaged := {fault.version for fault in faults if fault.problem != STRANGE}:
        told.append(remedy(store.path, store.versions(), damaged, store.facts.get("forked_from")))
    return "; ".join(told)


def _summary(root: Path, name: str) -> dict[str, Any]:
    from wmloop.store import Store
    from wmloop.view.state import ViewState, recall
    from wmloop.view.words import size

    try:
        store = Store.open(root / name)
        config = stored_config(store)
        versions, pipeline = commits(store.versions()), pipeline_of(config)
    except (WmloopError, OSError) as error:
        return {"run": name, "fault": " ".join(str(error).split())}
    best = recall(ViewState(pipeline), versions, 0.0).best
    return {
        "run": name,
        "created": store.created,
        "preset": config.preset,
        "imported": "imported" in store.facts,
        "iterations": sum(version.stage == pipeline.scored_by for version in versions),
        "iterations_at_most": config.budget.iterations,
        "versions": len(versions),
        "best_iteration": best and best.iteration,
        "best_score": best and best.real,
        "best_confirmed_score": best and best.confirmed,
        "bytes": sum(version.num_bytes for version in versions),
        "size": size(sum(version.num_bytes for version in versions)),
    }


def _evaluated(evaluation: Evaluation) -> list[str]:
    from wmloop.view.words import tenths

    scores, made = evaluation.scores, evaluation.record.get("made")
    mean = tenths(statistics.fmean(scores))
    if bounds := ranking.interval(scores):
        mean += f" (95% CI {tenths(bounds[0])} to {tenths(bounds[1])})"
    machine = str(made.get("cpu", "")) if isinstance(made, dict) else ""
    when = evaluation.created[:16].replace("T", " ")
    return [evaluation.version, when, f"{len(scores)}", f"{evaluation.seed}", mean, tenths(min(scores)), machine]


def _shares(versions: Sequence[Version]) -> str:
    from wmloop.view.words import span

    spent: dict[str, float] = {}
    for version in versions:
        spent[version.stage] = spent.get(version.stage, 0.0) + version.seconds
    whole = sum(spent.values()) or 1.0
    return ", ".join(f"{stage} {span(seconds)} ({seconds / whole:.0%})" for stage, seconds in spent.items())


def _told(headline: Sequence[str], metrics: Any) -> list[str]:
    """Return the names of at most three metrics, the most telling first."""
    first = [*headline, "score_std", "predicted_return", "frames"]
    return sorted(metrics, key=lambda name: (first.index(name) if name in first else len(first), name))[:3]
