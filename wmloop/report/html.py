"""An HTML page that needs nothing beside it, and no program to be read."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from wmloop import __version__
from wmloop.config.text import toml_value
from wmloop.report import drawing, pictures
from wmloop.view.words import number

_CSS = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#59626d;--line:#d9dee4;--card:#f6f8fa;--page:#fff;--link:#0a5cad;LIGHT}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--dim:#9aa4af;--line:#343b44;--card:#1a2027;--page:#10151a;
--link:#7cb8f5;DARK}}
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{margin:0 auto;max-width:64rem;padding:1rem;font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--page);
overflow-wrap:break-word}
a{color:var(--link)}h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}
h2{font-size:1.25rem;margin:2.2em 0 .5em;padding-bottom:.2em;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.4em 0 .3em}p{margin:.5em 0;max-width:46rem}
.dim,figcaption{color:var(--dim);font-size:.9rem}.lead{font-size:1.1rem}
nav{font-size:.9rem;margin:1rem 0}nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;margin:0;padding:0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.8rem,1fr));gap:.6rem;margin:1rem 0}
.cards div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem;font-size:.9rem;
color:var(--dim)}
.cards b{display:block;font-size:1.25rem;color:var(--ink)}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1rem}.pair>*{min-width:0}
figure{margin:.6rem 0;break-inside:avoid}figure svg,figure img{width:100%;height:auto;display:block}
figure img{image-rendering:pixelated;max-width:44rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.4rem 0}
th,td{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--dim);font-weight:600}td.n,th.n{text-align:right}tr.mine{font-weight:600}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.3rem 1rem;font-size:.95rem;margin:.6rem 0}
dt{font-weight:600}dd{margin:0}@media (max-width:36rem){dl{grid-template-columns:1fr}dd{margin:0 0 .4rem}}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem;overflow-x:auto;font-size:.8rem}
code{font-size:.9em}details{margin:.5rem 0}summary{cursor:pointer}
footer{margin-top:3rem;border-top:1px solid var(--line)}
@media print{body{max-width:none;font-size:11pt}nav{display:none}h2{break-after:avoid}}
"""
_ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"


class Page:
    """Collect a page's parts."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self._head: list[str] = []
        self._sections: dict[str, str] = {}

    def add(self, *parts: str) -> None:
        """Add HTML."""
        self._parts += parts

    def front(self) -> None:
        """End what stands above the table of contents."""
        self._head, self._parts = self._parts, []

    def head(self, text: str) -> None:
        """Begin a section."""
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        name = stem if stem not in self._sections else f"{stem}-{len(self._sections)}"
        self._sections[name] = text
        self.add(f'<h2 id="{name}">{safe(text)}</h2>')

    def subhead(self, text: str) -> None:
        """Begin a part of a section."""
        self.add(f"<h3>{safe(text)}</h3>")

    def say(self, text: str, kind: str = "") -> None:
        """Add a paragraph; what stands between backquotes is code."""
        said = f' class="{kind}"' if kind else ""
        self.add(f"<p{said}>{coded(text)}</p>")

    def cards(self, cards: Mapping[str, str]) -> None:
        """Add figures, each large above its name; those that are empty are left out."""
        told = "".join(f"<div><b>{safe(value)}</b>{safe(name)}</div>" for name, value in cards.items() if value)
        self.add(f'<div class="cards">{told}</div>')

    def terms(self, terms: Mapping[str, str]) -> None:
        """Add words and what they mean."""
        self.add(f"<dl>{''.join(f'<dt>{safe(name)}</dt><dd>{coded(text)}</dd>' for name, text in terms.items())}</dl>")

    def lines(self, lines: Sequence[str]) -> None:
        """Add commands, or other lines as they are."""
        self.add(f'<pre tabindex="0">{safe(chr(10).join(lines))}\n</pre>')

    def pair(self, *charts: str) -> None:
        """Put charts beside each other."""
        self.add(f'<div class="pair">{"".join(charts)}</div>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], mine: Sequence[int] = ()) -> None:
        """Add a table, without the columns in which no row has anything; columns after the first are numbers."""
        body = [list(row) for row in rows]
        shown = [place for place in range(len(head)) if place == 0 or any(row[place] for row in body)]

        def line(cells: Sequence[str], tag: str, kind: str = "") -> str:
            told = (f"<{tag}{' class=n' if place else ''}>{safe(cells[place])}</{tag}>" for place in shown)
            return f"<tr{kind}>{''.join(told)}</tr>"

        lines = "".join(line(row, "td", " class=mine" if place in mine else "") for place, row in enumerate(body))
        self.add(
            f'<div class="wide" tabindex="0"><table><thead>{line(head, "th")}</thead><tbody>{lines}</tbody></table></div>'
        )

    def text(self) -> bytes:
        """Return the page, as UTF-8."""
        style = _CSS.replace("LIGHT", drawing.colours(dark=False)).replace("DARK", drawing.colours(dark=True))
        links = "".join(f'<li><a href="#{name}">{safe(text)}</a></li>' for name, text in self._sections.items())
        contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(self._sections) > 1 else ""
        return (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<link rel="icon" href="{_ICON}"><title>{safe(self._title)}</title><style>{style}</style></head><body>'
            f"<header>{''.join(self._head)}</header>{contents}<main>{''.join(self._parts)}</main>"
            f"<footer><p class=dim>wmloop {__version__}</p></footer></body></html>\n"
        ).encode()


def chart(figure: Figure, caption: str) -> str:
    """Return a figure for the page."""
    return f'<figure role="img" aria-label="{safe(caption)}">{drawing.svg(figure)}{figcaption(caption)}</figure>'


def still(rows: Sequence[np.ndarray], caption: str) -> str:
    """Return rows of pictures (N, H, W, 3) for the page."""
    address = pictures.png(pictures.grid(rows))
    return f'<figure><img alt="{safe(caption)}" src="{address}">{figcaption(caption)}</figure>'


def film(films: Sequence[np.ndarray], milliseconds: int, caption: str) -> str:
    """Return films (T, H, W, 3) beside each other for the page; who asks for less motion sees their middle, at rest."""
    moving = pictures.webp(films, milliseconds)
    middle = pictures.png(pictures.grid([np.stack([film[len(film) // 2] for film in films])]))
    return (
        f'<figure><picture><source media="(prefers-reduced-motion: reduce)" srcset="{middle}">'
        f'<img alt="{safe(caption)}" src="{moving}"></picture>{figcaption(caption)}</figure>'
    )


def figcaption(text: str) -> str:
    """Return what stands below a figure; nothing for no text."""
    return f"<figcaption>{coded(text)}</figcaption>" if text else ""


def safe(text: object) -> str:
    """Return a text for the page; what is not UTF-8 in it, as a path may have, becomes a question mark."""
    return html.escape(str(text)).encode(errors="replace").decode()


def setting(value: object, longest: int) -> str:
    """Return a setting's value as it is written, cut to so many characters."""
    text = "none" if value is None else toml_value(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def coded(text: str) -> str:
    """Return a text for the page, with what stands between backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", safe(text))


def cell(value: float) -> str:
    """Return a figure as a table shows it, three digits at least; nothing where it was not measured."""
    if not math.isfinite(value):
        return ""
    return f"{value:.{2 if value == 0 else max(0, 2 - _magnitude(value))}f}"


def signed(value: float, error: float = math.nan) -> str:
    """Return a difference with its sign, and its error if there is one; nothing where it was not measured."""
    return ("+" if value > 0 else "") + mean(value, error)


def mean(value: float, deviation: float) -> str:
    """Return a figure with its deviation, if there is one, to as many digits; nothing where it was not measured."""
    if not math.isfinite(value) or not math.isfinite(deviation):
        return cell(value)
    largest = max(abs(value), 10 * deviation)
    digits = 2 if largest == 0 or largest >= 1 else 2 - _magnitude(largest)
    digits = 0 if largest >= 100 else 1 if largest >= 10 else digits
    return f"{value:.{digits}f} ± {deviation:.{digits}f}"


def _magnitude(value: float) -> int:
    """Return the power of ten of a number's first digit."""
    return math.floor(math.log10(abs(value)))


def thousands(value: float) -> str:
    """Return a count with its thousands set apart; nothing for one that was not recorded, or is 0."""
    return number(value) if math.isfinite(value) and value else ""


def percent(value: float) -> str:
    """Return a share with its sign, in percent; nothing where it was not measured."""
    return f"{value:+.0%}" if math.isfinite(value) else ""
