"""Keys and what they mean."""

from __future__ import annotations

from typing import NamedTuple

#: What each key does but those that act, for the help on the screen.
HELP = (
    ("m", "you act, or the policy does"),
    ("space", "pause"),
    (".", "one agent step"),
    ("tab", "real, both, dream"),
    ("t  T", "lower, raise the dream's temperature"),
    ("r", "restart the episode"),
    ("v", "record a video, or stop it"),
    ("?", "show these keys"),
    ("q, esc", "quit"),
)
#: How terminals spell the keys that are no characters.
_SPELLED = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right",
    "\x1bOD": "left",
}  # fmt: skip


_NAMED = {"\t": "tab", " ": "space", "\x1b": "escape"}
#: The keys that act, as directions or as the number of an action.
DIRECTIONS = {
    "left": "left",
    "a": "left",
    "right": "right",
    "d": "right",
    "up": "up",
    "w": "up",
    "down": "down",
    "s": "down",
    **{str(digit): str(digit) for digit in range(10)},
}


class Controls(NamedTuple):
    """A hand at the keys: `steer` in [-1, 1], to the right; `up` and `down` in [0, 1]; `digit`, a number key that is held."""

    steer: float = 0.0
    up: float = 0.0
    down: float = 0.0
    digit: int | None = None


def parse_keys(text: str) -> list[str]:
    """Return the names of the keys that a terminal sent as `text`; other escape sequences are left out."""
    keys, at = [], 0
    while at < len(text):
        if text.startswith(("\x1b[", "\x1bO"), at):
            end = at + 2
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            if name := _SPELLED.get(text[at : end + 1]):
                keys.append(name)
            at = end + 1
            continue
        keys.append(_NAMED.get(text[at], text[at]))
        at += 1
    return keys


def from_held(held: set[str]) -> Controls:
    """Return what held directions and numbers mean."""
    digit = next((int(name) for name in sorted(held) if name.isdigit()), None)
    steer = float("right" in held) - float("left" in held)
    return Controls(steer, float("up" in held), float("down" in held), digit)
