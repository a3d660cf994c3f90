"""An HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wmloop import __version__
from wmloop.report import plots
from wmloop.view.words import number

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


class Page:
    """Collect a page's parts, and its figures as files."""

    def __init__(self, title: str, folder: Path) -> None:
        self._title, self._folder = title, folder
        self._parts: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, *parts: str) -> None:
        """Add HTML."""
        self._parts += parts

    def head(self, text: str) -> None:
        """Begin a section."""
        self.add(f"<h2>{safe(text)}</h2>")

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.add(f"<p>{safe(text)}</p>")

    def chart(self, name: str, figure: Figure, caption: str = "") -> str:
        """Write a figure as SVG and PNG; return it for the page."""
        drawn = plots.svg(figure)
        (self._folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
        figure.savefig(self._folder / f"{name}.png", dpi=160)
        return f'<figure role="img" aria-label="{safe(caption or name)}">{drawn}{figcaption(caption)}</figure>'

    def pictures(self, name: str, rows: Sequence[np.ndarray], caption: str) -> None:
        """Write rows of pictures as PNG, and put them on the page."""
        data = plots.png(plots.grid(rows))
        (self._folder / f"{name}.png").write_bytes(data)
        coded = base64.b64encode(data).decode()
        self.add(
            f'<figure><img alt="{safe(caption)}" src="data:image/png;base64,{coded}">{figcaption(caption)}</figure>'
        )

    def pair(self, *charts: str) -> None:
        """Put charts beside each other."""
        self.add(f'<div class="pair">{"".join(charts)}</div>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], mine: Sequence[int] = ()) -> None:
        """Add a table; columns after the first are numbers."""
        kind = ["", *[' class="n"'] * (len(head) - 1)]
        lines = "".join(f"<th{k}>{safe(cell)}</th>" for k, cell in zip(kind, head, strict=True))
        body = ""
        for place, row in enumerate(rows):
            cells = "".join(f"<td{k}>{safe(cell)}</td>" for k, cell in zip(kind, row, strict=True))
            row_kind = ' class="mine"' if place in mine else ""
            body += f"<tr{row_kind}>{cells}</tr>"
        self.add(f'<div class="wide"><table><thead><tr>{lines}</tr></thead><tbody>{body}</tbody></table></div>')

    def write(self) -> Path:
        """Write the page; return where."""
        path = self._folder / "report.html"
        path.write_text(
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
            f' initial-scale=1"><link rel="icon" href="data:,"><title>{safe(self._title)}</title><style>{_CSS}</style>'
            f"</head><body>{''.join(self._parts)}<p class=dim>wmloop {__version__}</p></body></html>\n",
            encoding="utf-8",
        )
        return path


def figcaption(text: str) -> str:
    """Return what stands below a figure; nothing for no text."""
    return f"<figcaption>{safe(text)}</figcaption>" if text else ""


def safe(text: object) -> str:
    """Return a text for the page; what is not UTF-8 in it, as a path may have, becomes a question mark."""
    return html.escape(str(text)).encode(errors="replace").decode()


def cell(value: float) -> str:
    """Return a figure as a table shows it; nothing where it was not measured."""
    return f"{value:.0f}" if math.isfinite(value) else ""


def thousands(value: float) -> str:
    """Return a count with its thousands set apart."""
    return number(value) if math.isfinite(value) else "not recorded"


def percent(value: float) -> str:
    """Return a share with its sign, in percent; nothing where it was not measured."""
    return f"{value:+.0%}" if math.isfinite(value) else ""
