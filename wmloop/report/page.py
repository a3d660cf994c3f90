"""The page: one HTML file that needs nothing else, with its figures beside it as files."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wmloop import __version__
from wmloop.calibration.ends import by_bin, ends
from wmloop.calibration.windows import Promises
from wmloop.config.text import to_toml
from wmloop.report import plots
from wmloop.report.facts import STAGES, Facts, Point
from wmloop.report.probe import Layer, Probe
from wmloop.view.words import number, size, span

#: The table of the seed's figure 7 (Ha and Schmidhuber 2018, table 1): CarRacing-v0, means over 100 tracks.
_PUBLISHED = (
    ("DQN", "343 ± 18"),
    ("A3C, continuous actions", "591 ± 45"),
    ("A3C, discrete actions", "652 ± 10"),
    ("the leaderboard's best of 2018", "838 ± 11"),
    ("World Models, V alone", "632 ± 251"),
    ("World Models, V alone, with a hidden layer", "788 ± 141"),
    ("World Models, V and M", "906 ± 21"),
)
_CSS = """
:root{color-scheme:light;--ink:#1b1f24;--dim:#5b6470;--line:#d9dee4;--card:#f6f8fa}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff}
h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.15rem;margin:2em 0 .5em;border-bottom:1px solid var(--line)}
p{margin:.4em 0;max-width:46rem}.dim,figcaption{color:var(--dim);font-size:.9rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.6rem;margin:1rem 0}
.cards div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.cards b{display:block;font-size:1.35rem}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1rem}
figure{margin:.6rem 0;break-inside:avoid}figure svg,figure img{width:100%;height:auto;display:block}
figure img{image-rendering:pixelated;max-width:44rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem .2rem 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
td.n,th.n{text-align:right}tr.mine{font-weight:600}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem;overflow-x:auto;font-size:.8rem}
@media print{body{max-width:none;font-size:11pt}details{display:block}h2{break-after:avoid}}
"""


class _Page:
    """Collect a page's parts, and its figures as files."""

    def __init__(self, title: str, folder: Path) -> None:
        self._title, self._folder = title, folder
        self._parts: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, *parts: str) -> None:
        self._parts += parts

    def head(self, text: str) -> None:
        self.add(f"<h2>{_safe(text)}</h2>")

    def say(self, text: str) -> None:
        self.add(f"<p>{_safe(text)}</p>")

    def chart(self, name: str, figure: Figure, caption: str = "") -> str:
        """Write a figure as SVG and PNG; return it for the page."""
        drawn = plots.svg(figure)
        (self._folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
        figure.savefig(self._folder / f"{name}.png", dpi=160)
        return f'<figure role="img" aria-label="{_safe(caption or name)}">{drawn}{_caption(caption)}</figure>'

    def pictures(self, name: str, rows: Sequence[np.ndarray], caption: str) -> None:
        """Write rows of pictures as PNG, and put them on the page."""
        data = plots.png(plots.grid(rows))
        (self._folder / f"{name}.png").write_bytes(data)
        coded = base64.b64encode(data).decode()
        self.add(
            f'<figure><img alt="{_safe(caption)}" src="data:image/png;base64,{coded}">{_caption(caption)}</figure>'
        )

    def pair(self, *charts: str) -> None:
        self.add(f'<div class="pair">{"".join(charts)}</div>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], mine: Sequence[int] = ()) -> None:
        """Add a table; columns after the first are numbers."""
        kind = ["", *[' class="n"'] * (len(head) - 1)]
        lines = "".join(f"<th{k}>{_safe(cell)}</th>" for k, cell in zip(kind, head, strict=True))
        body = ""
        for place, row in enumerate(rows):
            cells = "".join(f"<td{k}>{_safe(cell)}</td>" for k, cell in zip(kind, row, strict=True))
            row_kind = ' class="mine"' if place in mine else ""
            body += f"<tr{row_kind}>{cells}</tr>"
        self.add(f'<div class="wide"><table><thead><tr>{lines}</tr></thead><tbody>{body}</tbody></table></div>')

    def write(self) -> Path:
        """Write the page; return where."""
        path = self._folder / "report.html"
        path.write_text(
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
            f' initial-scale=1"><link rel="icon" href="data:,"><title>{_safe(self._title)}</title><style>{_CSS}</style>'
            f"</head><body>{''.join(self._parts)}<p class=dim>wmloop {__version__}</p></body></html>\n",
            encoding="utf-8",
        )
        return path


def describe(facts: Facts, probe: Probe, iteration: int, commands: Sequence[str], folder: Path) -> Path:
    """Write the report of one run, whose agent of `iteration` `probe` looked at; return the page's path."""
    page = _Page(f"{facts.name} · wmloop", folder)
    page.add(f"<h1>{_safe(facts.name)}</h1>")
    page.say(_verdict(facts))
    page.add(_cards(facts))
    page.head("Learning")
    if len(facts.points) > 1:
        page.pair(
            page.chart("learning-frames", plots.learning(facts, "frames"), "score and promise against real frames"),
            page.chart("learning-hours", plots.learning(facts, "hours"), "the same against hours of work"),
        )
        page.pair(
            page.chart("trust", plots.trust(facts), "the dream-real gap, and M's foresight on fresh episodes"),
            page.chart("tracks", plots.tracks(facts), "the served agent, track by track") if facts.tracks else "",
        )
    if facts.points:
        page.table(_ITERATION_HEAD, [_iteration(point) for point in facts.points])
    else:
        page.say("No iteration has been evaluated yet.")
    _worlds(page, probe, iteration)
    _ends(page, probe, facts)
    page.head("Time")
    if any(map(sum, (spent.values() for spent in facts.seconds.values()))):
        page.pair(page.chart("time", plots.time(facts), "minutes of each stage in each iteration"))
        page.table(["stage", "total", "share", "an iteration", "throughput"], _times(facts))
    else:
        imported = "imported" in facts.made
        page.say(
            "This agent was imported; how long it took is not recorded."
            if imported
            else "No iteration is finished yet."
        )
    page.head("The networks")
    for name, layers in probe.networks.items():
        total = sum(layer.parameters for layer in layers)
        page.add(f"<details><summary><b>{_safe(name)}</b>: {total:,} trainable parameters</summary>")
        page.table(["layer", "kind", "output", "parameters"], [_layer(layer) for layer in layers])
        page.add("</details>")
    if facts.config.env.id.rpartition(":")[2].startswith("CarRacing-"):
        page.head("Beside others")
        page.say(
            "Mean score over tracks. The published figures are from CarRacing-v0 and from training in the real environment"
            " (Ha and Schmidhuber 2018, table 1); this run's agent was trained inside M alone."
        )
        own = _own_rows(facts)
        page.table(["system", "score"], [*_PUBLISHED, *own], mine=range(len(_PUBLISHED), len(_PUBLISHED) + 2))
    _origin(page, facts, commands)
    return page.write()


def compare(runs: Sequence[Facts], commands: Sequence[str], folder: Path) -> Path:
    """Write a page that holds several runs against each other; return its path."""
    names = " and ".join(facts.name for facts in runs)
    page = _Page(f"{names} · wmloop", folder)
    page.add(f"<h1>{_safe(names)}</h1>")
    page.table(
        ["run", "seed", "iterations", "best score", "confirmed", "worst track", "gap", "real frames", "hours"],
        [_summary(facts) for facts in runs],
    )
    page.pair(
        page.chart("together-frames", plots.together(runs, "frames"), "score against real frames"),
        page.chart("together-hours", plots.together(runs, "hours"), "score against hours of work"),
    )
    page.pair(
        page.chart("gaps", plots.gaps(runs), "the dream-real gap"),
        page.chart("spreads", plots.spreads(runs), "the served agents' scores over tracks; triangles are means"),
    )
    page.head("Settings that differ from the preset's")
    for facts in runs:
        changed = ", ".join(facts.changed) or "none"
        page.say(f"{facts.name} (preset {facts.config.preset}): {changed}")
    page.head("Made by")
    page.add(f"<pre>{_safe(chr(10).join(commands))}</pre>")
    return page.write()


def _worlds(page: _Page, probe: Probe, iteration: int) -> None:
    page.head("What V sees")
    scores = ", ".join(f"{score:.0f}" for score in probe.scores)
    page.say(
        f"The agent of iteration {iteration} drove {len(probe.scores)} fresh tracks, which nothing was trained or ranked on"
        f" (scores {scores})."
    )
    page.pictures("reconstructions", [probe.real, probe.seen], "above what was real, below what V keeps of it")
    page.head("What M expects, one decision ahead")
    page.pictures("one-step", [probe.came, probe.expected], "above what V saw next, below what M had expected")
    page.head("What M dreams, eyes closed")
    page.say(
        "From a real moment on M goes by its own pictures, and by the actions that were really taken. Columns are that many"
        f" decisions ahead: {', '.join(map(str, probe.steps))}."
    )
    for place, strip in enumerate(probe.strips):
        caption = f"track {strip.track} from decision {strip.decision}: reality, as V sees it, as M dreamt it"
        page.pictures(f"dream-{place}", [strip.real, strip.seen, strip.dreamt], caption)
    error = page.chart("ahead", plots.ahead(probe), "how far dreamt pictures are from the real ones")
    calibration = page.chart("rewards", plots.rewards(probe), "rewards a decision ahead; on the line they are kept")
    page.pair(error, calibration)


def _ends(page: _Page, probe: Probe, facts: Facts) -> None:
    page.head("Does M know when it ends?")
    page.say("What M expects before it sees what comes. Where it is calibrated, mean probability and share are alike.")
    told: list[tuple[str, Mapping[str, float]]]
    told = [(f"{len(probe.scores)} fresh tracks", ends([Promises([], [], [], ends=by_bin(*probe.done.T))]))]
    if facts.best and facts.best.ends:
        told.append((f"the evaluation of iteration {facts.best.iteration}", facts.best.ends))
    for place, figures in told:
        page.say(
            f"On {place} the environment ended {figures['ends']:.0f} episodes, the others were cut; M had expected"
            f" {figures['ends_expected']:.1f} to be ended."
        )
        head = ["M's probability of an end", "decisions", "mean probability", "share that ended"]
        page.table(head, _endings(figures))


def _endings(figures: Mapping[str, float]) -> list[list[str]]:
    rows = []
    for name, decisions in figures.items():
        if name.endswith("_decisions"):
            _, low, high, _ = name.split("_")
            expected, ended = (figures[name.replace("_decisions", part)] for part in ("_expected", "_ended"))
            rows.append([f"{low} to {high}", f"{decisions:,.0f}", f"{expected:.2%}", f"{ended:.2%}"])
    return rows


def _verdict(facts: Facts) -> str:
    best = facts.best
    if best is None:
        return "This run has not been scored yet."
    count = sum(not track.further for track in facts.tracks)
    over = f" over {count} tracks" if count else ""
    sure = f", {best.confirmed:.0f} on further ones" if math.isfinite(best.confirmed) else ""
    goal = facts.config.budget.goal
    aimed = "" if goal is None else f" The goal is {goal:g}."
    return (
        f"The agent served is that of iteration {best.iteration}: {best.score:.0f} ± {best.std:.0f}{over}{sure}.{aimed}"
    )


def _cards(facts: Facts) -> str:
    best = facts.best
    hours = sum(sum(spent.values()) for spent in facts.seconds.values()) / 3600
    cards = [
        ("best score", f"{best.score:.0f} ± {best.std:.0f}" if best else "none yet"),
        ("its worst track", _cell(best.worst) if best else ""),
        ("dream over reality", _percent(best.gap) if best else ""),
        ("iterations", f"{len(facts.points)}"),
        ("real frames collected", _count(facts.collected)),
        ("driven in evaluations", _count(facts.evaluated)),
        ("work", span(hours * 3600) if hours else "not recorded"),
        ("on the disk", size(facts.bytes)),
    ]
    return (
        f'<div class="cards">{"".join(f"<div><b>{_safe(value)}</b>{_safe(name)}</div>" for name, value in cards)}</div>'
    )


_ITERATION_HEAD = (
    "iteration", "frames", "hours", "score", "± tracks", "worst", "further", "promised", "gap", "M corr.", "M bias",
)  # fmt: skip


def _iteration(point: Point) -> list[str]:
    return [
        f"{point.iteration}", _count(point.frames), f"{point.hours:.2f}", _cell(point.score), _cell(point.std),
        _cell(point.worst), _cell(point.confirmed), _cell(point.promised), _percent(point.gap),
        f"{point.correlation:.2f}" if math.isfinite(point.correlation) else "", _percent(point.bias),
    ]  # fmt: skip


def _summary(facts: Facts) -> list[str]:
    best, last = facts.best, facts.points[-1] if facts.points else None
    if best is None or last is None:
        return [facts.name, f"{facts.config.seed}", "0", *[""] * 6]
    score = f"{best.score:.0f} ± {best.std:.0f} (iteration {best.iteration})"
    return [
        facts.name, f"{facts.config.seed}", f"{len(facts.points)}", score, _cell(best.confirmed), _cell(best.worst),
        _percent(best.gap), _count(facts.collected), f"{last.hours:.2f}",
    ]  # fmt: skip


def _times(facts: Facts) -> list[list[str]]:
    totals = {stage: sum(spent.get(stage, 0.0) for spent in facts.seconds.values()) for stage in STAGES}
    whole, count = sum(totals.values()), max(1, len(facts.seconds))
    rows = [
        [s, span(total), f"{total / whole:.0%}", span(total / count), _throughput(facts, s)]
        for s, total in totals.items()
    ]
    return [*rows, ["all", span(whole), "100%", span(whole / count), ""]]


_UNITS = {
    "rollout": "frames",
    "vision": "images",
    "memory": "sequence steps",
    "controller": "dream steps",
    "evaluate": "frames",
}


def _throughput(facts: Facts, stage: str) -> str:
    return f"{number(facts.rates[stage])} {_UNITS.get(stage, 'units')}/s" if stage in facts.rates else ""


def _layer(layer: Layer) -> list[str]:
    return [layer.name, layer.kind, layer.shape, f"{layer.parameters:,}"]


def _own_rows(facts: Facts) -> list[tuple[str, str]]:
    rows = []
    for further, label in ((False, "evaluation"), (True, "further")):
        scores = np.array([track.score for track in facts.tracks if track.further == further])
        if len(scores):
            told = f"{facts.name}, {len(scores)} {label} tracks ({facts.config.env.id})"
            rows.append((told, f"{scores.mean():.0f} ± {scores.std():.0f}"))
    return rows


def _origin(page: _Page, facts: Facts, commands: Sequence[str]) -> None:
    page.head("How to make it again")
    page.add(f"<pre>{_safe(chr(10).join(commands))}</pre>")
    made, versions = facts.made, _mapping(facts.made.get("versions"))
    told = [f"{name} {versions[name]}" for name in sorted(versions)]
    machine = [f"{made[name]}" for name in ("cpu", "gpu", "platform") if name in made]
    page.say(f"Made on {', '.join(machine) or 'a machine not recorded'}, {made.get('cores', '?')} cores, with"
             f" Python {made.get('python', '?')}, {', '.join(told) or 'versions not recorded'}.")  # fmt: skip
    if facts.parent.get("run"):
        page.say(f"Forked from {facts.parent.get('run')} after iteration {facts.parent.get('iteration')}.")
    page.say(f"Settings that differ from preset {facts.config.preset}: {', '.join(facts.changed) or 'none'}.")
    page.add(f"<details><summary>all settings</summary><pre>{_safe(to_toml(facts.config))}</pre></details>")


def _mapping(value: object) -> dict[str, object]:
    """Return a value out of a file from strangers as a mapping; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def _caption(text: str) -> str:
    return f"<figcaption>{_safe(text)}</figcaption>" if text else ""


def _safe(text: object) -> str:
    """Return a text for the page; what is not UTF-8 in it, as a path may have, becomes a question mark."""
    return html.escape(str(text)).encode(errors="replace").decode()


def _cell(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else ""


def _count(value: float) -> str:
    return number(value) if math.isfinite(value) else "not recorded"


def _percent(value: float) -> str:
    return f"{value:+.0%}" if math.isfinite(value) else ""
