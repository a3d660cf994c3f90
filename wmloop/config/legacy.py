"""Settings as they were stored, by this program or by one of earlier days: every reader goes through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wmloop.config.build import applying, kind_of, named_now, over_defaults
from wmloop.config.run import RunConfig

#: What runs did before there was a setting for it.
_BEFORE: dict[str, Any] = {
    "precision": "fp32",
    "vision": {"beta2": 0.999},
    "memory": {"beta2": 0.999},
    "controller": {"plateau_gamma": None},
    "evolution": {"worst_fraction": 1.0},
}


def stored(table: Mapping[str, Any]) -> RunConfig:
    """Return the settings that a run or an agent was made with; what is older than a setting has what it did.

    Raises:
        UsageError: as build_config does.
    """
    kind = kind_of([table])
    table = named_now(table, kind)
    evaluate = table.get("evaluate")
    if isinstance(evaluate, Mapping) and evaluate.get("confirm_episodes") == 1:
        # one alone was taken once, and could never confirm a goal
        table["evaluate"] = {**evaluate, "confirm_episodes": 2}
    return over_defaults(kind, [applying(_BEFORE, kind), table])  # whatever presets and profiles say today
