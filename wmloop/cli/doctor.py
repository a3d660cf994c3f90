"""`wmloop doctor`: what this machine is good for."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from wmloop.cli.exits import guarded
from wmloop.cli.options import JsonOption, RunsOption

_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


@guarded
def doctor(runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Look at what a run depends on: versions, device and precision, threads, memory, disk, environment, display, video.

    Each line says what was found and, where it falls short, what to do. The exit code is 1 if something is bad.
    """
    from wmloop.doctor import examine

    findings = []
    for finding in examine(runs):
        findings.append(finding)
        if not as_json:
            print(f"{_MARKS[finding.verdict]}  {finding.subject}: {finding.found}", flush=True)
            if finding.advice:
                print(f"      -> {finding.advice}", flush=True)
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)
