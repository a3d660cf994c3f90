"""What a Ray of this machine's own is told, so that it is nobody else's."""

from __future__ import annotations

import secrets

#: How Ray is asked to tell nobody that it is used.
SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}


def private() -> dict[str, str]:
    """Return the environment variables of a new Ray that lets in nobody who has not its token, for it listens to all machines.

    Ray reads them as it is imported.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
