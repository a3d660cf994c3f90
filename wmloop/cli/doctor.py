"""`wmloop doctor`: what this machine is good for."""

from __future__ import annotations

from pathlib import Path

import typer

from wmloop.cli.exits import DOCTOR_FOUND, guarded, say_next
from wmloop.cli.options import JsonOption, RunsOption, print_json
from wmloop.commands import anywhere

_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


@guarded
def doctor(runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Check whether this machine can run wmloop.

    Versions, device and precision, threads, memory, disk, environment, display, video: each line says what was found
    and, where something is missing, what to do. The exit code is 5 if there is something that makes runs fail.
    """
    from wmloop.doctor import examine

    findings = []
    for subject, finding in examine(runs):
        findings.append({"subject": subject, **finding._asdict()})
        if not as_json:
            print(f"{_MARKS[finding.verdict]}  {subject}: {finding.found}", flush=True)
            if finding.advice:
                print(f"      -> {finding.advice}", flush=True)
    if as_json:
        print_json("doctor", findings=findings)
    if any(finding["verdict"] == "bad" for finding in findings):
        raise typer.Exit(DOCTOR_FOUND)
    say_next({"see the whole loop in a minute or two": anywhere("start", runs, "--preset", "smoke")})
