"""A page of docs/results: what runs of one task that differ only by seed came to, with their curve."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.seeds import Seed, require_together
from wmloop.commands import quoted
from wmloop.config.presets import published, task
from wmloop.errors import UsageError
from wmloop.ranking import interval
from wmloop.report import drawing, groups
from wmloop.report.groups import Group
from wmloop.report.html import cell, percent
from wmloop.report.origin import mapping
from wmloop.view.words import number

#: Where the pages lie, and the page that lists them.
FOLDER = Path(__file__).parent.parent / "docs" / "results"
INDEX = "index"
#: The columns of the table of seeds behind the first two, and what is to know of each.
_COLUMNS = {
    "real frames": "Real frames are those collected up to there, without those of evaluations.",
    "minutes": "Minutes are of all stages.",
    "confirming episodes": "Confirming episodes: mean ± standard error, of the best agent.",
    "predicted return": "Predicted return, real return and gap are of the held-out episodes.", "real return": "",
    "gap": "Gap: the predicted less its real return ± standard error, and in percent.",
    "**fresh episodes**": "Fresh episodes, which nothing in the run has used: mean ± standard deviation; beside them the 95%"
    " confidence interval of the mean, and the worst.",
    "95% of the mean": "", "worst": "",
}  # fmt: skip


def write(folder: Path, name: str, paths: Sequence[Path]) -> None:
    """Write the page `name` of the runs in the folders `paths`, its curve, and the list of pages anew.

    A picture of that name, NAME.png, that lies there already is shown on the page (see tools/gallery.py).

    Raises:
        UsageError: the name does not do, or the runs are none of one page (see `require_together`).
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or name == INDEX:
        raise UsageError(f"{name!r} cannot name a page: small letters, digits and hyphens can, such as cartpole")
    seeds = sorted(map(Seed.of, paths), key=lambda seed: seed.number)
    require_together(seeds)
    (folder / f"{name}.svg").write_text(curve(seeds))
    (folder / f"{name}.md").write_text(page(name, seeds, (folder / f"{name}.png").exists()))
    (folder / f"{INDEX}.md").write_text(index(folder))


def curve(seeds: Sequence[Seed]) -> str:
    """Return the scores on held-out episodes against real frames as an SVG file: a line for each seed, and the goal."""
    lines = [Group([dataclasses.replace(seed.facts, name=f"seed {seed.number}")]) for seed in seeds]
    return drawing.svg_file(groups.together(lines, "frames"))


def page(name: str, seeds: Sequence[Seed], pictured: bool) -> str:
    """Return the page in Markdown, with its picture if it is `pictured`."""
    config = seeds[0].facts.config
    parts = [
        f"# {config.env.id}",
        _task(seeds[0]),
        _verdict(seeds),
        f"![Score on held-out episodes against real frames collected]({name}.svg)",
        *_results(seeds),
        "## Held-out scores, iteration by iteration",
        f"Means over {config.evaluate.episodes} episodes, the same ones each time. Bold: the best agent, whose other"
        " scores are above.",
        _table(["seed", "iterations 0, 1, ..."], [[f"{seed.number}", _scores(seed)] for seed in seeds]),
        *_beside(seeds),
        *(_picture(name) if pictured else []),
        "## Commands",
        "```text\n" + "\n".join(_commands(seeds)) + "\n```",
        *dict.fromkeys(note for seed in seeds for note in seed.again.notes),
        *_made(seeds),
        f"This page was written by `python -m tools.results page {name}"
        f" {quoted([seed.store.name for seed in seeds])}`, its numbers come out of these runs.",
    ]
    return "\n\n".join(parts) + "\n"


def index(folder: Path) -> str:
    """Return the list of the pages in a folder, in Markdown."""
    names = sorted(path.stem for path in folder.glob("*.md") if path.stem != INDEX)
    rows, studies = [], []
    for name in names:
        title, about, verdict = (folder / f"{name}.md").read_text().removeprefix("# ").split("\n\n")[:3]
        kind = studies if title.startswith("Study: ") else rows
        kind.append([f"[{title.removeprefix('Study: ')}]({name}.md)", about.partition(". ")[0], verdict])
    parts = [
        "# Results by task",
        "CarRacing-v3, which the defaults were found on, has its page by itself: [results](../results.md), with those of"
        " [earlier defaults](../results-old.md).",
        _table(["task", "what it is", "result"], rows)
        if rows
        else "No other task has been measured with three seeds yet.",
        "Before any of these: [first looks](../experiments/2026-11-28-first-looks.md) at four tasks. A page is made of finished"
        " runs by `python -m tools.results page`, which writes this one, too.",
        *(
            ["Ways to train, compared by a [study](../study.md):", _table(["study", "question", "result"], studies)]
            if studies
            else []
        ),
        "```{toctree}\n:hidden:\n\n" + "\n".join(["../results", *names, "../results-old"]) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _task(seed: Seed) -> str:
    """Return what the task is, in a sentence, and then in numbers."""
    config, told = seed.facts.config, task(seed.facts.config.env.id)
    about = told.get("about", "")
    parts = [f"{what}: {told[what]}" for what in ("observations", "actions") if what in told]
    if config.env.episode_frames:
        parts.append(f"frames of an episode: at most {config.env.episode_frames}")
    parts.append("no goal" if config.budget.goal is None else f"goal: {config.budget.goal:g}")
    numbers = "; ".join(parts)
    return f"{about[:1].upper()}{about[1:]}. " * bool(about) + f"{numbers[:1].upper()}{numbers[1:]}."


def _verdict(seeds: Sequence[Seed]) -> str:
    """Return in two sentences what came of the runs."""
    goal, reached = seeds[0].facts.config.budget.goal, [seed.reached for seed in seeds if seed.reached]
    told = ""
    if goal is not None:
        told = f"{len(reached)} of {len(seeds)} seeds reached the goal of {goal:g}"
        told += f", with {_span(point.frames for point in reached)} real frames. " if reached else ". "
    scores = ", ".join(_figure(statistics.fmean(seed.facts.fresh)) for seed in seeds)
    own = ", ".join(str(seed.number) for seed in seeds)
    counts = _span(float(len(seed.facts.fresh)) for seed in seeds)
    return f"{told}Mean score on {counts} fresh episodes: {scores} (seed{'s' * (len(seeds) > 1)} {own})."


def _span(values: Iterable[float]) -> str:
    """Return the least and the largest of counts in words, or the one that they all are."""
    values = list(values)
    return " to ".join(dict.fromkeys(map(number, (min(values), max(values)))))


def _results(seeds: Sequence[Seed]) -> list[str]:
    goal = seeds[0].facts.config.budget.goal
    aim = "iterations" if goal is None else "iterations to the goal"
    head, rows = ["seed", aim, *_COLUMNS], [_row(seed) for seed in seeds]
    told = [_COLUMNS[name] for place, name in enumerate(head) if name in _COLUMNS and any(row[place] for row in rows)]
    if any(seed.reached is None for seed in seeds) and goal is not None:
        told.append("Where the goal was not reached, frames and minutes are of the whole run.")
    return [_table(head, rows), " ".join(filter(None, told))]


def _row(seed: Seed) -> list[str]:
    best, fresh, reached = seed.best, seed.facts.fresh, seed.reached
    point, bounds = reached or seed.facts.points[-1], interval(fresh)
    iterations = f"{seed.facts.points.index(point) + 1}"
    if reached is None and seed.facts.config.budget.goal is not None:
        iterations = f"not reached in {iterations} of {seed.facts.config.budget.iterations or 'any number'}"
    share = percent(best.gap)
    return [
        f"{seed.number}", iterations, number(point.frames), number(60 * point.hours),
        _figure(best.confirmed, seed.scored[best.iteration].get("confirmed_score_se", math.nan)),
        _figure(best.predicted_return), _figure(best.real_return),
        "+" * (best.gap_points > 0) + _figure(best.gap_points, best.gap_points_error) + f" ({share})" * bool(share),
        f"**{_fresh(seed)}**", f"{_figure(bounds[0])} to {_figure(bounds[1])}" if bounds else "", _figure(min(fresh)),
    ]  # fmt: skip


def _fresh(seed: Seed) -> str:
    scores = seed.facts.fresh
    return _figure(statistics.fmean(scores), statistics.stdev(scores) if len(scores) > 1 else math.nan)


def _figure(value: float, error: float = math.nan) -> str:
    """Return a figure with its error to as many digits, if there is one; nothing where it was not measured."""
    if not math.isfinite(value):
        return ""
    digits = 1 if max(abs(value), 10 * error if math.isfinite(error) else 0) >= 10 else 2
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if math.isfinite(error) else "")


def _scores(seed: Seed) -> str:
    marks = {True: "**", False: ""}
    shown = ((cell(point.score), marks[point.iteration == seed.best.iteration]) for point in seed.facts.points)
    return ", ".join(f"{mark}{score}{mark}" for score, mark in shown)


def _beside(seeds: Sequence[Seed]) -> list[str]:
    """Return the published scores with those of the seeds; nothing where none are known."""
    about, others = published(seeds[0].facts.config.env.id)
    if not others:
        return []
    rows = [[system, score] for system, score in others.items()]
    rows += [[f"wmloop, seed {seed.number}", f"**{_fresh(seed)}**"] for seed in seeds]
    where = "only in M's dreams" if seeds[0].facts.dreams else "in the real environment"
    said = f"The published scores are {about}. wmloop's agents were trained {where}; their scores are those on fresh episodes."
    return ["## Beside published scores", _table(["system", "mean score"], rows), said]


def _picture(name: str) -> list[str]:
    return [
        "## Real above dreamt",
        f"![Moments of an episode, and below each what M dreamt it would be]({name}.png)",
        "Above: moments of the first held-out episode, driven by a seed's best agent. Below: M's dream of the same moments. It"
        " branched off before the first of them and was then told the actions, and nothing more.",
    ]


def _commands(seeds: Sequence[Seed]) -> list[str]:
    """Return the commands that repeat the runs and what their agents were scored by."""
    lines = [line for seed in seeds for line in seed.again.commands]
    for seed in seeds:
        for kept in seed.facts.served:
            words = ["eval", seed.store.name, "--episodes", f"{len(kept.scores)}", "--seed", f"{kept.seed}"]
            lines.append(quoted(["wmloop", *words, "--runs", "again"]))
    return list(dict.fromkeys(lines))


def _made(seeds: Sequence[Seed]) -> list[str]:
    """Return when, where and by what the runs were made, as they recorded it; once where that is the same."""
    told: dict[str, list[Seed]] = {}
    for seed in seeds:
        told.setdefault(_origin(seed), []).append(seed)
    if len(told) == 1:
        return list(told)
    return [f"Seed {', '.join(f'{seed.number}' for seed in same)}: {words}" for words, same in told.items()]


def _origin(seed: Seed) -> str:
    made, facts = seed.facts.made, seed.facts
    begun, ended = facts.created[:10], facts.ended[:10]
    libraries = mapping(made.get("versions"))
    parts = [f"commit `{made['git'][:7]}`"] if isinstance(made.get("git"), str) else []
    parts += [begun if begun == ended else f"{begun} to {ended}"]
    parts += [f"{made[name]}" for name in ("cpu", "instructions", "gpu") if name in made]
    parts += [f"threads: {facts.config.threads}, cores: {made['cores']}"] if "cores" in made else []
    parts += [f"Python {made['python']}"] if "python" in made else []
    parts += [f"{name} {libraries[name]}" for name in sorted(libraries)]
    scored = dict.fromkeys(str(mapping(kept.record.get("made")).get("git", ""))[:7] for kept in facts.served)
    others = [f"`{git}`" for git in scored if git and not str(made.get("git", "")).startswith(git)]
    return f"Recorded: {', '.join(parts)}{'; scored with commit ' * bool(others)}{', '.join(others)}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, without the columns in which no row has anything."""
    body = [list(row) for row in rows]
    shown = [place for place in range(len(head)) if any(row[place] for row in body)]
    lines = [[one[place] for place in shown] for one in (head, ["---"] * len(head), *body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
