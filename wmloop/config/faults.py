"""What is wrong with a setting, in words."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from wmloop.commands import wmloop
from wmloop.config.part import LARGEST, LEAST, MOST, Part, settings
from wmloop.config.run import RunConfig
from wmloop.errors import nearest

#: Characters of a value that a message shows.
_SHOWN = 80


def name_of(place: Sequence[int | str], kind: type[RunConfig]) -> str:
    """Return the setting of a `kind` of run that a fault's place lies in; what is not known is named as it is."""
    parts, known = [str(part) for part in place], settings(kind())
    return next((name for i in range(len(parts)) if (name := ".".join(parts[: i + 1])) in known), ".".join(parts))


def reason_of(fault: Any) -> str:
    """Return what is wrong with a value, in our own words, or nothing where it is enough to say what would fit."""
    match fault["type"], fault.get("ctx", {}):
        case "value_error", {"error": error}:
            return str(error)
        case "finite_number", _:
            return "it has to be finite"
        case (("less_than_equal" | "greater_than_equal"), {"le": limit} | {"ge": limit}) if abs(limit) in (
            MOST,
            LARGEST,
        ):
            return f"numbers go up to {limit:,}" if limit == MOST else f"numbers go from {-LARGEST:g} to {LARGEST:g}"
    return ""


def explain_fault(name: str, reason: str, merged: Mapping[str, Any], kind: type[RunConfig]) -> str:
    """Return what to tell of a setting that does not fit, among all of a `kind` of run as they were given."""
    if "." in name and name in merged:
        group, key = name.split(".", 1)
        return (
            f"{name!r} is one name here, and a group with a setting in it is meant: write {name} without quotes in a file,"
            f' and {{"{group}": {{"{key}": ...}}}} in Python'
        )
    part: Any = kind
    value: Any = merged
    schema: dict[str, Any] = {}
    for key in name.split("."):
        if not (isinstance(part, type) and issubclass(part, Part) and key in part.model_fields):
            near = nearest(name, [*settings(kind()), *kind.order()])
            own = merged.get("pipeline")
            if own in (None, RunConfig().pipeline):
                return f"unknown setting {name!r}{near}; see `{wmloop('settings')}`"
            return (
                f"unknown setting {name!r} in the pipeline {own}{near}; see `{wmloop('settings', '--pipeline', own)}`"
            )
        schema, value = _properties(part)[key], value[key]
        part = part.model_fields[key].annotation
    return f"setting {name!r} does not accept {shown(value)}: {reason or f'it takes {_fitting(schema)}'}"


@functools.cache
def _properties(part: type[Part]) -> dict[str, Any]:
    """Return the JSON schemas of a part's settings by name."""
    properties: dict[str, Any] = part.model_json_schema()["properties"]
    return properties


def _fitting(schema: Mapping[str, Any], many: bool = False) -> str:
    """Return in words which values a field takes, from its JSON schema; of `many` of them in the plural."""
    article, ending = ("", "s") if many else ("a ", "")
    match schema:
        case {"anyOf": choices}:
            return " or ".join(_fitting(choice, many) for choice in choices)
        case {"enum": words}:
            return f"one of {', '.join(map(str, words))}"
        case {"const": word}:
            return str(word)
        case {"type": "integer" | "number" as kind}:
            noun = "whole number" if kind == "integer" else "number"
            return f"{article}{noun}{ending} {_bounds(schema)}".rstrip()
        case {"type": "array", "prefixItems": [first, *rest]}:
            return f"{article}list{ending} of {1 + len(rest)} {_fitting(first, True)}"
        case {"type": "array", "items": item}:
            some = "one or more " if schema.get("minItems") else ""
            return f"{article}list{ending} of {some}{_fitting(item, True)}"
        case {"type": "object"}:
            return "names with a number, a text, true or false (for other values register an environment that passes them on)"
        case {"type": "null"}:
            return "none"
    return f"{article}text{ending}"


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = (
        None if abs(schema.get(key, MOST)) in (MOST, LARGEST) else schema[key] for key in ("minimum", "maximum")
    )
    if low is not None and high is not None:
        return f"from {low:,} to {high:,}"
    words = [
        "" if low is None else "above 0" if low == LEAST else f"of at least {low:,}",
        f"above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else "",
        f"below {schema['exclusiveMaximum']:,}" if "exclusiveMaximum" in schema else "",
        f"at most {high:,}" if high is not None else "",
    ]
    return " and ".join(word for word in words if word)


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, not too long, and as TOML would have it rather than Python."""
    text = "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
