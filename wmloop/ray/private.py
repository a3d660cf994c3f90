"""Whom Ray lets in: nobody else to one of this machine's own, and this process to a cluster that asks for a token."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

#: As long a path as Ray gives its sockets in a folder.
SOCKET = "ray-12345678/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store"
#: How Ray is asked to tell nobody that it is used.
SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}


def private() -> dict[str, str]:
    """Return the environment variables of a new Ray that lets in nobody who has not its token, for it listens to all machines.

    Ray reads them as it is imported.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def admitted() -> dict[str, str]:
    """Return the environment variables with which a cluster lets this process in.

    `ray start` asks for a token as soon as there is one in ~/.ray, which Ray puts there by itself; but to connect to an address
    Ray uses it only where RAY_AUTH_MODE says so. A cluster that asks for none takes one, too.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return {"RAY_AUTH_MODE": "token"} if os.environ.get("RAY_AUTH_TOKEN") or path.is_file() else {}
