"""A table of tasks as they go: on a terminal redrawn in its place, else as lines by their caller."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table


class Grid:
    """Show rows by columns of short texts on the terminal until `close`; the last table stays there."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = Live(console=Console(file=sys.stdout), auto_refresh=False)
        self._live.start()

    def show(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Draw the table anew."""
        table = Table(*head, title=self._title, title_justify="left", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        self._live.update(table, refresh=True)

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()
