"""Settings laid over one another: preset, profile, file, command line."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from wmloop.config.env import EnvConfig
from wmloop.config.faults import explain_fault, name_of, reason_of, shown
from wmloop.config.part import Part, settings
from wmloop.config.presets import PRESETS, profile
from wmloop.config.run import RunConfig
from wmloop.errors import RenamedWarning, UsageError, nearest
from wmloop.legacy import SUPERSEDED, settings_now
from wmloop.pipelines import PIPELINES, get


def build_config(preset: str, *layers: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of `preset` with each layer of nested settings laid over it in turn.

    Below the preset lies the profile of the environment that the layers name, where there is one (see presets). Of both,
    the pipeline that the layers name takes the groups that it has. Where a setting is given by a name of earlier days, a
    RenamedWarning tells the new one, or that it is gone.

    Raises:
        UsageError: an unknown preset, pipeline or key (the nearest is named), or a value that does not fit its field, or
            that only stored runs have.
    """
    kind = kind_of(layers)
    layers = tuple(_named_now(layer, kind) for layer in layers)
    for layer in layers:
        _refuse_superseded(layer)
    return lay_over(preset, layers)


def lay_over(preset: str, layers: Sequence[Mapping[str, Any]]) -> RunConfig:
    """Return the configuration as `build_config` does, of layers under the names of today: values of stored runs fit, too."""
    kind = kind_of(layers)
    for name in (preset, *(layer["preset"] for layer in layers if "preset" in layer)):
        if not isinstance(name, str) or name not in PRESETS:
            near = nearest(name, list(PRESETS))
            raise UsageError(f"unknown preset {shown(name)}{near}: one of {', '.join(PRESETS)}")
    return over_defaults(kind, [_profile(layers, kind), applying(PRESETS[preset], kind), *layers, {"preset": preset}])


def over_defaults(kind: type[RunConfig], layers: Sequence[Mapping[str, Any]]) -> RunConfig:
    """Return the defaults of a kind of run with each layer laid over them in turn; raises UsageError as `build_config` does."""
    merged = kind().model_dump()
    for layer in layers:
        merged = overlay(merged, layer)
    return _validate(merged, kind)


def kind_of(layers: Sequence[Mapping[str, Any]]) -> type[RunConfig]:
    """Return the settings of the pipeline that layers of settings name, the last of them first.

    Raises:
        UsageError: there is no such pipeline, or its settings are none.
    """
    named = [layer["pipeline"] for layer in layers if isinstance(layer.get("pipeline"), str)]
    pipeline = get(named[-1] if named else RunConfig().pipeline)
    kind = pipeline.resolve("settings")
    if not (isinstance(kind, type) and issubclass(kind, RunConfig)):
        raise UsageError(f"the settings of the pipeline {pipeline.name!r} are no subclass of RunConfig: {kind!r}")
    return kind


def applying(layer: Mapping[str, Any], kind: type[RunConfig]) -> dict[str, Any]:
    """Return what of a layer of wmloop's own a kind of run has: such a layer holds groups and settings of several pipelines.

    A group of another's pipeline that has the name of one of ours is not ours, and none of its settings are meant. Groups
    of one name that two of ours have may differ, too: each takes the settings that it has.
    """
    ours = {name: value for name, value in layer.items() if name in kind.model_fields and _is_ours(name, kind)}
    return {name: _had(value, name, kind) for name, value in ours.items()}


def _had(group: Any, name: str, kind: type[RunConfig]) -> Any:
    """Drop of a group's values those that a kind of run has not, and another of our pipelines has; unknown names stay."""
    if not isinstance(group, Mapping):
        return group
    there = {known: _fields(known, name) for known in (kind, *_kinds(PIPELINES.own))}
    others = set().union(*there.values()) - there[kind]
    return {key: value for key, value in group.items() if key not in others}


def _fields(kind: type[RunConfig], name: str) -> set[str]:
    """Return the names of the settings in a group of a kind of run; none where it has no such group."""
    part = kind.model_fields[name].annotation if name in kind.model_fields else None
    return set(part.model_fields) if isinstance(part, type) and issubclass(part, Part) else set()


def _is_ours(name: str, kind: type[RunConfig]) -> bool:
    """Tell whether a setting or group of a kind of run is that of one of wmloop's own pipelines, or made of it."""
    own = kind.model_fields[name].annotation
    ours = [known.model_fields[name].annotation for known in _kinds(PIPELINES.own) if name in known.model_fields]
    return own in ours or any(isinstance(c, type) and isinstance(own, type) and issubclass(own, c) for c in ours)


def _kinds(pipelines: Iterable[str]) -> Iterator[type[RunConfig]]:
    """Yield the settings of those of `pipelines` that can be imported."""
    for name in pipelines:
        with contextlib.suppress(UsageError):
            yield kind_of([{"pipeline": name}])


def _profile(layers: Sequence[Mapping[str, Any]], kind: type[RunConfig]) -> dict[str, Any]:
    """Return what the profile of the environment that layers name holds for a kind of run.

    A package's profile means the pipelines that it was written for: their groups are known by name.

    Raises:
        UsageError: it holds what is no setting or no pipeline's group, or does not fit; the message says where.
    """
    environment = _environment(layers)
    told = profile(environment)
    if told is None:
        return {}
    known = {name: value for name, value in told.settings.items() if name in kind.model_fields}
    layer = applying(known, kind) if told.own else known
    try:
        _require_groups(told.settings, kind)
        _validate(overlay(kind().model_dump(), layer), kind)
    except UsageError as error:
        raise UsageError(f"the profile of {environment!r} in {told.origin}: {error}") from None
    return layer


def _require_groups(layer: Mapping[str, Any], kind: type[RunConfig]) -> None:
    """Refuse a layer with a group that neither a kind of run has nor any pipeline that is installed here.

    Raises:
        UsageError: it has one; the nearest is named, and all that there are.
    """
    known = list(kind.model_fields)
    for pipelines in (PIPELINES.own.keys, PIPELINES.names):  # packages are looked through only where it is needed
        if set(layer) <= set(known):
            return
        known = list(dict.fromkeys([*known, *(name for other in _kinds(pipelines()) for name in other.model_fields)]))
    for name in layer:
        if name not in known:
            raise UsageError(f"unknown group {name!r}{nearest(name, known)}: it takes {', '.join(known)}")


def _environment(layers: Sequence[Mapping[str, Any]]) -> str:
    named = [layer["env"]["id"] for layer in layers if isinstance(layer.get("env"), Mapping) and "id" in layer["env"]]
    return str(named[-1]) if named else EnvConfig().id


def with_settings(config: RunConfig, layer: Mapping[str, Any]) -> RunConfig:
    """Return a copy of `config` with nested settings laid over it; raises UsageError as `build_config` does.

    What `config` has is not refused.
    """
    layer = _named_now(layer, type(config))
    _refuse_superseded(layer, settings(config))
    return _validate(overlay(config.model_dump(), layer), type(config))


def of_pipeline(config: RunConfig, pipeline: str) -> RunConfig:
    """Return settings for another pipeline: the groups that both have, and all else as a new run of that preset has it.

    Raises:
        UsageError: there is no such pipeline.
    """
    kept = common_groups(config, kind_of([{"pipeline": pipeline}]))
    return with_kwargs(
        lay_over(config.preset, [config.model_dump(include=kept), {"pipeline": pipeline}]), config.env.kwargs
    )


def with_kwargs(config: RunConfig, kwargs: Mapping[str, Any]) -> RunConfig:
    """Return settings whose environment is made with just these keyword arguments, and none of a profile."""
    return _validate({**config.model_dump(), "env": {**config.env.model_dump(), "kwargs": dict(kwargs)}}, type(config))


def common_groups(config: RunConfig, kind: type[RunConfig]) -> set[str]:
    """Return the names of the settings and groups that another kind of run has just like this one."""
    own = type(config).model_fields
    return {
        name for name, field in kind.model_fields.items() if name in own and field.annotation == own[name].annotation
    }


def _refuse_superseded(layer: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> None:
    """Refuse values that only stored runs have; but those that `own` settings have, by dotted name."""
    for name, replaced in SUPERSEDED.items():
        group, _, key = name.rpartition(".")
        given = layer.get(group)
        value = given.get(key) if isinstance(given, Mapping) else None
        if isinstance(value, str) and value in replaced and value != (own or {}).get(name):
            raise UsageError(
                f"setting {name!r} does not accept {shown(value)} in a new run: it takes {shown(replaced[value])}, which"
                " replaced it. Runs that have it can be resumed, and their agents played"
            )


def _named_now(layer: Mapping[str, Any], kind: type[RunConfig]) -> dict[str, Any]:
    """Return nested settings under the names of today, without those that are gone; warn of both."""

    def tell(line: str) -> None:
        warnings.warn(line, RenamedWarning, stacklevel=4)

    return named_now(layer, kind, tell)


def named_now(
    layer: Mapping[str, Any], kind: type[RunConfig], tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Return nested settings under the names of today; a package's group with the name of one of ours stays as it is."""
    theirs = {name: value for name, value in layer.items() if name in kind.model_fields and not _is_ours(name, kind)}
    return settings_now({name: value for name, value in layer.items() if name not in theirs}, tell) | theirs


#: What decides no result, and so may change whenever a run is taken up again.
FREE = ("env.engine", "env.worker_timeout", "vision.frame_cache")
#: What decides which settings there are, and what they start from.
BASIS = ("pipeline", "env.id")
#: What belongs to the machine that a run goes on upon: it may change, too, but numbers are no longer the same to the bit.
_MACHINE = ("device", "threads", "precision", "env.num_envs")


def changed_settings(old: RunConfig, new: RunConfig) -> list[str]:
    """Return the dotted names of settings outside `budget` and `store` that differ."""
    before, after = settings(old), settings(new)
    return [name for name in after if before[name] != after[name] and not name.startswith(("budget.", "store."))]


def beside_preset(config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return a run's settings by name, each with what its preset has, on the profile of the run's environment.

    Of the pipeline and the environment themselves these are the defaults: no preset says them.
    """
    plain = settings(build_config(config.preset, {"pipeline": config.pipeline, "env": {"id": config.env.id}}))
    plain |= {name: settings(RunConfig())[name] for name in BASIS}
    return {name: (value, plain.get(name)) for name, value in settings(config).items()}


def preset_of(config: RunConfig) -> str:
    """Return in words what a run's settings start from: its preset, and the profile of its environment if there is one."""
    has = "" if profile(config.env.id) is None else f" and the profile of {config.env.id.rpartition(':')[2]}"
    return f"preset {config.preset}{has}"


def changed_on_resume(old: RunConfig, new: RunConfig) -> tuple[list[str], list[str]]:
    """Return the names of settings that differ: those that a resume may not change, and those that change bits."""
    changed = [name for name in changed_settings(old, new) if name not in FREE]
    return [name for name in changed if name not in _MACHINE], [name for name in changed if name in _MACHINE]


def overlay(base: Mapping[str, Any], layer: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested settings with `layer` laid over `base`; raises UsageError where a value is to take a group's place."""
    result = dict(base)
    for key, value in layer.items():
        old, name = result.get(key), f"{path}{key}"
        if not isinstance(old, Mapping):
            result[key] = value
        elif isinstance(value, Mapping):
            result[key] = overlay(old, value, f"{name}.")
        else:
            example = f"{name}.{next(iter(old), 'name')}"
            raise UsageError(f"{name!r} is a group of settings, not {shown(value)}: set one of them, such as {example}")
    return result


def _validate(merged: Mapping[str, Any], kind: type[RunConfig]) -> RunConfig:
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        told: dict[str, str] = {}  # the first reason for each: a value that may be of two kinds has two
        for fault in error.errors(include_url=False):
            name, reason = name_of(fault["loc"], kind), reason_of(fault)
            told[name] = told.get(name) or reason
        raise UsageError(
            "; ".join(explain_fault(name, reason, merged, kind) for name, reason in told.items())
        ) from None
