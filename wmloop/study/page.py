"""The page of a study, in Markdown: what was compared, the table at each limit, the curves, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wmloop.study.file import Published, Row
from wmloop.study.table import Line, Table
from wmloop.study.words import one_line, plain

_UNITS = {"frames": "real frames", "minutes": "minutes"}
_HEAD = (
    "row", "seeds", "mean", "interquartile mean", "95%, these agents", "95%, other seeds", "finished", "worst", "frames",
    "evaluation frames", "minutes", "dream-real gap",
)  # fmt: skip


def page(table: Table, command: str, pictures: Mapping[str, str], data: str) -> str:
    """Return the page; `pictures` are the files of the curves by limit, `data` that of the CSV, `command` what makes it."""
    study = table.study
    parts = [
        f"# Study: {study.name}",
        study.about or f"{len(study.rows)} rows, {len(study.seeds)} seeds each.",
        _verdict(table),
        _terms(table),
    ]
    for limit, value in study.limits.items():
        parts += [
            f"## At {plain(value, comma=',')} {_UNITS[limit]}",
            _scores(table, limit),
            *_notes(table.lines(limit)),
        ]
        if limit in pictures:
            parts.append(f"![Score against {_UNITS[limit]}]({pictures[limit]})")
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
    lines = [(line.summary.iqm, line.row.name) for line in table.lines(limit) if line.summary is not None]
    if not lines:
        return told + "No row has a score yet."
    ranked = ", ".join(f"{name} {iqm:.1f}" for iqm, name in sorted(lines, reverse=True))
    return f"{told}Interquartile mean at {plain(value, comma=',')} {_UNITS[limit]}: {ranked}."


def _terms(table: Table) -> str:
    """Return what the columns mean."""
    study = table.study
    told = [
        f"Seeds {', '.join(map(str, study.seeds))}. Frames are real ones collected to learn from; those of evaluations are told"
        " beside them and count for no limit. Minutes are those of all stages, evaluations included"
        f"{_cores(table.cores)}. The agent of a row is the one that its run would have delivered at the limit: the best of the"
        f" evaluations until then. It was scored once, on the same {study.episodes} fresh episodes for every row (`wmloop eval"
        f" --seed {study.episodes_seed}`), on which nothing was trained or chosen.",
        "Interquartile mean: the mean of the middle half of all scores. Both intervals are of it, by the bootstrap: *these"
        " agents* draws episodes anew within each seed, *other seeds* draws the seeds first. Few seeds cannot show how"
        " different others may be: with three the second interval is rather too narrow.",
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
    ours = [_row(line, len(table.study.seeds)) for line in table.lines(limit)]
    return _table(_HEAD, ours + [_published(one) for one in table.study.published])


def _row(line: Line, seeds: int) -> list[str]:
    there = f"{len(line.finals)}" if len(line.finals) == seeds else f"{len(line.finals)} of {seeds}"
    summary = line.summary
    if summary is None:
        return [line.row.name, there, "not finished" if line.missing else "no agent by then", *[""] * (len(_HEAD) - 3)]
    return [
        line.row.name, there, f"{summary.mean:.1f}", f"**{summary.iqm:.1f}**", _span(summary.over_episodes),
        _span(summary.over_seeds), "" if summary.finished is None else f"{summary.finished:.0%}", f"{summary.worst:.1f}",
        _count(line.mean("frames")), _count(line.mean("evaluated")), f"{(line.mean('seconds') or 0.0) / 60:.1f}",
        "" if line.gap is None else f"{line.gap:+.1f}",
    ]  # fmt: skip


def _published(one: Published) -> list[str]:
    return [f"{one.name} (published)", "", _told(one), *["" for _ in range(5)], one.frames, "", "", ""]


def _told(one: Published) -> str:
    if one.score is None:
        return "none on this task"
    return plain(one.score, comma=",") + ("" if one.std is None else f" ± {plain(one.std, comma=',')}")


def _notes(lines: Sequence[Line]) -> list[str]:
    told = [f"{line.row.name}: {_seeds(line.missing)} not finished" for line in lines if line.missing]
    told += [f"{line.row.name}: {_seeds(line.without)} without an agent by then" for line in lines if line.without]
    return ["; ".join(told) + "."] if told else []


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
    told = [f"{table.made[name]}" for name in ("cpu", "gpu") if isinstance(table.made.get(name), str)]
    if isinstance(table.made.get("git"), str):
        told.insert(0, f"commit `{table.made['git'][:7]}`")
    return [f"Made with {', '.join(told)}."] if told else []


def _way(row: Row) -> str:
    return "" if row.command is None else f"`{row.command}`"


def _span(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, without the columns in which no row has anything."""
    shown = [place for place in range(len(head)) if any(row[place] for row in rows)]
    lines = [
        [one_line(one[place]).replace("|", "\\|") for place in shown] for one in (head, ["---"] * len(head), *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
