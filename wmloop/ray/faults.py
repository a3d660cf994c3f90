"""What Ray says of an actor that could not be made, in words."""

from __future__ import annotations

import re

#: What Ray raises where an actor has died, or its node with what it had answered.
DEATHS = ("RayActorError", "ObjectLostError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError")
#: What Ray says where the actor itself raised as it was made, and what it raises where its node cannot run wmloop.
_RAISED, _KINDS = "creation task", ("ImportError", "ModuleNotFoundError", "FileNotFoundError")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def unfit(error: BaseException) -> str | None:
    """Return what is wrong with the node that an actor could not be made on; None where it died in another way."""
    text = _COLOUR.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if _RAISED not in text or not lines[-1].startswith(_KINDS):
        return None
    node = re.search(r"\bip=([^,)\s]+)", text)
    return f"the Ray node{f' {node[1]}' if node else ''} cannot run wmloop: {lines[-1]}"
