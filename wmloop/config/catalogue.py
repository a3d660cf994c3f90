"""Every setting with its meaning."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel

from wmloop.config.build import build_config
from wmloop.config.part import settings
from wmloop.config.presets import PRESETS, PROFILES
from wmloop.config.run import RunConfig
from wmloop.errors import UsageError, nearest


class Setting(NamedTuple):
    """One setting: its dotted name, meaning, default, where other presets have another value, and what a run has."""

    name: str
    meaning: str
    default: Any
    presets: dict[str, Any]
    own: Any


def explain(word: str | None = None, run: RunConfig | None = None) -> list[Setting]:
    """Return the settings whose dotted names hold `word`, or all; `run` is whose values are told beside them.

    Raises:
        UsageError: there is none (the nearest is named).
    """
    defaults, meanings = settings(RunConfig()), _meanings(RunConfig)
    plain = {"env": {"id": "any"}}
    presets = {name: settings(build_config(name, plain)) for name in PRESETS if name != RunConfig().preset}
    presets |= {name: settings(build_config("laptop", {"env": {"id": name}})) for name in PROFILES.names()}
    presets = {name: values | {key: defaults[key] for key in ("preset", "env.id")} for name, values in presets.items()}
    own = settings(run or RunConfig())
    # a group or a whole name first: `store` is not about `restore`
    exact = [name for name in defaults if word and (name == word or name.startswith(f"{word}."))]
    chosen = exact or [name for name in defaults if not word or word in name]
    if not chosen:
        raise UsageError(f"there is no setting like {word!r}{nearest(str(word), list(defaults))}; all: `wmloop config`")
    return [
        Setting(
            name, meanings[name], defaults[name],
            {preset: values[name] for preset, values in presets.items() if values[name] != defaults[name]},
            own[name],
        )
        for name in chosen
    ]  # fmt: skip


def _meanings(part: type[BaseModel], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, info in part.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= _meanings(info.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = info.description or ""
    return found
