"""Run the benchmarks: `python -m benchmarks [WORD ...] [--json FILE]`; with words only figures whose names hold one."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES
from benchmarks.pairs import Ratio
from wmloop.device import machine_facts, resolve_threads, set_up


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    set_up("cpu", resolve_threads(options.threads))
    console = Console()
    console.print(
        f"{machine_facts()['cpu']}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    chosen = [name for name in FIGURES if not options.words or any(word in name for word in options.words)]
    if not chosen:
        parser.error(f"no figure has {' or '.join(options.words)} in its name: {'; '.join(FIGURES)}")
    results = []
    table = Table("figure", "ratio", "quartiles", "ours", "theirs", "GFLOP/s beside it", box=None, header_style="bold")
    for name in chosen:
        with console.status(name):
            results.append(FIGURES[name]())
        table.add_row(*_row(results[-1]))
    console.print(table)
    if options.json:
        facts = {"machine": machine_facts(), "threads": torch.get_num_threads()}
        options.json.write_text(json.dumps(facts | {"figures": [ratio._asdict() for ratio in results]}, indent=1))


def _row(ratio: Ratio) -> list[str]:
    if ratio.noisy:
        return [ratio.name, "too noisy", f"{ratio.kept} of {ratio.pairs} pairs", "", "", ""]
    return [
        ratio.name, f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}", f"{ratio.rate:,.0f}",
        f"{ratio.their_rate:,.0f} {ratio.unit}/s", f"{ratio.roofline / 1e9:.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
