"""What an environment calls its actions, and which of them the arrow keys are, where it takes one of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium

from wmloop.config import EnvConfig

#: What environments call the actions of no key, left, right, up and down, the best name first.
_MEANINGS = (("NOOP",), ("LEFT",), ("RIGHT",), ("UP", "FIRE"), ("DOWN",))


def names_of(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return what an environment calls its actions, in order, as those of Atari games do; nothing where it does not tell.

    The names are those of the environment below all wrappers: where one of these changes the actions, they are none.
    """
    try:
        names = tuple(" ".join(str(name).split()) for name in env.unwrapped.get_action_meanings())  # type: ignore[attr-defined]
        return names if env.action_space == env.unwrapped.action_space else ()
    except Exception:  # hardly any has it, and it is only for people who play
        return ()


def arrow_keys_of(config: EnvConfig, names: Sequence[str]) -> tuple[int, ...]:
    """Return the actions of no key, left, right, up and down: as set, else by what the environment calls its actions.

    Nothing where neither tells. What has no name is the action of no key.
    """
    if config.arrow_keys:
        return config.arrow_keys
    names = [name.upper() for name in names]
    found = [next((names.index(name) for name in called if name in names), None) for called in _MEANINGS]
    if found[1:] == [None] * 4:
        return ()
    rest = found[0] or 0
    return tuple(rest if action is None else action for action in found)
