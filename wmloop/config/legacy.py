"""Settings as they were stored, by this program or by one of earlier days: every reader goes through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wmloop.config.build import applying, build_config, kind_of
from wmloop.config.run import RunConfig
from wmloop.legacy import settings_now

#: What runs did before there was a setting for it.
_BEFORE: dict[str, Any] = {
    "precision": "fp32",
    "vision": {"beta2": 0.999},
    "memory": {"beta2": 0.999},
    "controller": {"plateau_gamma": None},
}
#: Settings that are no more: what they did was measured and does not help (docs/experiments/2026-11-27-ends.md).
_RETIRED = {"memory": {"reward_smoothing"}}


def _without_retired(name: str, group: Any) -> Any:
    if not isinstance(group, Mapping) or name not in _RETIRED:
        return group
    return {setting: value for setting, value in group.items() if setting not in _RETIRED[name]}


def stored(table: Mapping[str, Any]) -> RunConfig:
    """Return the settings that a run or an agent was made with; what is older than a setting has what it did.

    Raises:
        UsageError: as build_config does.
    """
    table = settings_now({name: _without_retired(name, group) for name, group in table.items()})
    evaluate = table.get("evaluate")
    if isinstance(evaluate, Mapping) and evaluate.get("confirm_episodes") == 1:
        # one alone was taken once, and could never confirm a goal
        table["evaluate"] = {**evaluate, "confirm_episodes": 2}
    return build_config(str(table.get("preset", "laptop")), applying(_BEFORE, kind_of([table])), table)
