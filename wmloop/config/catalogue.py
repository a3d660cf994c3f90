"""Every setting with its meaning."""

from __future__ import annotations

from typing import Any, NamedTuple

from wmloop.commands import wmloop
from wmloop.config.build import applying, build_config, kind_of
from wmloop.config.part import Part, flat, settings
from wmloop.config.presets import PRESETS, PROFILES
from wmloop.config.run import RunConfig
from wmloop.errors import UsageError, nearest


class Setting(NamedTuple):
    """One setting: its dotted name, meaning, default, the presets that set it, and the profiles that have another value.

    What a preset sets holds over the environment's profile, also where it is the default.
    """

    name: str
    meaning: str
    default: Any
    presets: dict[str, Any]


def explain(word: str | None = None, pipeline: str = RunConfig().pipeline) -> list[Setting]:
    """Return the settings of a pipeline whose dotted names hold `word`, or all; a group's stand together.

    Raises:
        UsageError: there is none (the nearest is named).
    """
    system = {"pipeline": pipeline}
    kind = kind_of([system])
    defaults, meanings = settings(kind.model_validate(system)), _meanings(kind)
    plain = {"env": {"id": "any"}}
    presets = {name: settings(build_config(name, plain, system)) for name in PRESETS if name != kind().preset}
    presets |= {name: settings(build_config("laptop", {"env": {"id": name}}, system)) for name in PROFILES.names()}
    presets = {name: values | {key: defaults[key] for key in ("preset", "env.id")} for name, values in presets.items()}
    given = {name: dict(flat(applying(layer, kind))) for name, layer in PRESETS.items()}
    # a group or a whole name first: `store` is not about `restore`
    exact = [name for name in defaults if word and (name == word or name.startswith(f"{word}."))]
    chosen = exact or [name for name in defaults if not word or word in name]
    if not chosen:
        near = nearest(word, [*map(_group, defaults), *defaults])
        raise UsageError(f"there is no setting like {word!r}{near}; all: `{wmloop('settings')}`")
    groups = list(dict.fromkeys(map(_group, chosen)))
    return [
        Setting(
            name, meanings[name], defaults[name],
            {
                preset: values[name]
                for preset, values in presets.items()
                if values[name] != defaults[name] or name in given.get(preset, ())
            },
        )
        for name in sorted(chosen, key=lambda name: groups.index(_group(name)))
    ]  # fmt: skip


def _group(name: str) -> str:
    return name.rpartition(".")[0]


def _meanings(part: type[Part], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name in part.order():
        info = part.model_fields[name]
        if isinstance(info.annotation, type) and issubclass(info.annotation, Part):
            found |= _meanings(info.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = info.description or ""
    return found
