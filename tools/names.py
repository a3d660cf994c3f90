"""Make docs/names.md: what was renamed (python -m tools.reference)."""

from __future__ import annotations

from collections.abc import Mapping

from wmloop.legacy import COMMANDS, METRICS, OPTIONS, RETIRED, RETIRED_METRICS, SETTINGS

HEAD = """# Names of earlier days: settings, metrics, options

Runs, exported agents and settings files made before these names changed go on to work: whatever reads them goes by
the table in `wmloop/legacy.py`. A command accepts an old name with a note that says the new one, or that the setting
is gone and has no effect. Names of commands and metrics in [experiments](experiments/index.md) and
[old results](results-old.md) are those of their day. This page is made by `python -m tools.reference`.
"""


#: Metrics by their old names; those of bins by a pattern (see legacy.metrics_now).
_METRICS = {old: new for old, new in METRICS.items() if new not in RETIRED_METRICS} | {
    "done_LOW_HIGH_...": "terminated_LOW_HIGH_..."
}


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
            *_table("Metrics (also with `confirmed_` before them)", "is", _quoted(_METRICS)),
            "## Metrics that are gone\n",
            f"Runs of earlier days have {', '.join(f'`{name}`' for name in RETIRED_METRICS)} (or `saturated`). It is no longer"
            " written.\n",
            *_table("Commands and their options", "is", _quoted(options | COMMANDS)),
        ]
    )


def _quoted(names: Mapping[str, str]) -> dict[str, str]:
    return {old: f"`{new}`" for old, new in names.items()}


def _table(title: str, head: str, names: Mapping[str, str]) -> list[str]:
    rows = [f"| `{old}` | {new} |" for old, new in names.items()]
    return [f"## {title}\n", f"| was | {head} |", "|---|---|", *rows, ""]
