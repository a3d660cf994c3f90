"""Make docs/names.md: what was renamed.

python tools/names.py > docs/names.md
"""

from __future__ import annotations

from wmloop.legacy import COMMANDS, METRICS, OPTIONS, SETTINGS

HEAD = """# Names of earlier days

Runs, exported agents and settings files made before these names changed go on to work: whatever reads them goes by the table
in `wmloop/legacy.py`, and a command that is given an old name says the new one. Names of commands and figures in
[experiments](experiments.md) and [results](results.md) are those of their day. This page is made by `python tools/names.py`.
"""


def page() -> str:
    """Return the page."""
    options = {
        f"{command} {old}": f"{command} {new}" for command, names in OPTIONS.items() for old, new in names.items()
    }
    tables = {
        "Settings": SETTINGS,
        "Figures (also with `confirmed_` before them)": METRICS,
        "Commands and their options": options | COMMANDS,
    }
    return "\n".join([HEAD, *(line for title, names in tables.items() for line in [*_table(title, names), ""])])


def _table(title: str, names: dict[str, str]) -> list[str]:
    return [f"## {title}\n", "| was | is |", "|---|---|", *(f"| `{old}` | `{new}` |" for old, new in names.items())]


if __name__ == "__main__":
    print(page(), end="")
