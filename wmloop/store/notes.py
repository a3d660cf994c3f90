"""What a disk does not promise, each told once a process: the store itself says nothing to people."""

from __future__ import annotations

_told: set[str] = set()
_waiting: list[str] = []


def note(kind: str, text: str) -> None:
    """Leave `text` for `take_notes`, unless this process had a note of the same `kind` before."""
    if kind not in _told:
        _told.add(kind)
        _waiting.append(text)


def take_notes() -> list[str]:
    """Return the notes that nobody has taken yet, for people to be shown."""
    taken = _waiting.copy()
    _waiting.clear()
    return taken
