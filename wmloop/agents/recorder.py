"""What was carried from one decision to the next while a wave of episodes was driven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from wmloop.entries import require_parts
from wmloop.models.world_model import State

PartT = TypeVar("PartT", Tensor, State)


class Recorder:
    """Parts of what agents carry from each decision of a wave, by name; each has a row for each of their copies.

    As a world model's agent carries it, `state` is where the episodes were and `action` what was done there.
    """

    def __init__(self, *names: str) -> None:
        """Keep the parts of these names; without any `state` and `action`."""
        self.names = names or ("state", "action")
        self._carries: dict[range, list[Any]] = {}
        self._whole: dict[int, dict[str, Any]] = {}

    def note(self, copies: range, carry: Any) -> None:
        """Take in what the agent of `copies`, one of the parts that are driven, carries away from its decision.

        Raises:
            UsageError: the agent does not carry what is to be kept.
        """
        who = "an agent with a world model" if "state" in self.names else "an agent that learns from what it did"
        require_parts(carry, self.names, f"{who} carries", "wmloop.agents.world_model.Carry")
        self._carries.setdefault(copies, []).append(tuple(getattr(carry, name) for name in self.names))

    def part(self, name: str, copy: int, decisions: slice) -> Any:
        """Return one part of what one copy carried, a row (T, ...) for each of its decisions."""
        if copy in self._whole:
            return _at(self._whole[copy][name], decisions)
        copies = next(copies for copies in self._carries if copy in copies)
        place, number = copies.index(copy), self.names.index(name)
        return _rows([parts[number] for parts in self._carries[copies][decisions]], place)

    def of(self, copy: int, decisions: slice) -> tuple[State, Tensor]:
        """Return where one copy was, states of T decisions, and what it did there, (T, A) as M reads it."""
        return self.part("state", copy, decisions), self.part("action", copy, decisions)

    def put(self, copy: int, parts: dict[str, Any]) -> None:
        """Take in all that one copy carried, by name, as `part` of another recorder returns it."""
        self._whole[copy] = parts


def _rows(parts: Sequence[PartT], place: int) -> PartT:
    """Return the rows at `place` of the same part of several decisions."""
    if isinstance(parts[0], State):
        return State.cat([part.at(slice(place, place + 1)) for part in parts])  # type: ignore[misc]
    return torch.stack([part[place] for part in parts])


def _at(part: PartT, rows: slice) -> PartT:
    return part.at(rows) if isinstance(part, State) else part[rows]
