"""The command line where torchrun began several ranks: the first performs the command, the others follow it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import typer

from wmloop.cli.exits import guarded
from wmloop.cli.stopping import Stop
from wmloop.commands import wmloop
from wmloop.errors import RankLostError, UsageError, WmloopError
from wmloop.torchrun import TOGETHER, Place


def together(place: Place, command_line: Callable[[], None]) -> None:
    """Be the rank of a place: the first runs the command line, and then lets the others end.

    Raises:
        SystemExit: always.
    """
    try:
        _require_shared(place)
        _lead(command_line) if place.rank == 0 else _follow()
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None


def _lead(command_line: Callable[[], None]) -> None:
    try:
        command_line()
    finally:
        from wmloop.ranks import joined

        with contextlib.suppress(RankLostError):  # those who cannot be told find out
            joined().dismiss()


@guarded
def _require_shared(place: Place) -> None:
    """Refuse commands that are for one process; the first rank says so."""
    if sys.argv[1:2] in ([verb] for verb in TOGETHER):
        return
    if place.rank:
        raise typer.Exit(UsageError.exit_code)
    raise UsageError(
        f"torchrun begins several processes, and only {', '.join(TOGETHER)} share their work: run"
        f" `{wmloop(*sys.argv[1:2])}` without it"
    )


@guarded
def _follow() -> None:
    """Follow the first rank; raises typer.Exit with 130, 143 or 129 if a signal ends this one."""
    from wmloop.follower import follow
    from wmloop.ranks import Group, joined

    ranks = joined()
    assert isinstance(ranks, Group), "torchrun began several"
    # A signal to all is the first rank's to answer: where they learn together, it saves, and says when they stop.
    with Stop(lambda signum: None, lambda signum: None) as stop:
        try:
            follow(ranks, stop)
        except WmloopError as error:
            error.add_note(f"this was rank {ranks.rank} of {ranks.size}")
            raise
    if stop.signum is not None:
        raise typer.Exit(128 + stop.signum)
