"""Make docs/names.md: what was renamed (python -m tools.reference)."""

from __future__ import annotations

from collections.abc import Mapping

from wmloop.legacy import COMMANDS, METRICS, OPTIONS, RETIRED, RETIRED_METRICS, SETTINGS

HEAD = """# Names of earlier days

Runs, exported agents and settings files made before these names changed go on to work: whatever reads them goes by the table
in `wmloop/legacy.py`, and a command that is given an old name says the new one, or that the setting is gone. Names of
commands and figures in [experiments](experiments/index.md) and [results](results.md) are those of their day. This page is
made by `python -m tools.reference`.
"""


def page() -> str:
    """Return the page."""
    options = {
        f"{command} {old}": f"{command} {new}" for command, names in OPTIONS.items() for old, new in names.items()
    }
    return "\n".join(
        [
            HEAD,
            *_table("Settings", "is", _quoted(SETTINGS)),
            *_table("Settings that are gone", "why", RETIRED),
            *_table("Figures (also with `confirmed_` before them)", "is", _quoted(METRICS)),
            "## Figures that are gone\n",
            f"Runs of earlier days have {', '.join(f'`{name}`' for name in RETIRED_METRICS)}; it is no longer written.\n",
            *_table("Commands and their options", "is", _quoted(options | COMMANDS)),
        ]
    )


def _quoted(names: Mapping[str, str]) -> dict[str, str]:
    return {old: f"`{new}`" for old, new in names.items()}


def _table(title: str, head: str, names: Mapping[str, str]) -> list[str]:
    rows = [f"| `{old}` | {new} |" for old, new in names.items()]
    return [f"## {title}\n", f"| was | {head} |", "|---|---|", *rows, ""]
