"""Base of all settings: typed, frozen, refused when unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

#: No count is larger, so that products of two stay exact, and no other number: all are to fit float32. What others are
#: divided by has a least value, too.
MOST, LEAST, LARGEST = 10**12, 1e-30, 1e30


def ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuse a pair whose first number is above the second."""
    if bounds[0] > bounds[1]:
        raise ValueError("the first number must not be greater than the second")
    return bounds


def written(text: str) -> str:
    """Refuse text that UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("its text cannot be stored as UTF-8, the encoding of config.toml") from None
    return text


# Numbers are strict: neither a word nor a truth value is one.
Whole = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
#: What memory is taken for, or processes: more than a million would only fail later.
Size = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Positive = Annotated[float, Field(strict=True, gt=0, le=LARGEST)]
Weight = Annotated[float, Field(strict=True, ge=0, le=LARGEST)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Factor = Annotated[float, Field(strict=True, gt=0, le=1)]
Range = Annotated[tuple[Number, Number], AfterValidator(ascending)]
Word = Annotated[str, AfterValidator(written)]


class Part(BaseModel):
    """Base of all configuration parts: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def order(cls) -> list[str]:
        """Return the names of its settings and groups in the order in which they are told."""
        return list(cls.model_fields)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: Any) -> Any:
        # TOML has no null: a setting that may be nothing must be told so by a word, which elsewhere is a word
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        if not isinstance(values, dict):
            return values
        return {
            name: None if name in optional and isinstance(value, str) and value == "none" else _whole(value)
            for name, value in values.items()
        }


def _whole(value: Any) -> Any:
    """Return whole floats as integers, which every number takes: 1e6 is a count, too."""
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def flat(layer: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings by their dotted names."""
    for name, value in layer.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def settings(config: Part, prefix: str = "") -> dict[str, Any]:
    """Return all settings flat: dotted name -> value."""
    found: dict[str, Any] = {}
    for name in type(config).order():
        value = getattr(config, name)
        if isinstance(value, Part):
            found |= settings(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
