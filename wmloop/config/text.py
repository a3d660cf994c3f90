"""Settings as text: TOML, and `name=value` on a command line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from wmloop.config.part import Part
from wmloop.config.run import RunConfig
from wmloop.errors import UsageError

#: As deep as settings may be nested; none of wmloop's is deeper than four, an environment's own may be.
_DEEPEST = 50
#: Bits of the largest number: Python writes no more than 4,300 decimal digits, some 14,000 bits.
_MOST_BITS = 10_000


def parse_setting(text: str) -> dict[str, Any]:
    """Turn `memory.hidden_size=512` into nested settings; the value is read as TOML, else as a plain word.

    Raises:
        UsageError: there is no `=` or no name.
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise UsageError(
            f"cannot read the setting {text!r}: write it as name=value, for example memory.hidden_size=512"
        )
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # no TOML, or more digits or brackets than Python reads
        table = {}
    parsed: Any = (
        table["value"] if table.keys() == {"value"} else value.strip()
    )  # a line break would begin another setting
    for key in reversed(name.strip().split(".")):
        parsed = {key: parsed}
    _require_readable(parsed, f"the setting {text[:40]!r}")
    return dict(parsed)


def _require_readable(table: Any, origin: str) -> None:
    """Refuse tables in tables deeper than any setting is, and numbers of more digits, before something that reads them fails.

    Python refuses to write a number of thousands of digits, and TOML may have one in hexadecimal.
    """
    level = [table]
    for _ in range(_DEEPEST):
        if any(isinstance(value, int) and value.bit_length() > _MOST_BITS for value in level):
            raise UsageError(f"{origin} has a number with too many digits")
        level = [inner for outer in level if isinstance(outer, dict | list)
                 for inner in (outer.values() if isinstance(outer, dict) else outer)]  # fmt: skip
        if not level:
            return
    raise UsageError(f"{origin} has more than {_DEEPEST} tables or lists in one another")


def from_toml(text: str, origin: str) -> dict[str, Any]:
    """Parse TOML settings; raises UsageError naming `origin` when they cannot be read."""
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))  # the byte order mark that some editors write
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin} is not valid TOML: {error}") from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"{origin} is not valid TOML: a number has too many digits, or brackets are too deep"
        ) from None
    _require_readable(table, origin)
    return table


def read_toml(path: Path, noun: str = "settings") -> dict[str, Any]:
    """Read a TOML file, of settings or what `noun` says.

    Raises:
        UsageError: it cannot be read, or is no TOML in UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the {noun} in {path}: {error.strerror or error}") from None
    if b"\0" in data:  # as every second byte of UTF-16 is
        raise UsageError(f"cannot read the {noun} in {path}: it seems to be UTF-16; save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"cannot read the {noun} in {path}: line {line} is not UTF-8; save it as UTF-8") from None
    return from_toml(text, str(path))


def to_toml(config: RunConfig, comments: bool = False, open_to: Collection[str] = ()) -> str:
    """Return `config` as TOML that `from_toml` reads back; with `comments`, each setting's meaning beside it.

    Settings whose dotted names are in `open_to` stand in comments: whoever reads it is free to choose them.
    """
    lines: list[str] = []
    _write_table(config, "", lines, comments, open_to)
    return "\n".join(lines).strip() + "\n"


def _write_table(part: Part, path: str, lines: list[str], comments: bool, open_to: Collection[str]) -> None:
    tables = []
    for name in type(part).order():
        value, info = getattr(part, name), type(part).model_fields[name]
        full = f"{path}.{name}" if path else name
        if isinstance(value, Part):
            tables.append((full, value))
        else:
            note = f"  # {info.description}" if comments and info.description else ""
            lines.append(f"{'# ' * (full in open_to)}{name} = {toml_value(value)}{note}")
    for full, value in tables:
        lines.extend(["", f"[{full}]"])
        _write_table(value, full, lines, comments, open_to)


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's strings are TOML's but for the delete character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{toml_value(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
            if value
            else "{}"
        )
    return repr(value)
