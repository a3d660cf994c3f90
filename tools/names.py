"""Make docs/names.md: what was renamed (python -m tools.reference)."""

from __future__ import annotations

from wmloop.legacy import METRICS, SETTINGS

HEAD = """# Names of earlier days

Runs, exported agents and settings files made before these names changed go on to work: whatever reads them goes by the table
in `wmloop/legacy.py`, and a command that is given an old name says the new one. Names of commands and figures in
[experiments](experiments/index.md) and [results](results.md) are those of their day.
This page is made by `python -m tools.reference`.
"""


def page() -> str:
    """Return the page."""
    return "\n".join(
        [HEAD, *_table("Settings", SETTINGS), "", *_table("Figures (also with `confirmed_` before them)", METRICS), ""]
    )


def _table(title: str, names: dict[str, str]) -> list[str]:
    return [f"## {title}\n", "| was | is |", "|---|---|", *(f"| `{old}` | `{new}` |" for old, new in names.items())]
