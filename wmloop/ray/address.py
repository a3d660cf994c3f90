"""The address of the Ray cluster that this process is to connect to."""

from __future__ import annotations

import os

from wmloop.errors import UsageError


def cluster_address() -> str:
    """Return RAY_ADDRESS, "" without one, or where it is `local`: then a cluster is begun on this machine.

    Raises:
        UsageError: it is no address of a cluster itself.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if "://" in address:
        raise UsageError(
            f"RAY_ADDRESS={address} is a server of the Ray client or of jobs: give the address of the cluster's head,"
            " host:6379, on a machine that is one of its nodes (`ray start --address=host:6379` makes it one)"
        )
    return "" if address == "local" else address  # Ray's own word for it
