"""The page of a study, in Markdown: what was compared, the table at each limit, the curves, and how to make it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from wmloop.study.file import Published, Row, Study
from wmloop.study.table import Difference, Line, Table
from wmloop.study.words import one_line, plain

_UNITS = {"frames": "real frame", "minutes": "minute"}
#: What a commit ends with where the checkout's files differed from it.
_CHANGED = "+changes"
_HEAD = (
    "row", "seeds", "mean", "interquartile mean", "95%, these agents", "95%, other seeds", "difference", "finished", "worst",
    "frames", "evaluation frames", "minutes", "dream-real gap",
)  # fmt: skip


def page(table: Table, command: str, pictures: Mapping[str, str], data: str) -> str:
    """Return the page.

    `pictures` are the files of the curves by what they are drawn against, `data` that of the CSV, `command` what makes it.
    """
    study = table.study
    parts = [
        f"# Study: {study.name}",
        study.about or f"{len(study.rows)} rows, {len(study.seeds)} seeds each.",
        _verdict(table),
        _terms(table),
    ]
    for limit, value in study.limits.items():
        parts += [
            f"## At {_amount(limit, value)}",
            _scores(table, limit),
            *_notes(table.lines(limit)),
        ]
        parts += _curves(limit, pictures)
    parts += [curve for name in pictures if name not in study.limits for curve in _curves(name, pictures)]
    parts += ["## Rows", _table(("row", "what it is"), [[row.name, row.about or _way(row)] for row in study.rows])]
    if study.published:
        parts += ["## Published rows", _sources(study.published)]
    parts += [
        "## Command",
        f"```text\n{command}\n```",
        f"All figures, those of each seed too: [{data}]({data}).",
        *_made(table),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(table: Table) -> str:
    """Return what came of it in a sentence or two."""
    total = len(table.study.rows) * len(table.study.seeds)
    told = "" if table.done == total else f"Not finished: {table.done} of {total} runs are done. "
    limit, value = next(iter(table.study.limits.items()))
    ranked = [_ranked(lines, table.study) for lines in table.tasks(limit)]
    if not any(ranked):
        return told + "No row has a score yet."
    return f"{told}Interquartile mean at {_amount(limit, value)}: {'; '.join(filter(None, ranked))}."


def _ranked(lines: Sequence[Line], study: Study) -> str:
    """Return the rows of one task with their interquartile means, the best first."""
    digits = _digits(lines)
    scored = [(line.summary.iqm, line) for line in lines if line.summary is not None]
    ranked = sorted(scored, key=lambda one: one[0], reverse=True)
    return ", ".join(f"{line.row.name} {_score(iqm, digits)}{_part(line, study)}" for iqm, line in ranked)


def _digits(lines: Sequence[Line]) -> int:
    """Return with how many decimals the scores of one task are told: three digits of what lies between them, at least one."""
    scores = [score for line in lines for seed in line.scores for score in seed]
    apart = max(scores, default=0.0) - min(scores, default=0.0) or max(map(abs, scores), default=0.0)
    return min(6, max(1, 2 - math.floor(math.log10(apart)))) if apart else 1


def _part(line: Line, study: Study) -> str:
    """Return of which part of the seeds a row's figures are, nothing where it is all."""
    seeds = len(study.seeds)
    return f" ({_there(line, seeds)} seeds)" if len(line.finals) < seeds else ""


def _terms(table: Table) -> str:
    """Return what the columns mean."""
    study = table.study
    programs = " (what other programs do, wmloop cannot tell)" if any(row.command for row in study.rows) else ""
    told = [
        f"Seeds {', '.join(map(str, study.seeds))}. Frames are real ones collected to learn from; those of evaluations"
        " have a column of their own and do not count towards a limit. Minutes are those of all stages, evaluations included"
        f"{_cores(table.cores)}. Frames and minutes are what a run had used at its last evaluation within the limit. Its agent"
        " is the best by the evaluations until then, less their standard error, so it may come from an earlier one."
        f" It was scored once, on the same {study.episodes} fresh episodes for every row (`wmloop eval --seed"
        f" {study.episodes_seed}`), which nothing in a run was trained on or chosen by{programs}.",
        "Interquartile mean: the mean of the middle half of all scores, those of all seeds and episodes together. An agent that"
        " fails in a few episodes loses little of it: see the mean and the worst, too. Its intervals are by the bootstrap:"
        " *these agents* draws the episodes anew, *other seeds* the seeds, too. Few seeds cannot show how different others may"
        " be: with three the second interval is rather too narrow."
        " *Difference*: the interquartile mean less that of the first row of the same task, and its interval for other seeds,"
        " on the same episodes for both. With three seeds an interval that just leaves zero out decides nothing: see each"
        " seed's mean, in the CSV's rows of kind `final`. *Dream-real gap*: predicted minus real return in points, from the"
        " seed with the least to that with the most. Both returns leave out what dreams do not have, and are scaled to an"
        " episode, so either may be above every score.",
    ]
    if study.finished is not None:
        told.append(f"Finished: the part of the episodes with a score above {plain(study.finished, comma=',')}.")
    return "\n\n".join(told)


def _cores(counts: Sequence[int]) -> str:
    """Return on how many cores a run was trained, as far as its runs tell."""
    if not counts:
        return ""
    if len(counts) == 1:
        return f", on {counts[0]} {'core' if counts[0] == 1 else 'cores'} a run"
    return f", on {counts[0]} to {counts[-1]} cores a run: those of different runs cannot be compared"


def _scores(table: Table, limit: str) -> str:
    digits = {line.row.name: _digits(lines) for lines in table.tasks(limit) for line in lines}
    ours = [_row(line, len(table.study.seeds), digits[line.row.name]) for line in table.lines(limit)]
    return _table(_HEAD, ours + [_published(one) for one in table.study.published])


def _row(line: Line, seeds: int, digits: int) -> list[str]:
    summary = line.summary
    if summary is None:
        there = _there(line, seeds)
        return [line.row.name, there, "not finished" if line.missing else "no agent by then", *[""] * (len(_HEAD) - 3)]
    return [
        line.row.name, _there(line, seeds), _score(summary.mean, digits), f"**{_score(summary.iqm, digits)}**",
        _span(summary.over_episodes, digits), _span(summary.over_seeds, digits), _apart(line.difference, digits),
        "" if summary.finished is None else f"{summary.finished:.0%}", _score(summary.worst, digits),
        _count(line.mean("frames")), _count(line.mean("evaluated")), f"{(line.mean('seconds') or 0.0) / 60:.1f}",
        _gap(line.gaps, digits),
    ]  # fmt: skip


def _there(line: Line, seeds: int) -> str:
    """Return of how many seeds there is an agent."""
    return f"{len(line.finals)}" if len(line.finals) == seeds else f"{len(line.finals)} of {seeds}"


def _score(value: float, digits: int, sign: str = "") -> str:
    """Return a score with so many decimals; no zero has a minus."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def _apart(difference: Difference | None, digits: int) -> str:
    if difference is None:
        return ""
    value, low, high = (_score(one, digits, "+") for one in difference[1:])
    return f"{value} ({low} to {high})"


def _gap(gaps: Sequence[float], digits: int) -> str:
    """Return the gap, from that of the seed with the least to that of the one with the most."""
    return " to ".join(dict.fromkeys(_score(gap, digits, "+") for gap in (min(gaps), max(gaps)))) if gaps else ""


def _published(one: Published) -> list[str]:
    return [f"{one.name} (published)", "", _told(one), *["" for _ in range(6)], one.frames, "", "", ""]


def _told(one: Published) -> str:
    if one.score is None:
        return "none on this task"
    return plain(one.score, comma=",") + ("" if one.std is None else f" ± {plain(one.std, comma=',')}")


def _notes(lines: Sequence[Line]) -> list[str]:
    told = [f"{line.row.name}: {_seeds(line.missing)} not finished" for line in lines if line.missing]
    told += [f"{line.row.name}: {_seeds(line.without)} without an agent by then" for line in lines if line.without]
    if elsewhere := [line.row.name for line in lines if line.elsewhere]:
        told.append(
            f"on another model of processor or GPU than the first row, so without a difference: {', '.join(elsewhere)}"
        )
    return ["; ".join(told) + "."] if told else []


def _curves(against: str, pictures: Mapping[str, str]) -> list[str]:
    return [f"![Score against {_UNITS[against]}s]({pictures[against]})"] if against in pictures else []


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _sources(rows: Sequence[Published]) -> str:
    head = ("system", "score", "episodes", "frames", "source", "what differs")
    body = []
    for one in rows:
        count = "" if one.episodes is None else f"{one.episodes}"
        body.append([one.name, _told(one), count, one.frames, one.source, one.differs])
    return _table(head, body)


def _made(table: Table) -> list[str]:
    commits = table.made("git")
    made = [f"`{_short(name)}`{_of(table, runs) if len(commits) > 1 else ''}" for name, runs in commits.items()]
    told = [f"commit{'s' * (len(commits) > 1)} {', '.join(made)}"] if commits else []
    models = table.made("cpu_model")
    differ = bool(models) and (len(models) > 1 or sum(map(len, models.values())) < table.done)
    told += [*table.made("cpu"), *(f"{name}{_of(table, runs) if differ else ''}" for name, runs in models.items())]
    told += table.made("gpu")
    terms = " In brackets the rows, and the seeds where not all of a row are meant." * (len(commits) > 1)
    terms += " Compare minutes of one model of processor alone: one may be twice as fast as another." * differ
    terms += " `+changes`: files differed from that commit." * any(name.endswith(_CHANGED) for name in commits)
    return [f"Made with {'; '.join(told)}.{terms}"] if told else []


def _short(commit: str) -> str:
    """Return the first digits of a commit, and whether files differed from it."""
    return f"{commit[:7]}{_CHANGED * commit.endswith(_CHANGED)}"


def _of(table: Table, runs: Sequence[tuple[str, int]]) -> str:
    """Return in brackets which runs these are: a row, or some of its seeds."""
    seeds: dict[str, list[int]] = {}
    for row, seed in runs:
        seeds.setdefault(row, []).append(seed)
    whole = len(table.study.seeds)
    return f" ({', '.join(row if len(some) == whole else ' '.join(map(str, (row, *some))) for row, some in seeds.items())})"


def _way(row: Row) -> str:
    return "" if row.command is None else f"`{row.command}`"


def _amount(limit: str, value: float) -> str:
    return f"{plain(value, comma=',')} {_UNITS[limit]}{'s' * (value != 1)}"


def _span(bounds: tuple[float, float] | None, digits: int) -> str:
    return "" if bounds is None else " to ".join(_score(bound, digits) for bound in bounds)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, without the columns in which no row has anything."""
    shown = [place for place in range(len(head)) if any(row[place] for row in rows)]
    lines = [
        [one_line(one[place]).replace("|", "\\|") for place in shown] for one in (head, ["---"] * len(head), *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
