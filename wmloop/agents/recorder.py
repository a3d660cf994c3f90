"""What was carried from one decision to the next while a wave of episodes was driven."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wmloop.entries import require_parts
from wmloop.models.world_model import State


class Recorder:
    """Where the episodes of a wave were and what was done at each decision, as their agents carried it on."""

    def __init__(self) -> None:
        self._carries: dict[range, list[Any]] = {}

    def note(self, copies: range, carry: Any) -> None:
        """Take in what the agent of `copies`, one of the parts that are driven, carries away from its decision."""
        self._carries.setdefault(copies, []).append(carry)

    def of(self, copy: int, decisions: slice) -> tuple[State, Tensor]:
        """Return where one copy was, states of T decisions, and what it did there, (T, A) as M reads it.

        Raises:
            UsageError: its agent does not carry that.
        """
        copies = next(copies for copies in self._carries if copy in copies)
        place, carries = copies.index(copy), self._carries[copies][decisions]
        require_parts(
            carries[0], ("state", "action"), "an agent with a world model carries", "wmloop.agents.world_model.Carry"
        )
        states = State.cat([carry.state.at(slice(place, place + 1)) for carry in carries])
        return states, torch.stack([carry.action[place] for carry in carries])
